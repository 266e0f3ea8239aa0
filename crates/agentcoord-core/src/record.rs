//! The persisted schema: records, as MessagePack maps with named fields; and the state, events and hot records, as arrays
//! of their fields in order.
//!
//! Changing it: fields are only added (to an array at its end), optional, with the meaning of their absence documented. Old writers meet new
//! data during an upgrade: a field that an old script drops when it rewrites a record must be harmless to lose, else
//! raise [`SCHEMA`], which keeps old clients out. Both dialects write these forms, so a change here is a change in
//! `lua/` too; the differential test compares them.

use serde::{Deserialize, Serialize};

use crate::agent::{ProcessIdentity, SessionKind};
use crate::approval::{ApprovalStatus, Vote};
use crate::board::{ThreadPriority, ThreadStatus};
use crate::ids::{Csn, Id, RequestNo, Ticket, Token};
use crate::lock::{LockMode, LockPath, Look, ONLOOKING};
use crate::op::Actor;
use crate::table::{Entry, Record, Table, index, pad};
use crate::task::{Backoff, TaskStatus};
use crate::time::{LeaseClock, LeaseMs, WallMs};

/// Version of the schema; kept in the namespace's meta record and in the file engine's header.
pub const SCHEMA: u32 = 1;

/// Declares a record: fields, then after `;` the fields that may be absent.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $ty:ty),+; $($opt:ident: $oty:ty),* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "the fields are those of the domain type of the same name")]
        pub struct $name {
            $(pub $field: $ty,)*
            $(#[serde(default, skip_serializing_if = "Option::is_none")] pub $opt: Option<$oty>,)*
        }
    };
}

mod dependency;
pub use dependency::{AnnouncementRecord, DependencyRecord, LinkRecord};

record! {
    /// An agent. `base` is the configured name, `name` the one it goes by, `session` its newest main session.
    AgentRecord {
        id: Id, base: String, key: String, name: String, role: String, capabilities: Vec<String>,
        session: Id, created_at: WallMs;
        metadata: String
    }
}

impl Record for AgentRecord {
    const TABLE: Table = Table::Agent;

    fn entries(&self, key: &str, out: &mut Vec<Entry>) {
        out.push(index::id(Table::Agent, key));
        out.push(index::name(&self.name, key));
        out.push(index::who(&self.base, &self.key, key));
    }
}

record! {
    /// A session. `due` is the lease time at which its pulse is looked at next. An ended session with `settling` still
    /// has holdings to be passed on. `client` is told when it ends; those of shell agents have none.
    SessionRecord {
        agent: String, name: String, kind: SessionKind, host: String, ttl: u64, due: LeaseMs, started_at: WallMs;
        parent: Id, process: ProcessIdentity, status: String, working_on: String, busy_until: LeaseMs,
        ended_at: WallMs, reason: String, settling: bool, client: Id
    }
}

impl SessionRecord {
    /// When it ends without another sign of life, unless it has ended; see [`State::spared`].
    #[must_use]
    pub fn lives_until(&self, beat: LeaseMs, spared: LeaseMs) -> LeaseMs {
        let spared = match self.kind {
            SessionKind::Process => spared,
            // Who lives by calls sends no heartbeats that could have been lost.
            SessionKind::Shell => 0,
        };
        beat.max(spared) + self.ttl
    }
}

impl Record for SessionRecord {
    const TABLE: Table = Table::Session;

    fn entries(&self, key: &str, out: &mut Vec<Entry>) {
        if self.ended_at.is_none() {
            out.push(index::live(&self.agent, key));
            out.push(index::due(self.due, Table::Session, key));
        } else if self.settling == Some(true) {
            out.push(index::due(0, Table::Session, key));
        }
    }

    fn count(&self, counts: &mut Counts, sign: i64) {
        if self.ended_at.is_none() {
            counts.sessions += sign;
        }
    }
}

record! {
    /// The last sign of life and the last progress of a session.
    PulseRecord { beat: LeaseMs, progress: LeaseMs; }
}

impl Record for PulseRecord {
    const TABLE: Table = Table::Pulse;

