//! `help`: of a command, and `help agents`, the lines that belong into an agent's instruction file.

use clap::CommandFactory;
use serde::Serialize;

use crate::cli::Cli;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Page, Render};
use crate::reference;
use crate::suggest;

/// What an agent must know.
const AGENTS: &str = include_str!("help_agents.md");

/// What to explain.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `agents`, or a command and its verb; nothing: the overview
    topic: Vec<String>,
}

/// The text.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    text: String,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        page.block(&self.text, 0);
    }
}

/// Explains.
///
/// # Errors
/// `INVALID` when there is no such command.
pub(crate) async fn run(_: &Context, args: Args) -> Result<View, CliError> {
    if args.topic == ["agents"] {
        return Ok(View { text: AGENTS.to_owned() });
    }
    if args.topic == ["reference"] {
        return Ok(View { text: reference::markdown() });
    }
    let mut command = Cli::command();
    command.build();
    for word in &args.topic {
        let Some(found) = command.find_subcommand(word).cloned() else {
            let known: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
            let error = CliError::invalid(format!("there is no command `{}`", word.escape_debug()));
            let near = suggest::nearest(word, known.iter().map(String::as_str));
            return Err(match near {
                Some(near) => error.next("did you mean", format!("agentcoord help {near}")),
                None => error.next("what there is", "agentcoord --help"),
            });
        };
        command = found;
    }
    Ok(View { text: command.render_long_help().to_string() })
}
