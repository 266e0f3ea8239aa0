//! `tasks claim`: the best task, or a certain one.

use std::time::Duration;

use agentcoord::core::limits;
use agentcoord::core::task::ClaimTask;

use super::view::MaybeTask;
use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::identity::{Unknown, caller};

/// Which task, and how long to wait for it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A certain task
    #[arg(conflicts_with_all = ["tags", "wait"])]
    id: Option<String>,
    /// With this tag; with several, any of them
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// How long to wait for a task
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, allow_hyphen_values = true)]
    wait: Option<Duration>,
    /// How long the claim lasts unless extended; nothing: the task's own lease, else 1h
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive, allow_hyphen_values = true)]
    lease: Option<Duration>,
}

/// Claims.
///
/// # Errors
/// `HELD` when a certain task belongs to somebody, `WRONG_STATE` when it is not pending, `REFUSED` when it requires
/// what the agent cannot do.
pub(crate) async fn run(context: &Context, args: Args) -> Result<MaybeTask, CliError> {
    let caller = caller(context, Unknown::Register).await?;
    let connection = context.connection().await?;
    let wait = args.wait.unwrap_or_default();
    let mut body = ClaimTask::new(args.tags);
    body.id.clone_from(&args.id);
    body.wait = Some(duration::millis(wait));
    body.lease = args.lease.map(duration::millis);
    // What a command line takes does not last for ever.
    body.fallback = Some(limits::SHELL_TASK_LEASE);
    match context.interruptible(connection.claim_and_read(&caller.actor, body)).await {
        Ok(Some(detail)) => Ok(MaybeTask::claimed(detail)),
        Ok(None) => Ok(MaybeTask::nothing(!wait.is_zero())),
        Err(error) => Err(match (error.code, args.id) {
            ("HELD" | "WRONG_STATE", Some(id)) => error
                .next("look at it", format!("agentcoord tasks show {id}"))
                .next("take another", "agentcoord tasks claim"),
            _ => error,
        }),
    }
}