    fn entries(&self, _key: &str, _out: &mut Vec<Entry>) {}
}

fn subtrees(paths: &[LockPath]) -> i64 {
    i64::try_from(paths.iter().filter(|path| path.is_subtree()).count()).unwrap_or(0)
}

record! {
    /// A lock grant. While `offer` is set it is not confirmed: the lease time until which the waiter may confirm.
    LockRecord {
        token: Token, session: Id, agent: String, name: String, lane: String, mode: LockMode, paths: Vec<LockPath>,
        since: WallMs, ticket: Ticket;
        intent: String, deadline: LeaseMs, offer: LeaseMs
    }
}

impl Record for LockRecord {
    const TABLE: Table = Table::Lock;

    fn entries(&self, key: &str, out: &mut Vec<Entry>) {
        for path in &self.paths {
            let (kind, token) = (self.mode.holding(), self.token.0);
            out.push(index::path(path.as_str(), kind, token, key));
            out.push(index::lane(self.session.as_str(), &self.lane, path.as_str(), kind, token, key));
        }
        out.push(index::owned(self.session.as_str(), Table::Lock, key));
        if let Some(at) = self.offer.or(self.deadline) {
            out.push(index::due(at, Table::Lock, key));
        }
    }

    fn count(&self, counts: &mut Counts, sign: i64) {
        counts.locks += sign * i64::try_from(self.paths.len()).unwrap_or(0);
        counts.subtrees += sign * subtrees(&self.paths);
    }
}

record! {
    /// A request that queues for paths. With `offered` it has been granted that lock and must confirm. With `look` it
    /// takes nothing.
    LockTicketRecord {
        seq: u64, session: Id, agent: String, name: String, lane: String, mode: LockMode, paths: Vec<LockPath>, since: WallMs;
        intent: String, ttl: u64, deadline: LeaseMs, offered: Token, look: Look
    }
}

impl LockTicketRecord {
    /// Whether it has not come to its turn yet.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.offered.is_none() && self.look != Some(Look::Free)
    }
}

impl Record for LockTicketRecord {
    const TABLE: Table = Table::LockTicket;

    fn entries(&self, key: &str, out: &mut Vec<Entry>) {
        out.push(index::owned(self.session.as_str(), Table::LockTicket, key));
        if self.waits() {
            let kind = self.look.map_or(self.mode.waiting(), |_| ONLOOKING);
            for path in &self.paths {
                out.push(index::path(path.as_str(), kind, self.seq, key));
            }
        }
        if let Some(at) = self.deadline
            && self.offered.is_none()
        {
            out.push(index::due(at, Table::LockTicket, key));
        }
    }

    fn count(&self, counts: &mut Counts, sign: i64) {
        counts.lock_waiters += sign;
        counts.subtrees += sign * subtrees(&self.paths);
    }
}

record! {
    /// Freed paths whose waiters are still to be looked at: more than one step may do. `from` is the index position that
    /// was reached within the first path.
    HandoverRecord { paths: Vec<LockPath>; from: String }
}

impl Record for HandoverRecord {
    const TABLE: Table = Table::Handover;

    fn entries(&self, key: &str, out: &mut Vec<Entry>) {
        out.push(index::due(0, Table::Handover, key));
    }
}

record! {
    /// A task. The fields from `session` on are set while it is claimed. While `offer` is set the claim is not confirmed.
    /// `waits_for` counts the dependencies that are not done, `lost` those of them that are lost, `setbacks` the records of
    /// attempts that came to nothing. A failed attempt is followed by the next at `retry_at`.
    TaskRecord {
        id: Id, title: String, status: TaskStatus, priority: u8, seq: u64, tags: Vec<String>, requires: Vec<String>,
        attempt: u32, max_attempts: u32, crashes: u32, created_by: String, created_at: WallMs;
        lease: u64, key: String, has_description: bool, has_payload: bool, has_result: bool,
        has_dependencies: bool, completed_at: WallMs, error: String, note: String, percent: u8,
        backoff: Backoff, not_before: WallMs, retry_at: LeaseMs, setbacks: u32, waits_for: u32, lost: u32,
        session: Id, agent: String, name: String, token: Token, ticket: Ticket, claimed_at: WallMs,
        deadline: LeaseMs, offer: LeaseMs
    }
}

