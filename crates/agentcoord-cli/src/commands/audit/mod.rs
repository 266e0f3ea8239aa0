//! `audit`: decisions worth keeping. Nothing here edits or deletes.

mod list;
mod log;
mod view;

use crate::context::Context;
use crate::error::CliError;
use crate::output::{Answer, IntoAnswer};

/// `audit` alone lists.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(flatten)]
    list: list::Args,
    #[command(subcommand)]
    verb: Option<Verb>,
}

super::commands! {
    /// What to do with the audit log.
    enum Verb {
        /// The newest entries, oldest of them first
        List(list),
        /// Log a decision
        Log(log),
    }
}

/// Runs the verb.
///
/// # Errors
/// Those of the verb.
pub(crate) async fn run(context: &Context, args: Args) -> Result<Box<dyn Answer>, CliError> {
    match args.verb {
        Some(verb) => verb.run(context).await,
        None => Ok(list::run(context, args.list).await?.into_answer()),
    }
}
