//! Tasks as an agent uses them.

use std::future::IntoFuture;
use std::time::Duration;

use agentcoord_core::Result;
use agentcoord_core::ids::{IdPrefix, Token};
use agentcoord_core::task::{
    Claim, ClaimRef, ClaimTask, CompleteTask, CreateTasks, CreatedTask, ExtendTask, FailTask, NewTask, ProgressTask,
    ReleaseTask, StartTask, TaskDetail, TaskQueue, TaskStatus,
};

use crate::client::{CoordinationClient, Holder, Pending, millis};

impl CoordinationClient {
    /// Creates a task. See [`NewTask::titled`] for the defaults.
    ///
    /// # Errors
    /// `Invalid` for bad input; `Refused` when an idempotency key is used again for something else.
    pub async fn create_task(&self, task: NewTask) -> Result<CreatedTask> {
        let created = self.run(CreateTasks::new(vec![task])).await?;
        created
            .items
            .into_iter()
            .next()
            .ok_or_else(|| agentcoord_core::Error::unavailable("the engine answered no task"))
    }

    /// Describes a claim for the best task that carries any of the tags (none: any task); awaiting it waits for one.
    pub fn claim_task<T: Into<String>>(&self, tags: impl IntoIterator<Item = T>) -> ClaimBuilder<'_> {
        let body = ClaimTask::new(tags.into_iter().map(Into::into).collect());
        ClaimBuilder { client: self, body }
    }
}

/// A claim to be made. Await it.
#[derive(Debug)]
#[must_use = "a task is claimed when it is awaited"]
pub struct ClaimBuilder<'a> {
    client: &'a CoordinationClient,
    body: ClaimTask,
}

impl ClaimBuilder<'_> {
    /// How long to wait for a task; zero answers at once. Default: without limit.
    pub fn timeout(mut self, wait: Duration) -> Self {
        self.body.wait = Some(millis(wait));
        self
    }

    /// How long the claim lasts unless extended. Default: the task's own lease, else as long as the session.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.body.lease = Some(millis(lease));
        self
    }

    async fn claim(self) -> Result<Option<Task>> {
        let client = self.client;
        match client.connection.claim(&client.actor, self.body).await? {
            Claim::Claimed(claim) => {
                let store = client.store().await?;
                let detail = store.show(&IdPrefix::parse("id", &claim.key)?).await?;
                Ok(Some(Task { holder: client.holder(), claim, detail }))
            }
            Claim::Queued { .. } | Claim::Nothing { .. } | Claim::Lapsed { .. } => Ok(None),
        }
    }
}

impl<'a> IntoFuture for ClaimBuilder<'a> {
    type Output = Result<Option<Task>>;
    type IntoFuture = Pending<'a, Option<Task>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.claim())
    }
}

/// A claimed task. It stays claimed until it is completed, failed or released, its lease ends, or the session ends.
#[derive(Debug)]
pub struct Task {
    holder: Holder,
    claim: ClaimRef,
    detail: TaskDetail,
}

impl Task {
    /// The short id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.claim.key
    }

    /// The title.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.detail.task.title
    }

    /// The task as it was when it was claimed, with its long texts.
    #[must_use]
    pub fn detail(&self) -> &TaskDetail {
        &self.detail
    }

    /// The fencing token of the claim.
    #[must_use]
    pub fn token(&self) -> Token {
        self.claim.token
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.claim.attempt
    }

    async fn change<V: agentcoord_core::op::Verb<Reply = agentcoord_core::task::TaskChanged>>(
        &self,
        body: V,
    ) -> Result<TaskStatus> {
        Ok(self.holder.connection.run(&self.holder.actor, body).await?.status)
    }

    fn key(&self) -> String {
        self.claim.key.clone()
    }

    /// Says that work has begun.
    ///
    /// # Errors
    /// `Stale` when somebody else has the task now; so for all methods below.
    pub async fn start(&self) -> Result<()> {
        self.change(StartTask { key: self.key(), token: self.token() }).await.map(drop)
    }

    /// Says how far the work is.
    ///
    /// # Errors
    /// `Stale`.
    pub async fn progress(&self, note: impl Into<String> + Send, percent: Option<u8>) -> Result<()> {
        let body = ProgressTask { key: self.key(), token: self.token(), note: Some(note.into()), percent };
        self.change(body).await.map(drop)
    }

    /// Moves the deadline of the claim to so long from now.
    ///
    /// # Errors
    /// `Stale`.
    pub async fn extend(&self, lease: Duration) -> Result<()> {
        self.change(ExtendTask { key: self.key(), token: self.token(), lease: millis(lease) }).await.map(drop)
    }

    /// Says that the task is done, with a result as JSON text or without.
    ///
    /// # Errors
    /// `Stale`, and then nothing was written.
    pub async fn complete(self, result: Option<String>) -> Result<()> {
        let body = CompleteTask::new(self.key(), self.detail.task.id.clone(), self.token(), result);
        self.change(body).await.map(drop)
    }

    /// Says that the task could not be done, and whether another attempt may help.
    ///
    /// # Errors
    /// `Stale`, and then nothing was written.
    pub async fn fail(self, reason: impl Into<String> + Send, retry: bool) -> Result<TaskStatus> {
        self.change(FailTask { key: self.key(), token: self.token(), reason: reason.into(), retry }).await
    }

    /// Puts the task back to its place in the queue.
    ///
    /// # Errors
    /// `Stale`, and then nothing was written.
    pub async fn release(self) -> Result<()> {
        self.change(ReleaseTask { key: self.key(), token: self.token() }).await.map(drop)
    }
}
