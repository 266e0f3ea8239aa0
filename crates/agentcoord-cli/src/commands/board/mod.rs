//! `board`: threads that everybody reads. Posting never rewrites what stands there.

mod list;
mod post;
mod reply;
mod resolve;
mod show;
mod view;

use crate::context::Context;
use crate::error::CliError;
use crate::output::{Answer, IntoAnswer};

/// `board` alone lists.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(flatten)]
    list: list::Args,
    #[command(subcommand)]
    verb: Option<Verb>,
}

super::commands! {
    /// What to do with the board.
    enum Verb {
        /// Threads, urgent ones first, then the newest
        List(list),
        /// Open a thread
        Post(post),
        /// Append a message to a thread
        Reply(reply),
        /// A thread with its messages
        Show(show),
        /// Close a thread
        Resolve(resolve),
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