impl TaskRecord {
    /// Place in a queue: priority 5 first, then first in first out.
    #[must_use]
    pub fn order(&self) -> String {
        format!("{}{}", 5u8.saturating_sub(self.priority), pad(self.seq))
    }

    /// What a claim must match: sorted tags, then sorted requirements.
    #[must_use]
    pub fn kind(&self) -> String {
        words(&self.tags, &self.requires)
    }
}

/// Two sorted word lists in one index part. Words have no control characters, so the separators are safe.
#[must_use]
pub fn words(first: &[String], second: &[String]) -> String {
    format!("{}\x1e{}", first.join("\x1f"), second.join("\x1f"))
}

/// The two word lists of [`words`].
#[must_use]
pub fn unwords(part: &str) -> (Vec<&str>, Vec<&str>) {
    let (first, second) = part.split_once('\x1e').unwrap_or((part, ""));
    (list(first), list(second))
}

fn list(words: &str) -> Vec<&str> {
    if words.is_empty() { Vec::new() } else { words.split('\x1f').collect() }
}

impl Record for TaskRecord {
    const TABLE: Table = Table::Task;

    fn entries(&self, key: &str, out: &mut Vec<Entry>) {
        let order = self.order();
        out.push(index::status(self.status.word(), &order, key));
        if self.status == TaskStatus::Pending {
            out.push(index::ready(&self.kind(), &order, key));
        }
        if let Some(session) = &self.session {
            out.push(index::owned(session.as_str(), Table::Task, key));
        }
        if let Some(at) = self.offer.or(self.deadline) {
            out.push(index::due(at, Table::Task, key));
        }
        if self.status == TaskStatus::Scheduled {
            match (self.retry_at, self.not_before) {
                (Some(at), _) => out.push(index::due(at, Table::Task, key)),
                (None, Some(at)) => out.push(index::calendar(at, Table::Task, key)),
                (None, None) => {}
            }
        }
    }

    fn count(&self, counts: &mut Counts, sign: i64) {
        *counts.of_task(self.status) += sign;
    }
}

record! {
    /// A request that waits for a task. `capabilities` are the agent's when it asked.
    TaskTicketRecord {
        seq: u64, session: Id, agent: String, name: String, tags: Vec<String>, capabilities: Vec<String>, since: WallMs;
        lease: u64, deadline: LeaseMs, offered: String
    }
}

impl Record for TaskTicketRecord {
    const TABLE: Table = Table::TaskTicket;

    fn entries(&self, key: &str, out: &mut Vec<Entry>) {
        out.push(index::owned(self.session.as_str(), Table::TaskTicket, key));
        if self.offered.is_none() {
            out.push(index::wanted(&words(&self.tags, &self.capabilities), self.seq, key));
            if let Some(at) = self.deadline {
                out.push(index::due(at, Table::TaskTicket, key));
            }
        }
    }

    fn count(&self, counts: &mut Counts, sign: i64) {
        counts.task_waiters += sign;
    }
}

record! {
    /// An attempt that came to nothing; `crashed` when its worker was lost.
    SetbackRecord { at: WallMs, attempt: u32, reason: String; crashed: bool, agent: String, name: String }
}

impl SetbackRecord {
    /// The key of a task's setback `number`, from 1.
    #[must_use]
    pub fn key(task: &str, number: u32) -> String {
        format!("{task}/{number}")
    }
}

impl Record for SetbackRecord {
    const TABLE: Table = Table::Setback;

    fn entries(&self, _key: &str, _out: &mut Vec<Entry>) {}
}

record! {
    /// A thread; its messages are numbered from 1 to `count`.
    ThreadRecord {
        id: Id, seq: u64, title: String, status: ThreadStatus, priority: ThreadPriority, tags: Vec<String>,
        posted_by: String, posted_at: WallMs, count: u64;
        link: String, resolved_at: WallMs
    }
}

