//! Tasks as an agent uses them.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use agentcoord_core::ids::{IdPrefix, Token};
use agentcoord_core::op::{Actor, Verb};
use agentcoord_core::store::Backend;
use agentcoord_core::task::{
    CancelTask, Claim, ClaimRef, ClaimTask, CompleteTask, CreateTasks, CreatedTask, ExtendTask, FailTask, NewTask,
    ProgressTask, RedriveTask, ReleaseTask, StartTask, TaskChanged, TaskDetail, TaskStatus,
};
use agentcoord_core::{Error, Result, limits};
use serde::de::DeserializeOwned;

use crate::audit::Entry;
use crate::client::{CoordinationClient, Holder, Pending, millis};
use crate::connection::Connection;
use crate::lock::FileLock;
use crate::wait::{SAFETY, Withdrawal};

impl CoordinationClient {
    /// Creates a task. See [`NewTask::titled`] for the defaults.
    ///
    /// # Errors
    /// `Invalid` for bad input; `NotFound` when it depends on a task that is not there; `Refused` when an idempotency key
    /// is used again for something else.
    pub async fn create_task(&self, task: NewTask) -> Result<CreatedTask> {
        let created = self.create_tasks(vec![task]).await?;
        created.into_iter().next().ok_or_else(|| Error::unavailable("the engine answered no task"))
    }

    /// Creates any number of tasks, in order, as many in one step as it takes: all of those, or none.
    ///
    /// # Errors
    /// As [`CoordinationClient::create_task`]. The tasks of the steps before are created then: with idempotency keys, the
    /// same call goes on from there.
    pub async fn create_tasks(&self, mut tasks: Vec<NewTask>) -> Result<Vec<CreatedTask>> {
        let mut created = Vec::with_capacity(tasks.len());
        while !tasks.is_empty() {
            let later = tasks.split_off(CreateTasks::chunk(tasks.iter()));
            let mut chunk = std::mem::replace(&mut tasks, later);
            for task in &mut chunk {
                self.look_up_dependencies(task).await?;
            }
            created.extend(self.run(CreateTasks::new(chunk)).await?.items);
        }
        Ok(created)
    }

