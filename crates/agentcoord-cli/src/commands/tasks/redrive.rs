//! `tasks redrive`.

use agentcoord::core::task::RedriveTask;

use super::show;
use super::view::OneTask;
use crate::context::Context;
use crate::error::CliError;
use crate::identity::Unknown;
use crate::principal;

/// Which task.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The task's id
    id: String,
}

/// Puts a failed, cancelled or dead task back, with all its attempts before it.
///
/// # Errors
/// `NOT_FOUND`; `WRONG_STATE` when it has not ended or is completed.
pub(crate) async fn run(context: &Context, args: Args) -> Result<OneTask, CliError> {
    let actor = principal::speaker(context, Unknown::Register).await?;
    let key = show::of(context, &args.id).await?.task.key;
    context.connection().await?.run(&actor, RedriveTask { key: key.clone() }).await?;
    Ok(OneTask::brief(show::of(context, &key).await?))
}
