//! The task queue: requests, outcomes, and the contract.

mod create;
mod dependency;
mod retry;
mod status;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::{Error, Result};
use crate::ids::{Id, IdPrefix, RequestNo, Ticket, Token};
use crate::limits;
use crate::op::{Blob, Handed, Op, Verb};
use crate::time::{LeaseMs, WallMs};

pub use create::{CreateTasks, Created, CreatedTask, NewTask};
pub use dependency::{Dependency, DependencyState};
pub use retry::{Backoff, FailTask, RedriveTask, Setback};
pub use status::TaskStatus;

/// Queues and lines are found by the words as they are stored.
fn sorted(field: &'static str, words: &[String]) -> Result<()> {
    if words.is_sorted_by(|a, b| a < b) {
        return Ok(());
    }
    Err(Error::invalid(field, words.join(", "), "sorted words without repeats; the constructors see to it"))
}

/// What a claim asks for.
fn wish(tags: &[String], lease: Option<u64>, wait: Option<u64>) -> Result<()> {
    check::names("tags", tags, limits::CLAIM_TAGS)?;
    sorted("tags", tags)?;
    check::duration("lease", lease)?;
    check::range("wait", wait.unwrap_or(0), 0, limits::DURATION)
}

/// Claims the best matching task, or one named task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimTask {
    /// A certain task, by what was typed: it is claimed at once, whatever its tags; none: the best one.
    pub id: Option<String>,
    /// The task must carry any of these; empty: any task. Sorted, without repeats (see [`ClaimTask::new`]).
    pub tags: Vec<String>,
    /// How long the claim lasts in milliseconds; none: the task's own lease, else `fallback`.
    pub lease: Option<u64>,
    /// How long the claim lasts in milliseconds when neither it nor the task says so; none: as long as the session.
    pub fallback: Option<u64>,
    /// How long to wait for a task in milliseconds: 0 answers at once, none waits without limit.
    pub wait: Option<u64>,
}

impl ClaimTask {
    /// A claim for any task with any of the tags, waiting without limit.
    #[must_use]
    pub fn new(mut tags: Vec<String>) -> Self {
        tags.sort();
        tags.dedup();
        Self { id: None, tags, lease: None, fallback: None, wait: None }
    }
}

impl Verb for ClaimTask {
    const NAME: &'static str = "task/claim";
    type Reply = Claim;

    fn validate(&self) -> Result<()> {
        if let Some(id) = &self.id {
            IdPrefix::parse("id", id)?;
            let alone = |field, given: String| Error::invalid(field, given, "none: a certain task is claimed at once");
            if !self.tags.is_empty() {
                return Err(alone("tags", self.tags.join(", ")));
            }
            if let Some(wait @ 1..) = self.wait {
                return Err(alone("wait", wait.to_string()));
            }
        }
        check::duration("fallback", self.fallback)?;
        wish(&self.tags, self.lease, self.wait)
    }

    fn take(reply: &mut Claim, handed: Handed) {
        reply.take(handed);
    }
}

/// The claim of the best matching task, in the same step in which another task is finished.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextTask {
    /// As in [`ClaimTask`].
    pub tags: Vec<String>,
    /// As in [`ClaimTask`].
    pub lease: Option<u64>,
    /// As in [`ClaimTask`].
    pub wait: Option<u64>,
}

impl NextTask {
    /// A claim for any task with any of the tags, waiting without limit.
    #[must_use]
    pub fn new(tags: Vec<String>) -> Self {
        Self { tags: ClaimTask::new(tags).tags, ..Self::default() }
    }

    fn validate(&self) -> Result<()> {
        wish(&self.tags, self.lease, self.wait)
    }
}

impl From<NextTask> for ClaimTask {
    fn from(next: NextTask) -> Self {
        Self { id: None, tags: next.tags, lease: next.lease, fallback: None, wait: next.wait }
    }
}

/// A claim as the rules answer it: what later calls must present.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClaimRef {
    /// The task's short id.
    pub key: String,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The fencing token of the claim.
    pub token: Token,
    /// The task, when it came along with the answer. Whether it did makes no other claim of it.
    #[serde(skip)]
    pub handed: Option<Box<Handed>>,
}

impl PartialEq for ClaimRef {
    fn eq(&self, other: &Self) -> bool {
        (&self.key, self.attempt, self.token) == (&other.key, other.attempt, other.token)
    }
}