    /// Makes sure that what a task depends on is there, where that is more than is looked up before the answer.
    async fn look_up_dependencies(&self, task: &mut NewTask) -> Result<()> {
        if task.depends_on.len() > limits::WORK_PER_STEP {
            let ids: Result<Vec<_>> = task.depends_on.iter().map(|id| IdPrefix::parse("depends_on", id)).collect();
            task.depends_on = self.store().await?.tasks().keys(&ids?).await?;
        }
        Ok(())
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

    /// Claims a certain task at once, for as long as its own lease says, else as long as the session;
    /// [`Task::extend`] sets another time.
    ///
    /// # Errors
    /// `NotFound`; `Held` when somebody has it; `WrongState` when it is not pending; `Refused` when it requires what the
    /// agent cannot do.
    pub async fn claim_task_by_id(&self, id: &str) -> Result<Task> {
        let body = ClaimTask { id: Some(id.to_owned()), wait: Some(0), ..ClaimTask::new(Vec::new()) };
        let claimed = claim(&self.holder(), body).await?;
        claimed.ok_or_else(|| Error::unavailable("the engine answered no task"))
    }
}

impl Connection {
    /// Claims a task and reads it, for somebody who comes back for it, as the commands of a shell do.
    ///
    /// # Errors
    /// Those of the claim. A task that cannot be read is put back; `OutcomeUnknown` when that may have failed.
    ///
    /// # Cancel safety
    /// Cancel-safe: dropped, it leaves the line or puts the task back, with the next [`Connection::settle`].
    pub async fn claim_and_read(&self, actor: &Actor, body: ClaimTask) -> Result<Option<TaskDetail>> {
        let Claim::Claimed(claim) = self.claim(actor, body).await? else { return Ok(None) };
        let claimed = Claimed::new(self.clone(), Arc::new(actor.clone()), claim);
        let read = claimed.read().await;
        if read.is_err() {
            claimed.put_back().await?;
        }
        claimed.keep();
        read.map(Some)
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

/// A claimed task. It stays claimed until it is completed, failed or released, its lease ends, or the session ends; dropping
/// it does nothing. What has not been heard of or was refused can be said again: once the claim is over, that is `Stale`.
#[derive(Debug)]
pub struct Task {
    holder: Holder,
    claim: ClaimRef,
    detail: TaskDetail,
}

impl Task {
    /// The task of a claim. One that cannot be read goes back: nobody would work on it.
    pub(crate) async fn read(holder: Holder, claim: ClaimRef) -> Result<Self> {
        let claimed = Claimed::new(holder.connection.clone(), Arc::clone(&holder.actor), claim);
        let detail = claimed.read().await?;
        Ok(Self { claim: ClaimRef { handed: None, ..claimed.keep() }, holder, detail })
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
        self.over(None).await;
    }

    /// As [`Task::lost`], without the first look at a claim that has just been made.
    pub(crate) async fn lost_later(&self) {
        self.over(Some(self.lease())).await;
    }

    /// How long the claim was to last when the task was read.
    fn lease(&self) -> Duration {
        let task = &self.detail.task;
        let bounds = task.claimed_at.zip(task.deadline_at);
        bounds.map_or(Duration::MAX, |(from, to)| Duration::from_millis(to.saturating_sub(from)))
    }

    /// Resolves when the claim is over. `known` is how long it lasts, where that need not be asked.
    async fn over(&self, mut known: Option<Duration>) {
        let mut session = self.holder.lost.clone();
        let ended = async { drop(session.wait_for(|lost| *lost).await) };
        let taken = async {
            let connection = &self.holder.connection;
            let interest = self.detail.task.ticket.as_ref().map(|ticket| connection.news().listen(ticket.as_str()));
            loop {
                let left = match known.take() {
                    Some(left) => Ok(Some(left)),
                    None => self.time_left().await,
                };
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
        release_later(&self.holder.connection, &self.holder.actor, &self.claim);
    }

    async fn change<V: Verb<Reply = TaskChanged>>(&self, body: V) -> Result<TaskStatus> {
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
    /// `Stale`, and then nothing was written; `Invalid` for a result that is too long, and the task is still the caller's.
    pub async fn complete(&self, result: Option<String>) -> Result<()> {
        self.change(self.completion(result)).await.map(drop)
    }

    pub(crate) fn completion(&self, result: Option<String>) -> CompleteTask {
        CompleteTask::new(self.key(), self.detail.task.id.clone(), self.token(), result)
    }

    /// Says that the task could not be done, and whether another attempt may help.
    ///
    /// # Errors
    /// `Stale`, and then nothing was written; `Invalid` for a reason that is empty or too long, and the task is still the
    /// caller's.
    pub async fn fail(&self, reason: impl Into<String> + Send, retry: bool) -> Result<TaskStatus> {
        self.change(self.failure(reason.into(), retry)?).await
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

    /// Whether this attempt has been completed or has failed by this agent's own word, for whoever has missed the answer.
    pub(crate) async fn has_ended(&self) -> Result<bool> {
        let TaskDetail { task, setbacks, .. } = look_at(&self.holder.connection, &self.claim).await?;
        let is_this =
            |attempt, agent: &Option<String>| attempt == self.claim.attempt && *agent == self.detail.task.agent;
        let is_completed = task.status == TaskStatus::Completed && is_this(task.attempt, &task.agent);
        Ok(is_completed || setbacks.iter().any(|s| !s.crashed && is_this(s.attempt, &s.agent)))
    }

    /// Puts the task back to its place in the queue.
    ///
    /// # Errors
    /// `Stale`, and then nothing was written.
    pub async fn release(&self) -> Result<()> {
        self.change(ReleaseTask { key: self.key(), token: self.token() }).await.map(drop)
    }
}

/// A claim that goes back unless somebody keeps it.
#[derive(Debug)]
struct Claimed {
    connection: Connection,
    actor: Arc<Actor>,
    claim: ClaimRef,
    is_kept: bool,
}

impl Claimed {
    fn new(connection: Connection, actor: Arc<Actor>, claim: ClaimRef) -> Self {
        Self { connection, actor, claim, is_kept: false }
    }

    /// The task as it was claimed.
    async fn read(&self) -> Result<TaskDetail> {
        self.connection.store().await?.claimed(&self.claim).await
    }

    async fn put_back(&self) -> Result<()> {
        let request = self.connection.next_number().await;
        let body = ReleaseTask { key: self.claim.key.clone(), token: self.claim.token };
        match self.connection.unfenced().ask(request.number, &self.actor, body).await {
            Ok(_) | Err(Error::Stale { .. }) => Ok(()),
            Err(error) => Err(Error::OutcomeUnknown { request: request.number, source: Some(Box::new(error)) }),
        }
    }

    fn keep(mut self) -> ClaimRef {
        self.is_kept = true;
        self.claim.clone()
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if !self.is_kept {
            release_later(&self.connection, &self.actor, &self.claim);
        }
    }
}

/// The task of a claim as it is stored now.
async fn look_at(connection: &Connection, claim: &ClaimRef) -> Result<TaskDetail> {
    let store = connection.store().await?;
    store.tasks().show(&IdPrefix::parse("id", &claim.key)?).await
}

fn release_later(connection: &Connection, actor: &Actor, claim: &ClaimRef) {
    let body = ReleaseTask { key: claim.key.clone(), token: claim.token };
    connection.withdraw_later(Withdrawal::Unclaim(actor.clone(), body));
}