impl Record for ThreadRecord {
    const TABLE: Table = Table::Thread;

    fn entries(&self, key: &str, out: &mut Vec<Entry>) {
        out.push(index::id(Table::Thread, key));
        out.push(index::thread(self.status.word(), self.priority as u64, (1 << 50) - self.seq, key));
    }

    fn count(&self, counts: &mut Counts, sign: i64) {
        if self.status != ThreadStatus::Resolved {
            counts.threads += sign;
        }
    }
}

record! {
    /// A message; its text is the blob `message/<id>/text`.
    MessageRecord { id: Id, author: String, posted_at: WallMs; }
}

impl MessageRecord {
    /// The key of message `number` in a thread.
    #[must_use]
    pub fn key(thread: &str, number: u64) -> String {
        format!("{thread}/{number}")
    }
}

impl Record for MessageRecord {
    const TABLE: Table = Table::Message;

    fn entries(&self, _key: &str, _out: &mut Vec<Entry>) {}
}

record! {
    /// An approval.
    ApprovalRecord {
        id: Id, seq: u64, action_type: String, description: String, digest: String, status: ApprovalStatus,
        requested_by: String, requested_at: WallMs, expires_at: WallMs, quorum: u32, rejections: u32,
        eligible: Vec<String>, votes: Vec<Vote>;
        session: Id, key: String, has_payload: bool, has_diff: bool, decided_at: WallMs, consumed_at: WallMs
    }
}

impl Record for ApprovalRecord {
    const TABLE: Table = Table::Approval;

    fn entries(&self, key: &str, out: &mut Vec<Entry>) {
        out.push(index::id(Table::Approval, key));
        out.push(index::approval(self.status.word(), self.seq, key));
        if self.status == ApprovalStatus::Pending {
            out.push(index::calendar(self.expires_at, Table::Approval, key));
            if let Some(session) = &self.session {
                out.push(index::asks(session.as_str(), key));
            }
        }
    }

    fn count(&self, counts: &mut Counts, sign: i64) {
        if self.status == ApprovalStatus::Pending {
            counts.approvals += sign;
        }
    }
}

/// An audit entry: the bytes as the client encoded them, and when the engine took them in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// The bytes.
    pub entry: String,
    /// Wall time of the engine; 0 in entries that were never stamped.
    #[serde(default)]
    pub at: WallMs,
}

impl Record for AuditRecord {
    const TABLE: Table = Table::Audit;

    fn entries(&self, _key: &str, _out: &mut Vec<Entry>) {}
}

record! {
    /// The seals of one run of audit entries: the hash of each, so that what is wrong can be named. It only grows.
    ///
    /// Run `n` begins with entry `(n - 1) * SEAL_RUN + 1`. `hashes` has the digits of each, one after the other.
    SealRecord { hashes: String; }
}

impl Record for SealRecord {
    const TABLE: Table = Table::Seal;

    fn entries(&self, _key: &str, _out: &mut Vec<Entry>) {}
}

record! {
    /// A user-level idempotency key: which record it named, and the digest of what was asked.
    KeyRecord { key: String, digest: String, expires_at: WallMs; }
}

impl Record for KeyRecord {
    const TABLE: Table = Table::Key;

    fn entries(&self, key: &str, out: &mut Vec<Entry>) {
        out.push(index::calendar(self.expires_at, Table::Key, key));
    }
}

record! {
    /// A client with replay slots; they go when `expires` passes without use.
    ClientRecord { expires: LeaseMs; }
}

impl Record for ClientRecord {
    const TABLE: Table = Table::Client;

    fn entries(&self, key: &str, out: &mut Vec<Entry>) {
        out.push(index::due(self.expires, Table::Client, key));
    }
}

/// A replay slot: the answer of the last mutation in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingRecord {
    /// The request's number.
    pub request: RequestNo,
    /// The digest of its body.
    pub digest: String,
    /// Its answer, as it was encoded. Empty: the request was made void before it arrived.
    #[serde(with = "serde_bytes")]
    pub answer: Vec<u8>,
}

