//! `tasks fail`.

use agentcoord::audit::Entry;
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
    let audit = Entry::dead_letter(held.name(), &held.key, &held.title, &args.reason).encode()?;
    let body = FailTask::new(held.key.clone(), held.token, args.reason, !args.no_retry, audit);
    held.change(context, body).await
}
