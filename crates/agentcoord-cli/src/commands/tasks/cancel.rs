//! `tasks cancel`.

use agentcoord::core::task::CancelTask;

use super::show;
use super::view::OneTask;
use crate::context::Context;
use crate::error::CliError;
use crate::identity::Unknown;
use crate::principal;

/// Which task, and why.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The task's id
    id: String,
    /// Why
    #[arg(short = 'm', long = "reason", value_name = "REASON")]
    reason: Option<String>,
}

/// Calls the task off; whoever has it is told.
///
/// # Errors
/// `NOT_FOUND`; `WRONG_STATE` when it has ended.
pub(crate) async fn run(context: &Context, args: Args) -> Result<OneTask, CliError> {
    let actor = principal::speaker(context, Unknown::Register).await?;
    let key = show::of(context, &args.id).await?.task.key;
    context.connection().await?.run(&actor, CancelTask { key: key.clone(), reason: args.reason }).await?;
    Ok(OneTask::brief(show::of(context, &key).await?))
}