impl Eq for ClaimRef {}

/// The outcome of a claim or a confirm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[must_use]
pub enum Claim {
    /// The task is the caller's now.
    Claimed(ClaimRef),
    /// Nothing matches; the request waits under this ticket.
    Queued {
        /// The ticket to confirm with after a wake-up.
        ticket: Ticket,
        /// Milliseconds until `tick` may help; none: nothing is due.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tick_in: Option<u64>,
    },
    /// Nothing matches and the request did not want to wait.
    Nothing {
        /// Tasks that are pending but do not match.
        pending: u64,
    },
    /// The ticket is gone: it waited too long, or its session ended.
    Lapsed {
        /// The ticket.
        ticket: Ticket,
    },
}

impl Claim {
    fn take(&mut self, handed: Handed) {
        if let Self::Claimed(claim) = self {
            claim.handed = Some(Box::new(handed));
        }
    }
}

/// Takes up the task that a wake-up announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmTask {
    /// The ticket from [`Claim::Queued`].
    pub ticket: Ticket,
}

impl Verb for ConfirmTask {
    const NAME: &'static str = "task/confirm";
    type Reply = Claim;

    fn validate(&self) -> Result<()> {
        Ok(())
    }

    fn take(reply: &mut Claim, handed: Handed) {
        reply.take(handed);
    }
}

/// Undoes a claim whose caller has gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawTask {
    /// The request number of the claim, of the same client.
    pub request: RequestNo,
    /// The request number of a confirm of its ticket that may be under way.
    pub confirm: Option<RequestNo>,
}

impl Verb for WithdrawTask {
    const NAME: &'static str = "task/withdraw";
    type Reply = Withdrawn;

    fn validate(&self) -> Result<()> {
        Ok(())
    }
}

/// What a withdrawal gave back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    /// The task that went back to its queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

macro_rules! claim_verb {
    ($(#[$doc:meta])* $name:ident, $path:literal { $($(#[$fdoc:meta])* $field:ident: $ty:ty,)* } |$this:ident| $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name {
            /// The task's short id.
            pub key: String,
            /// The token of the claim.
            pub token: Token,
            $($(#[$fdoc])* pub $field: $ty,)*
        }

        impl Verb for $name {
            const NAME: &'static str = $path;
            type Reply = TaskChanged;

            fn validate(&self) -> Result<()> {
                IdPrefix::parse("id", &self.key)?;
                let $this = self;
                $check
            }
        }
    };
}

claim_verb! {
    /// Says that work has begun.
    StartTask, "task/start" {} |_this| Ok(())
}
claim_verb! {
    /// Says how far the work is.
    ProgressTask, "task/progress" {
        /// A line for people.
        note: Option<String>,
        /// 0 to 100.
        percent: Option<u8>,
    } |this| {
        check::note_opt("note", this.note.as_deref(), limits::NOTE_BYTES)?;
        check::range("percent", this.percent.unwrap_or(0).into(), 0, 100)
    }
}
claim_verb! {
    /// Moves the deadline of the claim.
    ExtendTask, "task/extend" {
        /// New deadline in milliseconds from now.
        lease: u64,
    } |this| check::duration("lease", Some(this.lease))
}
claim_verb! {
    /// Puts the task back to its place in the queue.
    ReleaseTask, "task/release" {} |_this| Ok(())
}

/// Says that the task is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompleteTask {
    /// The task's short id.
    pub key: String,
    /// The task's id, which names the stored result.
    pub id: Id,
    /// The token of the claim.
    pub token: Token,
    /// Whether a result is stored beside it.
    pub has_result: bool,
    /// Claims the next task in the same step.
    pub next: Option<NextTask>,
    /// What came of it, as JSON text; stored as a blob.
    #[serde(skip)]
    pub result: Option<String>,
}

impl CompleteTask {
    /// Completes a claimed task.
    #[must_use]
    pub fn new(key: String, id: Id, token: Token, result: Option<String>) -> Self {
        Self { key, id, token, has_result: result.is_some(), next: None, result }
    }
}

impl Verb for CompleteTask {
    const NAME: &'static str = "task/complete";
    type Reply = TaskChanged;

    fn validate(&self) -> Result<()> {
        IdPrefix::parse("id", &self.key)?;
        check::blob("result", self.result.as_deref().map(str::as_bytes))?;
        self.next.as_ref().map_or(Ok(()), NextTask::validate)
    }

    fn blobs(&self) -> Vec<Blob> {
        self.result.iter().map(|r| Blob::new("task", &self.id, "result", r.as_bytes())).collect()
    }

    fn take(reply: &mut TaskChanged, handed: Handed) {
        reply.take(handed);
    }
}

/// Calls a task off, also a claimed one: whoever has it is told under the ticket of its claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelTask {
    /// The task, by what was typed.
    pub key: String,
    /// Why.
    pub reason: Option<String>,
}

