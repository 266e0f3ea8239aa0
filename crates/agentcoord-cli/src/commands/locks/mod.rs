//! `locks`: who holds which file, and taking and giving back.

mod acquire;
mod list;
mod release;
mod renew;
mod revoke;
mod run;
mod show;
mod verify;
mod view;

use crate::context::Context;
use crate::error::CliError;
use crate::output::{Answer, IntoAnswer};

/// `locks` alone lists.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(flatten)]
    list: list::Args,
    #[command(subcommand)]
    verb: Option<Verb>,
}

super::commands! {
    /// What to do with locks.
    enum Verb {
        /// Who holds and waits for what
        List(list),
        /// Take files: all or none
        Acquire(acquire),
        /// Give files back
        Release(release),
        /// Move the deadline
        Renew(renew),
        /// Take a file from whoever holds it; for people
        Revoke(revoke),
        /// Run a command while holding files
        Run(run),
        /// Is this token still the one that protects the file? Exit 9: no
        Verify(verify),
        /// Who holds and waits for one file
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
        None => Ok(list::run(context, args.list).await?.into_answer()),
    }
}
