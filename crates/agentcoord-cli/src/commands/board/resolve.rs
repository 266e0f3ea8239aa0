//! `board resolve`.

use agentcoord::core::board::{ResolveThread, ThreadStatus};

use super::show;
use super::view::OneThread;
use crate::context::Context;
use crate::error::CliError;
use crate::identity::Unknown;
use crate::principal;

/// Which thread.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its id, or a unique prefix
    id: String,
}

/// Closes a thread.
///
/// # Errors
/// `NOT_FOUND`, `AMBIGUOUS`.
pub(crate) async fn run(context: &Context, args: Args) -> Result<OneThread, CliError> {
    let thread = show::of(context, &args.id).await?;
    let actor = principal::speaker(context, Unknown::Register).await?;
    let body = ResolveThread { thread: thread.key, status: ThreadStatus::Resolved };
    let posted = context.connection().await?.run(&actor, body).await?;
    Ok(OneThread::brief(show::of(context, &posted.thread).await?))
}
