//! `board show`.

use agentcoord::core::board::{Board, Thread};
use agentcoord::core::ids::IdPrefix;

use super::view::OneThread;
use crate::context::Context;
use crate::error::CliError;

/// Which thread.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its id, or a unique prefix
    id: String,
}

/// Shows a thread.
///
/// # Errors
/// `NOT_FOUND`, `AMBIGUOUS`.
pub(crate) async fn run(context: &Context, args: Args) -> Result<OneThread, CliError> {
    let thread = of(context, &args.id).await?;
    let most = usize::try_from(thread.count).unwrap_or(usize::MAX);
    let messages = context.store().await?.messages(&thread, 0, most).await?;
    Ok(OneThread::full(thread, messages))
}

/// The thread of an id.
///
/// # Errors
/// As [`run`].
pub(super) async fn of(context: &Context, id: &str) -> Result<Thread, CliError> {
    let prefix = IdPrefix::parse("id", id)?;
    Ok(Board::find(&context.store().await?, &prefix).await?)
}
