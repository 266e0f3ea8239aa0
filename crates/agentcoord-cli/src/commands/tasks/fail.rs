//! `tasks fail`.

use agentcoord::core::task::FailTask;

use super::held::{Held, Which};
use super::view::OneTask;
use crate::context::Context;
use crate::error::CliError;

/// Which claim, and why.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// Why
    #[arg(short = 'm', long = "reason", value_name = "REASON")]
    reason: String,
    /// Another attempt would not help
    #[arg(long)]
    no_retry: bool,
}

/// Says that the task could not be done.
///
/// # Errors
/// `STALE` when the task is not the caller's.
pub(crate) async fn run(context: &Context, args: Args) -> Result<OneTask, CliError> {
    let held = Held::find(context, args.which).await?;
    let body = FailTask { key: held.key.clone(), token: held.token, reason: args.reason, retry: !args.no_retry };
    held.change(context, body).await
}
