//! `agents`: who is here, and what a shell agent says about itself.

mod deregister;
mod evict;
mod heartbeat;
mod list;
mod register;
mod show;
mod update;
pub(crate) mod view;

use crate::context::Context;
use crate::error::CliError;
use crate::output::{Answer, IntoAnswer};

/// `agents` alone lists.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(flatten)]
    list: list::Args,
    #[command(subcommand)]
    verb: Option<Verb>,
}

super::commands! {
    /// What to do with agents.
    enum Verb {
        /// Who is here
        List(list),
        /// Introduce this shell as an agent
        Register(register),
        /// Say that this agent is alive
        Heartbeat(heartbeat),
        /// Say what this agent does
        Update(update),
        /// Leave: locks pass on, tasks return to their queue
        Deregister(deregister),
        /// End an agent that hangs: for people
        Evict(evict),
        /// One agent
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