impl Verb for CancelTask {
    const NAME: &'static str = "task/cancel";
    type Reply = TaskChanged;

    fn validate(&self) -> Result<()> {
        IdPrefix::parse("id", &self.key)?;
        self.reason.as_deref().map_or(Ok(()), |reason| check::line("reason", reason, limits::NOTE_BYTES))
    }
}

/// The outcome of a change to a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskChanged {
    /// The task's short id.
    pub key: String,
    /// The state it is in now.
    pub status: TaskStatus,
    /// What the claim of the next task came to, when one was asked for. It counts as a claim of the same request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Claim>,
}

impl TaskChanged {
    fn take(&mut self, handed: Handed) {
        if let Some(next) = &mut self.next {
            next.take(handed);
        }
    }
}

/// A task as listings show it; long texts are read apart (see [`TaskDetail`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: Id,
    /// Its short id.
    pub key: String,
    /// One line.
    pub title: String,
    /// Its state.
    pub status: TaskStatus,
    /// 1 to 5.
    pub priority: u8,
    /// What it is about.
    pub tags: Vec<String>,
    /// Capabilities it requires.
    pub requires: Vec<String>,
    /// Attempts so far.
    pub attempt: u32,
    /// Attempts allowed.
    pub max_attempts: u32,
    /// Workers it has lost.
    pub crashes: u32,
    /// The claiming session.
    pub session: Option<Id>,
    /// The claiming agent, by key.
    pub agent: Option<String>,
    /// The claiming agent's name.
    pub claimed_by: Option<String>,
    /// When it was claimed.
    pub claimed_at: Option<WallMs>,
    /// Deadline of the claim, in lease time.
    pub deadline: Option<LeaseMs>,
    /// Deadline of the claim as estimated wall time.
    pub deadline_at: Option<WallMs>,
    /// The fencing token of the claim.
    pub token: Option<Token>,
    /// The ticket of the claim, under which its holder is told when it is over.
    pub ticket: Option<Ticket>,
    /// The wall time before which nobody gets it.
    pub not_before: Option<WallMs>,
    /// When it is tried again after a failure, as estimated wall time.
    pub retry_at: Option<WallMs>,
    /// Tasks that it still waits for.
    pub waits_for: u32,
    /// Those of them that have ended without being completed; unless they are redriven, it stays blocked.
    pub lost: u32,
    /// Who created it.
    pub created_by: String,
    /// When it was created.
    pub created_at: WallMs,
    /// When it came to a final state.
    pub completed_at: Option<WallMs>,
    /// Why it failed last.
    pub error: Option<String>,
    /// Last progress note.
    pub note: Option<String>,
    /// Last progress in per cent.
    pub percent: Option<u8>,
    /// Pending, and no live session can do all that it requires.
    pub stranded: bool,
}

/// A task with its long texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskDetail {
    /// The task.
    pub task: Task,
    /// Long text.
    pub description: Option<String>,
    /// JSON text.
    pub payload: Option<String>,
    /// JSON text.
    pub result: Option<String>,
    /// What it depends on.
    pub depends_on: Vec<Dependency>,
    /// Why its attempts came to nothing, oldest first.
    pub setbacks: Vec<Setback>,
}

/// Which tasks to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// In any of these states; empty: all.
    pub statuses: Vec<TaskStatus>,
    /// With any of these tags; empty: all.
    pub tags: Vec<String>,
    /// Claimed by the agent of this name.
    pub claimed_by: Option<String>,
    /// With this text in the title, whatever its case.
    pub text: Option<String>,
    /// At most this many.
    pub limit: usize,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// A page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where to go on; none at the end.
    pub cursor: Option<String>,
}

