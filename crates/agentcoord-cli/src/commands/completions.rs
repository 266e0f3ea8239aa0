//! `completions`: the script that a shell reads.

use clap::CommandFactory;
use clap_complete::Shell;
use serde::Serialize;

use crate::cli::Cli;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Page, Render};

/// Which shell.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// The script.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    shell: String,
    script: String,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        page.block(&self.script, 0);
    }
}

/// Writes the script.
///
/// # Errors
/// None.
pub(crate) async fn run(_: &Context, args: Args) -> Result<View, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "agentcoord", &mut script);
    Ok(View { shell: args.shell.to_string(), script: String::from_utf8_lossy(&script).into_owned() })
}
