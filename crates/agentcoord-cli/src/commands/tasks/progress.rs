//! `tasks progress`.

use agentcoord::core::task::ProgressTask;

use super::held::{Held, Which};
use super::view::OneTask;
use crate::context::Context;
use crate::error::CliError;

/// Which claim, and how far it is.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// A line for people
    #[arg(short = 'm', long = "note", value_name = "NOTE")]
    note: Option<String>,
    /// 0 to 100
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
    #[arg(allow_negative_numbers = true)]
    percent: Option<u8>,
}

/// Says how far the work is.
///
/// # Errors
/// `STALE` when the task is not the caller's.
pub(crate) async fn run(context: &Context, args: Args) -> Result<OneTask, CliError> {
    let held = Held::find(context, args.which).await?;
    let body = ProgressTask { key: held.key.clone(), token: held.token, note: args.note, percent: args.percent };
    held.change(context, body).await
}