/// The task queue.
#[async_trait]
pub trait TaskQueue: Send + Sync {
    /// Creates tasks; waiting agents that match get them in the same step.
    ///
    /// # Behavior
    /// - `create_hands_off_to_the_longest_waiting_agent`.
    /// - `idempotency_key_returns_the_first_task`; with other content it is refused.
    /// - `a_task_waits_for_what_it_depends_on`: it is released once, when all of that is completed.
    /// - `a_task_is_not_claimed_before_its_time`.
    async fn create(&self, op: Op<CreateTasks>) -> Result<Created>;

    /// Claims a task.
    ///
    /// # Behavior
    /// - `claim_is_exclusive`: one claimer per attempt.
    /// - `claim_takes_priority_then_age`: highest priority first, first in first out inside a priority.
    /// - `claim_matches_any_tag_and_all_requirements`.
    /// - `claim_by_id_names_the_owner_when_taken`.
    /// - `a_claim_that_missed_its_task_asks_again`: it keeps none from others, and loses none that came meanwhile.
    async fn claim(&self, op: Op<ClaimTask>) -> Result<Claim>;

    /// Takes up a handed-over task after a wake-up.
    async fn confirm(&self, op: Op<ConfirmTask>) -> Result<Claim>;

    /// Undoes a claim by its request number.
    async fn withdraw(&self, op: Op<WithdrawTask>) -> Result<Withdrawn>;

    /// Says that work has begun.
    async fn start(&self, op: Op<StartTask>) -> Result<TaskChanged>;

    /// Says how far the work is.
    async fn progress(&self, op: Op<ProgressTask>) -> Result<TaskChanged>;

    /// Moves the deadline of the claim.
    async fn extend(&self, op: Op<ExtendTask>) -> Result<TaskChanged>;

    /// Says that the task is done.
    ///
    /// # Behavior
    /// - `only_the_claimer_may_change_a_task`: another token or session is `Stale` and nothing is written.
    /// - `completing_twice_is_refused`.
    /// - `complete_claims_the_next_task_in_the_same_step`, which is withdrawn alone.
    async fn complete(&self, op: Op<CompleteTask>) -> Result<TaskChanged>;

    /// Says that the task could not be done.
    ///
    /// # Behavior
    /// - `failed_task_is_retried_until_attempts_are_used_up`, each time after a longer pause.
    /// - `every_attempts_reason_is_kept`.
    async fn fail(&self, op: Op<FailTask>) -> Result<TaskChanged>;

    /// Puts the task back.
    ///
    /// # Behavior
    /// - `released_task_keeps_its_place`.
    async fn release(&self, op: Op<ReleaseTask>) -> Result<TaskChanged>;

    /// Calls a task off.
    ///
    /// # Behavior
    /// - `a_cancelled_claim_is_over_and_its_holder_is_told`.
    /// - `what_depends_on_a_lost_task_stays_blocked`.
    async fn cancel(&self, op: Op<CancelTask>) -> Result<TaskChanged>;

    /// Puts a failed, cancelled or dead task back.
    ///
    /// # Behavior
    /// - `stall_counter_starts_anew_after_a_redrive`.
    async fn redrive(&self, op: Op<RedriveTask>) -> Result<TaskChanged>;

    /// The short ids of tasks, in the order in which they were typed.
    ///
    /// # Errors
    /// `NotFound` names the first that is not there.
    async fn keys(&self, ids: &[IdPrefix]) -> Result<Vec<String>>;

    /// A task by short id or a longer form.
    async fn find(&self, id: &IdPrefix) -> Result<Task>;

    /// A task with its long texts.
    async fn show(&self, id: &IdPrefix) -> Result<TaskDetail>;

    /// Tasks in the order they would be claimed, state by state. A page looks at 10,000 tasks at most: it may be short of the
    /// limit, or empty, and still have a cursor.
    ///
    /// # Behavior
    /// - `listings_page_and_filter`.
    /// - `pending_tasks_are_listed_in_claim_order_under_change`: a cursor stays good while tasks come and go.
    /// - `a_task_that_no_live_agent_can_take_is_marked`.
    async fn list(&self, filter: &TaskFilter) -> Result<Page<Task>>;

    /// Everything a session has claimed.
    async fn of_session(&self, session: &Id) -> Result<Vec<Task>>;
}
