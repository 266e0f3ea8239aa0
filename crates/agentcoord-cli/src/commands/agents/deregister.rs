//! `agents deregister`: leaves.

use agentcoord::core::agent::Deregister;

use super::show::{self, View};
use crate::context::Context;
use crate::error::CliError;
use crate::identity::{Unknown, caller};

/// Why.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Why, for the log
    #[arg(short = 'm', long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Ends the session.
///
/// # Errors
/// `NOT_FOUND` for an unknown agent, `STALE` when its session has ended already.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let caller = caller(context, Unknown::NotFound).await?;
    context.connection().await?.run(&caller.actor, Deregister { reason: args.reason }).await?;
    show::of(context, &caller.agent).await
}
