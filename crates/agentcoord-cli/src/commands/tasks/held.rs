//! The claim that a verb goes on with: the caller's current one, unless `--token` names another.

use agentcoord::core::ids::{Id, Token};
use agentcoord::core::op::Verb;
use agentcoord::core::task::{Task, TaskChanged};
use serde_json::json;

use super::show;
use super::view::OneTask;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::identity::{Caller, Unknown, caller};

/// Which claim.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// The task's id
    id: String,
    /// The token of the claim [default: that of the caller's current claim]
    #[arg(long, value_name = "N")]
    token: Option<u64>,
}

/// A claim, and who holds it.
#[derive(Debug)]
pub(super) struct Held {
    caller: Caller,
    /// The task's short id.
    pub(super) key: String,
    /// The task's title.
    pub(super) title: String,
    /// The task's full id.
    pub(super) id: Id,
    /// The token.
    pub(super) token: Token,
}

impl Held {
    /// Finds the claim.
    ///
    /// # Errors
    /// `STALE` naming who has the task when that is not the caller.
    pub(super) async fn find(context: &Context, which: Which) -> Result<Self, CliError> {
        let caller = caller(context, Unknown::NotFound).await?;
        let task = show::of(context, &which.id).await?.task;
        let own = task.token.filter(|_| task.session.as_ref() == Some(&caller.session));
        match which.token.map(Token).or(own) {
            Some(token) => Ok(Self { caller, key: task.key, title: task.title, id: task.id, token }),
            None => Err(stale(&task)),
        }
    }

    /// Who holds it.
    pub(super) fn name(&self) -> &str {
        &self.caller.name
    }

    /// Changes the claimed task, and reads what has become of it.
    ///
    /// # Errors
    /// `STALE` when the claim is over, and then nothing was written.
    pub(super) async fn change<V>(self, context: &Context, body: V) -> Result<OneTask, CliError>
    where
        V: Verb<Reply = TaskChanged>,
    {
        let key = self.key;
        let changed = context
            .connection()
            .await?
            .run(&self.caller.actor, body)
            .await
            .map_err(|error| CliError::from(error).next("look at it", format!("agentcoord tasks show {key}")))?;
        Ok(OneTask::brief(show::of(context, &changed.key).await?))
    }
}

/// The task is not the caller's: whose it is, or what has become of it.
fn stale(task: &Task) -> CliError {
    let key = &task.key;
    let message = match (&task.claimed_by, task.session.is_some()) {
        (Some(owner), true) => format!("stale: task `{key}` is not yours, {owner} has it"),
        _ => format!("stale: task `{key}` is not yours, it is {}", task.status.word().replace('_', " ")),
    };
    let details = json!({
        "noun": "task",
        "id": key,
        "status": task.status,
        "owner": task.claimed_by,
        "current_token": task.token,
    });
    CliError::new(Exit::Stale, "STALE", message)
        .details(details)
        .next("look at it", format!("agentcoord tasks show {key}"))
}