impl RingRecord {
    /// The key of a client's slot for a request.
    #[must_use]
    pub fn key(client: &Id, request: RequestNo) -> String {
        format!("{client}/{}", request.0 % crate::limits::REPLAY_WINDOW)
    }
}

impl Record for RingRecord {
    const TABLE: Table = Table::Ring;

    fn entries(&self, _key: &str, _out: &mut Vec<Entry>) {}
}

/// Counters derived from records, so that counting costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "task states, and what the names say")]
pub struct Counts {
    pub blocked: i64,
    pub scheduled: i64,
    pub pending: i64,
    pub claimed: i64,
    pub in_progress: i64,
    pub completed: i64,
    pub failed: i64,
    pub cancelled: i64,
    pub dead: i64,
    pub sessions: i64,
    pub locks: i64,
    pub lock_waiters: i64,
    /// Subtrees that are held or waited for; while there are none, nobody looks for them above a file.
    #[serde(default)]
    pub subtrees: i64,
    pub task_waiters: i64,
    /// Dependencies that are not done; while there are none, nobody looks for the dependents of a task.
    #[serde(default)]
    pub dependencies: i64,
    pub threads: i64,
    pub approvals: i64,
}

impl Counts {
    /// The counter of a task state.
    pub fn of_task(&mut self, status: TaskStatus) -> &mut i64 {
        match status {
            TaskStatus::Blocked => &mut self.blocked,
            TaskStatus::Scheduled => &mut self.scheduled,
            TaskStatus::Pending => &mut self.pending,
            TaskStatus::Claimed => &mut self.claimed,
            TaskStatus::InProgress => &mut self.in_progress,
            TaskStatus::Completed => &mut self.completed,
            TaskStatus::Failed => &mut self.failed,
            TaskStatus::Cancelled => &mut self.cancelled,
            TaskStatus::Dead => &mut self.dead,
        }
    }
}

/// The small shared state of a namespace. `counts`, `next_due` and `next_calendar` are derived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Commit sequence number of the last event.
    pub csn: Csn,
    /// Sequence of the last fencing token.
    pub token: u64,
    /// Last number given to a ticket, task, thread or approval; their order.
    pub seq: u64,
    /// Last audit sequence number.
    pub audit: u64,
    /// Audit entries that are sealed.
    #[serde(default)]
    pub sealed: u64,
    /// The lease clock.
    pub clock: LeaseClock,
    /// No `due` entry is earlier than this.
    pub next_due: LeaseMs,
    /// No `cal` entry is earlier than this.
    pub next_calendar: WallMs,
    /// See [`Counts`].
    pub counts: Counts,
    /// When sessions were last spared because many had fallen silent at once, else 0: a sign of life of each process, as it
    /// were.
    #[serde(default)]
    pub spared: LeaseMs,
}

/// "Nothing is due": larger than any time, exact in a double.
pub const NEVER: u64 = (1 << 53) - 1;

impl Default for State {
    fn default() -> Self {
        Self {
            csn: Csn(0),
            token: 0,
            seq: 0,
            audit: 0,
            sealed: 0,
            clock: LeaseClock::default(),
            next_due: NEVER,
            next_calendar: NEVER,
            counts: Counts::default(),
            spared: 0,
        }
    }
}

/// One committed mutation: who did what, and every record it touched as it was afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the log.
    pub csn: Csn,
    /// Wall time of the engine.
    pub at: WallMs,
    /// The calling process.
    pub client: Id,
    /// Its request.
    pub request: RequestNo,
    /// Who acted.
    pub actor: Actor,
    /// `noun/verb`.
    pub verb: String,
    /// Tickets and approvals (`approval/<key>`) whose waiters this event concerns.
    pub wakes: Vec<String>,
    /// The touched records.
    pub images: Vec<Image>,
}

/// A touched record in an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its table.
    pub table: Table,
    /// Its key.
    pub key: String,
    /// Its encoded form afterwards; empty when it was deleted.
    #[serde(with = "serde_bytes")]
    pub record: Vec<u8>,
}
