//! `approvals`: an agent asks and blocks, a person decides (`approve`, `reject`).

mod cancel;
mod list;
mod request;
mod show;
mod view;
pub(super) mod vote;
mod wait;

use crate::context::Context;
use crate::error::CliError;
use crate::output::{Answer, IntoAnswer};

/// `approvals` alone lists.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(flatten)]
    list: list::Args,
    #[command(subcommand)]
    verb: Option<Verb>,
}

super::commands! {
    /// What to do with approvals.
    enum Verb {
        /// Approvals that wait for a person
        List(list),
        /// Ask people to approve an action
        Request(request),
        /// Wait for the verdict; the call that gets the yes takes it up, once
        Wait(wait),
        /// What is asked for, exactly
        Show(show),
        /// Call an own request off
        Cancel(cancel),
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
