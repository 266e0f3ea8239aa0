//! Those who act in a case, with short verbs so that a case reads like a story.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agentcoord_core::Result;
use agentcoord_core::agent::{Deregister, Heartbeat, Register, Registered, SessionKind, Tick};
use agentcoord_core::approval::{ApprovalRef, CastVote, ConsumeApproval, Consumed, RequestApproval, Verdict};
use agentcoord_core::engine::Engine;
use agentcoord_core::ids::{Csn, Id, IdPrefix, RequestNo, Ticket, Token};
use agentcoord_core::limits;
use agentcoord_core::lock::{
    Acquire, AcquireLock, ConfirmLock, Conflict, Grant, LockPath, ReleaseLock, Released, WaitLock, WithdrawLock,
};
use agentcoord_core::op::{Actor, Op, Verb};
use agentcoord_core::record::Event;
use agentcoord_core::store::{Backend, Store};
use agentcoord_core::task::{
    CancelTask, Claim, ClaimRef, ClaimTask, CompleteTask, ConfirmTask, CreateTasks, FailTask, NewTask, RedriveTask,
    ReleaseTask, Task, TaskChanged, TaskDetail, TaskQueue, WithdrawTask,
};

use crate::clock::ManualClock;
use crate::harness::Harness;

/// A case's stage: one empty state, its clock, and those who come to it.
pub struct Scene {
    harness: Box<dyn Harness>,
    store: Store,
}

impl Scene {
    /// The stage on a harness.
    #[must_use]
    pub fn new(harness: impl Harness) -> Self {
        let store = Store::new(harness.engine());
        Self { harness: Box::new(harness), store }
    }

    /// The store as an onlooker sees it.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> Arc<ManualClock> {
        self.harness.clock()
    }

    /// Time passes.
    pub async fn pass(&self, ms: u64) {
        self.harness.advance(Duration::from_millis(ms)).await;
    }

    /// The wall clock is set; no time passes.
    pub async fn set_wall_by(&self, ms: i64) {
        self.harness.set_wall_by(ms).await;
    }

    /// A person.
    pub async fn human(&self, name: &str) -> Player {
        Player::new(self.harness.peer().await, Actor::Human(name.to_owned()), name)
    }

    /// AgentCoord itself.
    pub async fn system(&self) -> Player {
        Player::new(self.harness.peer().await, Actor::System, "system")
    }

    /// A registered agent in a process of its own.
    pub async fn agent(&self, name: &str) -> Player {
        self.agent_as(registration(name)).await
    }

    /// An agent with capabilities.
    pub async fn able(&self, name: &str, capabilities: &[&str]) -> Player {
        let capabilities = strings(capabilities);
        self.agent_as(Register { capabilities, ..registration(name) }).await
    }

    /// An agent registered in a certain way.
    pub async fn agent_as(&self, body: Register) -> Player {
        let mut player = Player::new(self.harness.peer().await, Actor::System, &body.name);
        let registered = player.ask(body).await.expect("a fresh registration is accepted");
        player.become_session(&registered);
        player
    }

    /// The last commit sequence number.
    pub async fn csn(&self) -> Csn {
        self.engine().state().await.expect("the state can be read").0.csn
    }

    /// Events after a commit.
    pub async fn events(&self, after: Csn) -> Vec<Event> {
        self.engine().events(after, 10_000).await.expect("events can be read")
    }

    /// What was woken after a commit, in order.
    pub async fn wakes(&self, after: Csn) -> Vec<String> {
        self.events(after).await.into_iter().flat_map(|e| e.wakes).collect()
    }

    /// Settles everything that is due.
    pub async fn settle(&self) {
        let system = self.system().await;
        for _ in 0..1_000 {
            let ticked = system.ask(Tick { most: limits::WORK_PER_STEP as u64 }).await.expect("a tick is accepted");
            if ticked.next_in != Some(0) {
                return;
            }
        }
        panic!("due items never came to an end");
    }

    fn engine(&self) -> &Arc<dyn Engine> {
        self.store.engine()
    }

    /// A task by its key.
    pub async fn task(&self, key: &str) -> Task {
        TaskQueue::find(&self.store, &id(key)).await.expect("the task is there")
    }

    /// A task with all that belongs to it.
    pub async fn detail(&self, key: &str) -> TaskDetail {
        TaskQueue::show(&self.store, &id(key)).await.expect("the task is there")
    }

    /// The names of those who hold a path.
    pub async fn holders(&self, path: &str) -> Vec<String> {
        let state = self.store.locks().at(&lock_path(path)).await.expect("a path can be looked at");
        state.holders.into_iter().filter(|h| !h.offered).map(|h| h.name).collect()
    }

    /// The names of those who wait for a path, oldest first.
    pub async fn waiters(&self, path: &str) -> Vec<String> {
        let state = self.store.locks().at(&lock_path(path)).await.expect("a path can be looked at");
        state.waiters.into_iter().map(|w| w.name).collect()
    }

    /// Whether a token protects a path now.
    pub async fn is_current(&self, path: &str, token: Token) -> bool {
        self.store.locks().verify(&lock_path(path), token).await.expect("a token can be verified").current
    }
}

