//! `agents update`: what an agent says about itself.

use std::time::Duration;

use agentcoord::core::agent::UpdateAgent;

use super::show::{self, View};
use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::identity::{Unknown, caller};

/// What to say.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A word or two about how it goes
    #[arg(long, value_name = "TEXT")]
    status: Option<String>,
    /// What it works on
    #[arg(long, value_name = "TEXT")]
    working_on: Option<String>,
    /// A long job: not stuck for so long; 0 ends it
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, allow_hyphen_values = true)]
    busy_for: Option<Duration>,
}

/// Updates.
///
/// # Errors
/// `NOT_FOUND` for an unknown agent, `STALE` when its session has ended.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let caller = caller(context, Unknown::NotFound).await?;
    let body =
        UpdateAgent { status: args.status, working_on: args.working_on, busy_for: args.busy_for.map(duration::millis) };
    context.connection().await?.run(&caller.actor, body).await?;
    show::of(context, &caller.agent).await
}
