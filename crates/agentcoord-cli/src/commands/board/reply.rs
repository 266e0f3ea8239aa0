//! `board reply`.

use agentcoord::core::board::PostMessage;
use agentcoord::core::ids::Id;

use super::show;
use super::view::OneThread;
use crate::context::Context;
use crate::error::CliError;
use crate::identity::Unknown;
use crate::{input, principal};

/// What to say, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The thread's id, or a unique prefix
    id: String,
    /// The message; - reads stdin
    message: String,
}

/// Appends a message.
///
/// # Errors
/// `NOT_FOUND`, `AMBIGUOUS`.
pub(crate) async fn run(context: &Context, args: Args) -> Result<OneThread, CliError> {
    let text = input::text("message", args.message)?;
    // Short prefixes are looked up here; the rules know ids only from eight digits on.
    let thread = show::of(context, &args.id).await?;
    let actor = principal::speaker(context, Unknown::Register).await?;
    let body = PostMessage { thread: thread.key, message: Id::random(), text };
    let posted = context.connection().await?.run(&actor, body).await?;
    Ok(OneThread::brief(show::of(context, &posted.thread).await?))
}