/// A registration with defaults for all but the name.
#[must_use]
pub fn registration(name: &str) -> Register {
    Register {
        agent: Id::random(),
        session: Id::random(),
        name: name.to_owned(),
        key: String::new(),
        role: "Engineer".to_owned(),
        working_on: None,
        capabilities: Vec::new(),
        host: "host".to_owned(),
        process: None,
        kind: SessionKind::Process,
        ttl: limits::SESSION_TTL,
        parent: None,
        resume: false,
        metadata: None,
    }
}

/// One client: an agent's process, a person's command line, or AgentCoord itself.
#[derive(Debug)]
pub struct Player {
    store: Store,
    client: Id,
    next: AtomicU64,
    actor: Actor,
    name: String,
    agent: String,
}

impl Player {
    fn new(engine: Arc<dyn Engine>, actor: Actor, name: &str) -> Self {
        let store = Store::new(engine);
        Self {
            store,
            client: Id::random(),
            next: AtomicU64::new(1),
            actor,
            name: name.to_owned(),
            agent: String::new(),
        }
    }

    /// Acts from now on as the session that a registration answered.
    pub fn become_session(&mut self, registered: &Registered) {
        self.actor = Actor::Session(registered.session.clone());
        self.name.clone_from(&registered.name);
        self.agent.clone_from(&registered.agent);
    }

    /// The name it goes by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its agent, by key.
    #[must_use]
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// Its client id.
    #[must_use]
    pub fn client(&self) -> &Id {
        &self.client
    }

    /// Its session.
    #[must_use]
    pub fn session(&self) -> &Id {
        match &self.actor {
            Actor::Session(id) => id,
            other => panic!("{other:?} has no session"),
        }
    }

