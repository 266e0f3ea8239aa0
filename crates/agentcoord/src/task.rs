//! Tasks as an agent uses them.

use std::future::IntoFuture;
use std::time::Duration;

use agentcoord_core::ids::{IdPrefix, Token};
use agentcoord_core::store::Backend;
use agentcoord_core::task::{
    CancelTask, Claim, ClaimRef, ClaimTask, CompleteTask, CreateTasks, CreatedTask, ExtendTask, FailTask, NewTask,
    ProgressTask, RedriveTask, ReleaseTask, StartTask, TaskDetail, TaskStatus,
};
use agentcoord_core::{Result, limits};
use serde::de::DeserializeOwned;

use crate::audit::Entry;
use crate::client::{CoordinationClient, Holder, Pending, millis};
use crate::lock::FileLock;
use crate::wait::{SAFETY, Withdrawal};

impl CoordinationClient {
    /// Creates a task. See [`NewTask::titled`] for the defaults.
    ///
    /// # Errors
    /// `Invalid` for bad input; `NotFound` when it depends on a task that is not there; `Refused` when an idempotency key
    /// is used again for something else.
    pub async fn create_task(&self, mut task: NewTask) -> Result<CreatedTask> {
        if task.depends_on.len() > limits::WORK_PER_STEP {
            // So many are not looked up before the answer.
            let ids: Result<Vec<_>> = task.depends_on.iter().map(|id| IdPrefix::parse("depends_on", id)).collect();
            task.depends_on = self.store().await?.tasks().keys(&ids?).await?;
        }
        let created = self.run(CreateTasks::new(vec![task])).await?;
        created
            .items
            .into_iter()
            .next()
            .ok_or_else(|| agentcoord_core::Error::unavailable("the engine answered no task"))
    }

    /// Calls a task off, also a claimed one; whoever has it learns it ([`Task::lost`]).
    ///
    /// # Errors
    /// `NotFound`; `WrongState` when the task has ended.
    pub async fn cancel_task(&self, id: &str, reason: Option<String>) -> Result<()> {
        self.run(CancelTask { key: id.to_owned(), reason }).await.map(drop)
    }

    /// Puts a failed, cancelled or dead task back, with all its attempts before it. Returns the state it is in now.
    ///
    /// # Errors
    /// `NotFound`; `WrongState` when the task has not ended or is completed.
    pub async fn redrive_task(&self, id: &str) -> Result<TaskStatus> {
        Ok(self.run(RedriveTask { key: id.to_owned() }).await?.status)
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
}

impl<'a> IntoFuture for ClaimBuilder<'a> {
    type Output = Result<Option<Task>>;
    type IntoFuture = Pending<'a, Option<Task>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { claim(&self.client.holder(), self.body).await })
    }
}

