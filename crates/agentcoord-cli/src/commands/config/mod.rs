//! `config`: settings and where each comes from.

mod show;

use crate::context::Context;
use crate::error::CliError;
use crate::output::{Answer, IntoAnswer};

/// `config` alone shows.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

super::commands! {
    /// What to do with settings.
    enum Verb {
        /// Every setting in force
        Show(show),
    }
}

/// Runs the verb.
///
/// # Errors
/// Those of the verb.
pub(crate) async fn run(context: &Context, args: Args) -> Result<Box<dyn Answer>, CliError> {
    match args.verb {
        Some(verb) => verb.run(context).await,
        None => Ok(show::run(context, show::Args::default()).await?.into_answer()),
    }
}