    /// The store through its own connection.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// An operation under its next number, not sent yet.
    pub fn op<V>(&self, body: V) -> Op<V> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.op_numbered(number, body)
    }

    /// An operation under a certain number.
    pub fn op_numbered<V>(&self, number: u64, body: V) -> Op<V> {
        Op {
            epoch: self.store.engine().epoch(),
            client: self.client.clone(),
            request: RequestNo(number),
            actor: self.actor.clone(),
            fence: None,
            body,
        }
    }

    /// Sends an operation, for the first time or again.
    pub async fn send<V: Verb>(&self, op: &Op<V>) -> Result<V::Reply> {
        self.store.run(op).await
    }

    /// Sends a new operation.
    pub async fn ask<V: Verb>(&self, body: V) -> Result<V::Reply> {
        self.send(&self.op(body)).await
    }

    /// Sends a sign of life from the background.
    pub async fn beat(&self) {
        self.ask(Heartbeat { progress: false }).await.expect("a live session beats");
    }

    /// Ends its session.
    pub async fn leave(&self) -> u64 {
        self.ask(Deregister { reason: None }).await.expect("a live session ends").settled
    }

    /// Asks for paths without waiting.
    pub async fn try_lock(&self, paths: &[&str]) -> Acquire {
        self.ask(AcquireLock { wait: Some(0), ..locking(paths) }).await.expect("the request is well-formed")
    }

    /// Asks for paths and queues when they are taken.
    pub async fn lock(&self, paths: &[&str]) -> Acquire {
        self.ask(locking(paths)).await.expect("the request is well-formed")
    }

    /// Takes paths that are free.
    pub async fn hold(&self, paths: &[&str]) -> Grant {
        granted(self.try_lock(paths).await)
    }

    /// Waits until paths are free, without taking them.
    pub async fn wait_free(&self, paths: &[&str]) -> Acquire {
        self.ask(WaitLock::from(locking(paths))).await.expect("the request is well-formed")
    }

    /// Takes up an offered lock.
    pub async fn confirm_lock(&self, ticket: &Ticket) -> Acquire {
        self.ask(ConfirmLock { ticket: ticket.clone() }).await.expect("a live session may confirm")
    }

    /// Gives a grant back.
    pub async fn release(&self, token: Token) -> Result<Released> {
        self.ask(ReleaseLock { token, paths: Vec::new() }).await
    }

    /// Undoes a lock request.
    pub async fn withdraw_lock(&self, request: RequestNo) -> Released {
        self.ask(WithdrawLock { request, confirm: None }).await.expect("a withdrawal is accepted")
    }

    /// Creates a task; its key.
    pub async fn create(&self, task: NewTask) -> String {
        let mut created = self.ask(CreateTasks::new(vec![task])).await.expect("the task is well-formed");
        created.items.remove(0).key
    }

    /// Creates a plain task; its key.
    pub async fn create_titled(&self, title: &str) -> String {
        self.create(NewTask::titled(title)).await
    }

    /// Asks under a lock.
    pub async fn ask_under<V: Verb>(&self, fence: Token, body: V) -> Result<V::Reply> {
        self.send(&Op { fence: Some(fence), ..self.op(body) }).await
    }

    /// Asks for a task with any of the tags, without waiting.
    pub async fn try_claim(&self, tags: &[&str]) -> Claim {
        let body = ClaimTask { wait: Some(0), ..ClaimTask::new(strings(tags)) };
        self.ask(body).await.expect("a live session may claim")
    }

    /// Asks for a task and waits for one.
    pub async fn wait_claim(&self, tags: &[&str]) -> Claim {
        self.ask(ClaimTask::new(strings(tags))).await.expect("a live session may claim")
    }

    /// Asks for a certain task.
    pub async fn claim_id(&self, typed: &str) -> Result<Claim> {
        self.ask(ClaimTask { id: Some(typed.to_owned()), ..ClaimTask::new(Vec::new()) }).await
    }

    /// Claims the next task, which must be there.
    pub async fn claim(&self) -> ClaimRef {
        claimed(self.try_claim(&[]).await)
    }

    /// Takes up a handed-over task.
    pub async fn confirm_task(&self, ticket: &Ticket) -> Claim {
        self.ask(ConfirmTask { ticket: ticket.clone() }).await.expect("a live session may confirm")
    }

    /// Undoes a claim.
    pub async fn withdraw_task(&self, request: RequestNo) -> Option<String> {
        self.ask(WithdrawTask { request, confirm: None }).await.expect("a withdrawal is accepted").key
    }

    /// Completes a claim.
    pub async fn complete(&self, claim: &ClaimRef) -> Result<TaskChanged> {
        let task = TaskQueue::find(&self.store, &id(&claim.key)).await?;
        self.ask(CompleteTask::new(claim.key.clone(), task.id, claim.token, None)).await
    }

    /// Fails a claim.
    pub async fn fail(&self, claim: &ClaimRef, reason: &str, retry: bool) -> Result<TaskChanged> {
        let audit = r#"{"decision_type":"dead_letter"}"#.to_owned();
        self.ask(FailTask::new(claim.key.clone(), claim.token, reason.to_owned(), retry, audit)).await
    }

    /// Calls a task off.
    pub async fn cancel(&self, key: &str, reason: Option<&str>) -> Result<TaskChanged> {
        self.ask(CancelTask { key: key.to_owned(), reason: reason.map(str::to_owned) }).await
    }

    /// Puts an ended task back.
    pub async fn redrive(&self, key: &str) -> Result<TaskChanged> {
        self.ask(RedriveTask { key: key.to_owned() }).await
    }

    /// Puts a claimed task back.
    pub async fn release_task(&self, claim: &ClaimRef) -> Result<TaskChanged> {
        self.ask(ReleaseTask { key: claim.key.clone(), token: claim.token }).await
    }

    /// Requests an approval; its key.
    pub async fn request(&self, body: RequestApproval) -> String {
        self.ask(body.seal()).await.expect("the request is well-formed").key
    }

    /// Says yes.
    pub async fn approve(&self, approval: &str) -> Result<ApprovalRef> {
        self.ask(vote(approval, Verdict::Approve)).await
    }

    /// Says no.
    pub async fn reject(&self, approval: &str) -> Result<ApprovalRef> {
        self.ask(vote(approval, Verdict::Reject)).await
    }

    /// Asks for the verdict on what it has asked for.
    pub async fn consume(&self, approval: &str) -> Consumed {
        self.ask(verdict(approval, None)).await.expect("the approval is its own")
    }
}