/// Claims a task and reads it.
pub(crate) async fn claim(holder: &Holder, body: ClaimTask) -> Result<Option<Task>> {
    match holder.connection.claim(&holder.actor, body).await? {
        Claim::Claimed(claim) => Task::read(holder.clone(), claim).await.map(Some),
        Claim::Queued { .. } | Claim::Nothing { .. } | Claim::Lapsed { .. } => Ok(None),
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
    /// The task of a claim. One that cannot be read goes back: nobody would work on it.
    pub(crate) async fn read(holder: Holder, claim: ClaimRef) -> Result<Self> {
        let claim = Claimed { holder, claim, is_kept: false };
        let store = claim.holder.connection.store().await?;
        let detail = store.tasks().show(&IdPrefix::parse("id", &claim.claim.key)?).await?;
        let (holder, claim) = claim.keep();
        Ok(Self { holder, claim, detail })
    }

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

    /// The task for work under a lock: once the lock has ended, what this task does is refused as stale.
    #[must_use]
    pub fn under(mut self, lock: &FileLock) -> Self {
        self.holder.connection = self.holder.connection.under(lock.token());
        self
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.claim.attempt
    }

    /// The payload as a value; `null` when the task has none.
    ///
    /// # Errors
    /// When the payload is not what `T` expects.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.detail.payload.as_deref().unwrap_or("null"))
    }

    /// Resolves when the claim is over, or may be over: the task was cancelled, its lease has ended, somebody else has
    /// it, or the session is lost.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn lost(&self) {
        self.over(true).await;
    }

    /// As [`Task::lost`], without the first look at a claim that has just been made.
    pub(crate) async fn lost_later(&self) {
        self.over(false).await;
    }

    async fn over(&self, mut look: bool) {
        let mut session = self.holder.lost.clone();
        let ended = async { drop(session.wait_for(|lost| *lost).await) };
        let taken = async {
            let connection = &self.holder.connection;
            let interest = self.detail.task.ticket.as_ref().map(|ticket| connection.news().listen(ticket.as_str()));
            loop {
                let left = if std::mem::replace(&mut look, true) { self.time_left().await } else { Ok(Some(SAFETY)) };
                let pause = match left {
                    Ok(None) => return,
                    Ok(Some(left)) => left.min(SAFETY),
                    // Whether the session outlives this is the session's to say.
                    Err(_) => SAFETY,
                };
                let news = async {
                    match &interest {
                        Some(interest) => interest.changed().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = news => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
        };
        tokio::select! {
            () = ended => {}
            () = taken => {}
        }
    }

    /// How long the claim lasts unless something happens to it; none: it is over.
    async fn time_left(&self) -> Result<Option<Duration>> {
        let connection = &self.holder.connection;
        // Listened to before it is asked, so that nothing falls between the two.
        connection.hear_tickets().await?;
        let store = connection.store().await?;
        let now = store.tasks().find(&IdPrefix::parse("id", &self.claim.key)?).await?;
        if now.token != Some(self.claim.token) {
            return Ok(None);
        }
        let Some(deadline) = now.deadline else { return Ok(Some(Duration::MAX)) };
        let (_, clock) = store.now().await?;
        let left = deadline.saturating_sub(clock.now);
        // The lease clock counts whole milliseconds.
        Ok((left > 0).then(|| Duration::from_millis(left + 1)))
    }

    /// Puts the task back without waiting for it: for whoever is dropped.
    pub(crate) fn release_later(&self) {
        release_later(&self.holder, &self.claim);
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
        self.completed(result).await
    }

    pub(crate) async fn completed(&self, result: Option<String>) -> Result<()> {
        self.change(self.completion(result)).await.map(drop)
    }

    pub(crate) fn completion(&self, result: Option<String>) -> CompleteTask {
        CompleteTask::new(self.key(), self.detail.task.id.clone(), self.token(), result)
    }

    /// Says that the task could not be done, and whether another attempt may help.
    ///
    /// # Errors
    /// `Stale`, and then nothing was written.
    pub async fn fail(self, reason: impl Into<String> + Send, retry: bool) -> Result<TaskStatus> {
        self.failed(reason.into(), retry).await
    }

    pub(crate) async fn failed(&self, reason: String, retry: bool) -> Result<TaskStatus> {
        self.change(self.failure(reason, retry)?).await
    }

    pub(crate) fn failure(&self, reason: String, retry: bool) -> Result<FailTask> {
        let task = &self.detail.task;
        let agent = task.claimed_by.as_deref().unwrap_or_default();
        let audit = Entry::dead_letter(agent, &task.key, &task.title, &reason).encode()?;
        Ok(FailTask::new(self.key(), self.token(), reason, retry, audit))
    }

    pub(crate) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Puts the task back to its place in the queue.
    ///
    /// # Errors
    /// `Stale`, and then nothing was written.
    pub async fn release(self) -> Result<()> {
        self.released().await
    }

    pub(crate) async fn released(&self) -> Result<()> {
        self.change(ReleaseTask { key: self.key(), token: self.token() }).await.map(drop)
    }
}

/// A claim that goes back unless somebody keeps it.
#[derive(Debug)]
struct Claimed {
    holder: Holder,
    claim: ClaimRef,
    is_kept: bool,
}

impl Claimed {
    fn keep(mut self) -> (Holder, ClaimRef) {
        self.is_kept = true;
        (self.holder.clone(), self.claim.clone())
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if !self.is_kept {
            release_later(&self.holder, &self.claim);
        }
    }
}

fn release_later(holder: &Holder, claim: &ClaimRef) {
    let body = ReleaseTask { key: claim.key.clone(), token: claim.token };
    holder.connection.withdraw_later(Withdrawal::Unclaim(holder.actor.as_ref().clone(), body));
}
