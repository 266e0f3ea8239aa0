//! The end of a task and the claim of the next one, in one round trip.

use std::future::IntoFuture;
use std::time::Duration;

use agentcoord_core::Result;
use agentcoord_core::task::{Claim, ClaimRef, NextTask};

use crate::client::{Pending, millis};
use crate::task::Task;

/// What becomes of a task before the next one is claimed.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Done(Option<String>),
    Failed { reason: String, retry: bool },
}

/// The end of a task and the claim of the next one, to be made. Await it.
#[derive(Debug)]
#[must_use = "a task ends, and the next one is claimed, when it is awaited"]
pub struct NextBuilder<'a> {
    task: &'a Task,
    end: End,
    next: NextTask,
}

impl Task {
    /// Says that the task is done, with a result as JSON text or without, and claims the next one that carries any of the
    /// tags (none: any task) in the same step. Awaiting it waits for one.
    ///
    /// # Errors
    /// `Stale` when somebody else has the task now: then nothing was written, and nothing is claimed. A refusal of the claim
    /// refuses both. A next task that cannot be read goes back, and this one is completed all the same.
    ///
    /// # Cancel safety
    /// Cancel-safe: dropped once the request is under way, the task is completed all the same and nothing is claimed.
    pub fn complete_and_claim<T: Into<String>>(
        &self,
        result: Option<String>,
        tags: impl IntoIterator<Item = T>,
    ) -> NextBuilder<'_> {
        self.next(End::Done(result), tags)
    }

    /// Says that the task could not be done, and whether another attempt may help, and claims the next one as
    /// [`Task::complete_and_claim`] does.
    ///
    /// # Errors
    /// As [`Task::complete_and_claim`].
    ///
    /// # Cancel safety
    /// Cancel-safe: dropped once the request is under way, the task has failed all the same and nothing is claimed.
    pub fn fail_and_claim<T: Into<String>>(
        &self,
        reason: impl Into<String>,
        retry: bool,
        tags: impl IntoIterator<Item = T>,
    ) -> NextBuilder<'_> {
        self.next(End::Failed { reason: reason.into(), retry }, tags)
    }

    /// Ends it, and claims the next one if that is wanted.
    pub(crate) async fn end(&self, end: End, next: Option<NextTask>) -> Result<Option<ClaimRef>> {
        let holder = self.holder();
        let claim = match end {
            End::Done(result) => {
                let mut body = self.completion(result);
                body.next = next;
                holder.connection.end_and_claim(&holder.actor, body).await?
            }
            End::Failed { reason, retry } => {
                let mut body = self.failure(reason, retry)?;
                body.next = next;
                holder.connection.end_and_claim(&holder.actor, body).await?
            }
        };
        match claim {
            Claim::Claimed(claim) => Ok(Some(claim)),
            Claim::Queued { .. } | Claim::Nothing { .. } | Claim::Lapsed { .. } => Ok(None),
        }
    }

    fn next<T: Into<String>>(&self, end: End, tags: impl IntoIterator<Item = T>) -> NextBuilder<'_> {
        NextBuilder { task: self, end, next: NextTask::new(tags.into_iter().map(Into::into).collect()) }
    }
}

impl NextBuilder<'_> {
    /// How long to wait for the next task; zero answers at once. Default: without limit.
    pub fn timeout(mut self, wait: Duration) -> Self {
        self.next.wait = Some(millis(wait));
        self
    }

    /// How long the next claim lasts unless extended. Default: the task's own lease, else as long as the session.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.next.lease = Some(millis(lease));
        self
    }
}

impl<'a> IntoFuture for NextBuilder<'a> {
    type Output = Result<Option<Task>>;
    type IntoFuture = Pending<'a, Option<Task>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            match self.task.end(self.end, Some(self.next)).await? {
                Some(claim) => Task::read(self.task.holder().clone(), claim).await.map(Some),
                None => Ok(None),
            }
        })
    }
}
