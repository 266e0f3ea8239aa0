//! `tasks extend`.

use std::time::Duration;

use agentcoord::core::task::ExtendTask;

use super::held::{Held, Which};
use super::view::OneTask;
use crate::context::Context;
use crate::duration;
use crate::error::CliError;

/// Which claim, and until when.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// The new deadline, from now
    #[arg(value_name = "DURATION", value_parser = duration::parse_positive, allow_hyphen_values = true)]
    lease: Duration,
}

/// Moves the deadline of the claim.
///
/// # Errors
/// `STALE` when the task is not the caller's.
pub(crate) async fn run(context: &Context, args: Args) -> Result<OneTask, CliError> {
    let held = Held::find(context, args.which).await?;
    let body = ExtendTask { key: held.key.clone(), token: held.token, lease: duration::millis(args.lease) };
    held.change(context, body).await
}
