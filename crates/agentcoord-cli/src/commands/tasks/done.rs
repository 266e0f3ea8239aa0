//! `tasks done`.

use agentcoord::core::task::CompleteTask;

use super::held::{Held, Which};
use super::view::OneTask;
use crate::context::Context;
use crate::error::CliError;
use crate::input;

/// Which claim, and what came of it.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// What came of it, as JSON; @FILE reads a file, - reads stdin
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    result: Option<String>,
}

/// Says that the task is done.
///
/// # Errors
/// `STALE` when the task is not the caller's; `INVALID` for a result that is no JSON.
pub(crate) async fn run(context: &Context, args: Args) -> Result<OneTask, CliError> {
    let result = args.result.map(|typed| input::json(context, "result", typed)).transpose()?;
    let held = Held::find(context, args.which).await?;
    let body = CompleteTask::new(held.key.clone(), held.id.clone(), held.token, result);
    held.change(context, body).await
}