/// A vote with a note.
#[must_use]
pub fn vote(approval: &str, verdict: Verdict) -> CastVote {
    CastVote {
        approval: approval.to_owned(),
        verdict,
        digest: None,
        note: Some("looked at it".to_owned()),
        signature: None,
        audit: r#"{"decision_type":"approval_vote"}"#.to_owned(),
    }
}

/// A question for the verdict, with the idempotency key or without.
#[must_use]
pub fn verdict(approval: &str, key: Option<&str>) -> ConsumeApproval {
    ConsumeApproval { approval: approval.to_owned(), key: key.map(str::to_owned) }
}

/// A lock request that queues.
#[must_use]
pub fn locking(paths: &[&str]) -> AcquireLock {
    AcquireLock::new(paths.iter().map(|p| lock_path(p)).collect())
}

/// A path that can be locked.
#[must_use]
pub fn lock_path(text: &str) -> LockPath {
    LockPath::parse(text).expect("a path that can be locked")
}

/// An id as it is typed.
#[must_use]
pub fn id(typed: &str) -> IdPrefix {
    IdPrefix::parse("id", typed).expect("hex digits")
}

/// Owned strings.
#[must_use]
pub fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

/// The grant of an acquire that must have succeeded.
pub fn granted(outcome: Acquire) -> Grant {
    match outcome {
        Acquire::Granted(grant) => grant,
        other => panic!("not granted: {other:?}"),
    }
}

/// The ticket of an acquire that must have queued.
pub fn queued(outcome: Acquire) -> Ticket {
    match outcome {
        Acquire::Queued { ticket, .. } => ticket,
        other => panic!("not queued: {other:?}"),
    }
}

/// Who is in the way of an acquire that must have been refused.
pub fn contended(outcome: Acquire) -> Vec<Conflict> {
    match outcome {
        Acquire::Contended { conflicts } => conflicts,
        other => panic!("not contended: {other:?}"),
    }
}

/// The claim that must have succeeded.
pub fn claimed(outcome: Claim) -> ClaimRef {
    match outcome {
        Claim::Claimed(claim) => claim,
        other => panic!("not claimed: {other:?}"),
    }
}

/// The ticket of a claim that must wait.
pub fn waiting(outcome: Claim) -> Ticket {
    match outcome {
        Claim::Queued { ticket, .. } => ticket,
        other => panic!("does not wait: {other:?}"),
    }
}

/// Asserts that a result is an error of a certain shape.
#[macro_export]
macro_rules! refused {
    ($result:expr, $shape:pat $(if $guard:expr)?) => {
        match $result {
            Err($shape) $(if $guard)? => {}
            other => panic!("expected {}, got {other:?}", stringify!($shape $(if $guard)?)),
        }
    };
}
