//! `tasks release`.

use agentcoord::core::task::ReleaseTask;

use super::held::{Held, Which};
use super::view::OneTask;
use crate::context::Context;
use crate::error::CliError;

/// Which claim.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
}

/// Puts the task back to its place in the queue.
///
/// # Errors
/// `STALE` when the task is not the caller's.
pub(crate) async fn run(context: &Context, args: Args) -> Result<OneTask, CliError> {
    let held = Held::find(context, args.which).await?;
    let body = ReleaseTask { key: held.key.clone(), token: held.token };
    held.change(context, body).await
}
