//! `store`: which engine serves the workspace, and the switch to the other one.

mod prune;
mod purge;
mod show;
mod switch;

use crate::context::Context;
use crate::error::CliError;
use crate::output::{Answer, IntoAnswer};

/// `store` alone shows.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

super::commands! {
    /// What to do with the store.
    enum Verb {
        /// Which engine serves and why, and how far the other one is ready
        Show(show),
        /// Move the workspace to Redis or to files, with everything in it, while agents work
        Use(switch),
        /// Forget what came to an end long ago; people only
        Prune(prune),
        /// Delete a namespace with everything in it; people only
        Purge(purge),
    }
}

/// Runs the verb.
///
/// # Errors
/// Those of the verb.
pub(crate) async fn run(context: &Context, args: Args) -> Result<Box<dyn Answer>, CliError> {
    match args.verb {
        Some(verb) => verb.run(context).await,
        None => Ok(show::run(context, show::Args).await?.into_answer()),
    }
}
