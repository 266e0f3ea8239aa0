//! `tasks show`.

use agentcoord::core::ids::IdPrefix;
use agentcoord::core::store::Backend;
use agentcoord::core::task::TaskDetail;

use super::view::OneTask;
use crate::context::Context;
use crate::error::CliError;

/// Which task.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its id
    id: String,
}

/// Shows a task.
///
/// # Errors
/// `NOT_FOUND`, `AMBIGUOUS`.
pub(crate) async fn run(context: &Context, args: Args) -> Result<OneTask, CliError> {
    Ok(OneTask::full(of(context, &args.id).await?))
}

/// The task of an id, with its long texts.
///
/// # Errors
/// As [`run`].
pub(super) async fn of(context: &Context, id: &str) -> Result<TaskDetail, CliError> {
    Ok(context.store().await?.tasks().show(&IdPrefix::parse("id", id)?).await?)
}
