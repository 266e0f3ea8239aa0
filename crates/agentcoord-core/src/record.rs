//! The persisted schema: records, the state and events, as MessagePack arrays of their fields in order. What is inside of a
//! field, like the votes of an approval, has named fields.
//!
//! Changing it: fields are only added, at the end, optional, with the meaning of their absence documented. Old writers meet new
//! data during an upgrade: a field that an old script drops when it rewrites a record must be harmless to lose, else
//! raise [`SCHEMA`], which keeps old clients out. Both dialects write these forms, so a change here is a change in
//! `lua/` too; the differential test compares them.

use serde::{Deserialize, Serialize};

use crate::agent::{ProcessIdentity, SessionKind};
use crate::approval::{ApprovalStatus, Vote};
use crate::error::Result;
use crate::ids::{Csn, Id, RequestNo};
use crate::op::{Actor, encode_compact};
use crate::table::{Entry, Record, Table, index};
use crate::task::TaskStatus;
use crate::time::{LeaseClock, LeaseMs, WallMs};

/// Version of the schema; kept in the namespace's meta record and in the file engine's header.
pub const SCHEMA: u32 = 1;

/// Gives the records of all tables to a macro.
macro_rules! with_all_records {
    ($then:ident) => {
        $then!(
            $crate::record::AgentRecord,
            $crate::record::SessionRecord,
            $crate::record::PulseRecord,
            $crate::record::LockRecord,
            $crate::record::LockTicketRecord,
            $crate::record::HandoverRecord,
            $crate::record::TaskRecord,
            $crate::record::TaskTicketRecord,
            $crate::record::SetbackRecord,
            $crate::record::DependencyRecord,
            $crate::record::LinkRecord,
            $crate::record::AnnouncementRecord,
            $crate::record::ThreadRecord,
            $crate::record::MessageRecord,
            $crate::record::ApprovalRecord,
            $crate::record::AuditRecord,
            $crate::record::SealRecord,
            $crate::record::KeyRecord,
            $crate::record::ClientRecord,
            $crate::record::RingRecord,
            $crate::record::InboxRecord,
        )
    };
}
pub(crate) use with_all_records;

/// Declares a record: fields, then after `;` the fields that may be absent, then after another `;` those that seldom are there.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident {
        $($field:ident: $ty:ty),+; $($opt:ident: $oty:ty),* $(; $($rare:ident: $rty:ty),+)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the fields are those of the domain type of the same name")]
        pub struct $name {
            $(pub $field: $ty,)+
            $(pub $opt: Option<$oty>,)*
            $($(pub $rare: Option<$rty>,)+)?
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                struct InOrder;

                impl<'de> serde::de::Visitor<'de> for InOrder {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("the fields of a record in their order")
                    }

                    fn visit_seq<A: serde::de::SeqAccess<'de>>(
                        self,
                        mut fields: A,
                    ) -> std::result::Result<$name, A::Error> {
                        let record = $name {
                            $($field: crate::record::shape::required(&mut fields, stringify!($field))?,)+
                            $($opt: fields.next_element()?.flatten(),)*
                            $($($rare: fields.next_element()?.flatten(),)+)?
                        };
                        // Another version may have stored more.
                        while fields.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                        Ok(record)
                    }
                }

                deserializer.deserialize_seq(InOrder)
            }
        }

        impl crate::record::Shape for $name {
            const FIELDS: &'static [&'static str] =
                &[$(stringify!($field),)+ $(stringify!($opt),)* $($(stringify!($rare),)+)?];
            const USUAL: usize = [$(stringify!($field),)+ $(stringify!($opt),)*].len();

            fn stored(&self) -> crate::Result<Vec<u8>> {
                let is_usual = true $($(&& self.$rare.is_none())+)?;
                let mut fields = crate::record::Fields::new(if is_usual { Self::USUAL } else { Self::FIELDS.len() });
                $(fields.push(&self.$field)?;)+
                $(fields.push(&self.$opt)?;)*
                if !is_usual {
                    $($(fields.push(&self.$rare)?;)+)?
                }
                Ok(fields.0)
            }
        }
    };
}

mod board;
mod dependency;
mod lock;
mod shape;
mod task;
pub use board::{InboxRecord, MessageRecord, ThreadRecord};
pub use dependency::{AnnouncementRecord, DependencyRecord, LinkRecord};
pub use lock::{HandoverRecord, LockRecord, LockTicketRecord};
use shape::Fields;
pub use shape::Shape;
pub(crate) use shape::head;
pub use task::{SetbackRecord, TaskRecord, TaskTicketRecord};

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
    /// has holdings to be passed on. `capabilities` are sorted; absent: none. `client` is told when it ends; those of shell
    /// agents have none.
    SessionRecord {
        agent: String, name: String, kind: SessionKind, host: String, ttl: u64, due: LeaseMs, started_at: WallMs;
        parent: Id, process: ProcessIdentity, status: String, working_on: String, busy_until: LeaseMs,
        ended_at: WallMs, reason: String, settling: bool, capabilities: Vec<String>, role: String, client: Id
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
            out.push(index::here(&format!("agent:{}", self.name), key));
            if let Some(role) = &self.role {
                out.push(index::here(&format!("role:{role}"), key));
            }
            out.push(index::due(self.due, Table::Session, key));
        } else if self.settling == Some(true) {
            out.push(index::due(0, Table::Session, key));
        } else if let Some(at) = self.ended_at {
            out.push(index::last(Table::Session, at, key));
        }
    }

    fn count(&self, counts: &mut Counts, sign: i64) {
        *(if self.ended_at.is_none() { &mut counts.sessions } else { &mut counts.ended }) += sign;
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

record! {
    /// An approval.
    ApprovalRecord {
        id: Id, seq: u64, action_type: String, description: String, digest: String, status: ApprovalStatus,
        requested_by: String, requested_at: WallMs, expires_at: WallMs, quorum: u32, rejections: u32,
        eligible: Vec<String>, votes: Vec<Vote>;
        session: Id, key: String, has_payload: bool, has_diff: bool, signed: bool, decided_at: WallMs,
        consumed_at: WallMs
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
        } else if let Some(at) = self.decided_at {
            out.push(index::last(Table::Approval, at, key));
        }
    }

    fn count(&self, counts: &mut Counts, sign: i64) {
        let is_pending = self.status == ApprovalStatus::Pending;
        *(if is_pending { &mut counts.approvals } else { &mut counts.decided }) += sign;
    }
}

record! {
    /// An audit entry: the bytes as the client encoded them, and when the engine took them in.
    AuditRecord { entry: String, at: WallMs; }
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

impl KeyRecord {
    /// Where the idempotency key of a task is kept.
    pub(crate) fn of_task(key: &str) -> String {
        format!("task/{key}")
    }
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

impl Shape for RingRecord {
    const FIELDS: &'static [&'static str] = &["request", "digest", "answer"];
    const USUAL: usize = Self::FIELDS.len();

    /// The answer as a string, which is how scripts write it: Redis' Lua reads no byte strings of MessagePack.
    fn stored(&self) -> Result<Vec<u8>> {
        let mut bytes = encode_compact(self)?;
        let head = match self.answer.len() {
            0..=0xff => 2,
            0x100..=0xffff => 3,
            _ => 5,
        };
        let at = bytes.len() - self.answer.len() - head;
        bytes[at] = match bytes[at] {
            0xc4 => 0xd9,
            0xc5 => 0xda,
            _ => 0xdb,
        };
        Ok(bytes)
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
    /// Claims to which a task may be handed.
    pub task_waiters: i64,
    /// Dependencies that are not done; while there are none, nobody looks for the dependents of a task.
    #[serde(default)]
    pub dependencies: i64,
    /// Records of work that steps have left over.
    #[serde(default)]
    pub work: i64,
    pub threads: i64,
    pub approvals: i64,
    /// Pending tasks that require something; while there are none, a claim looks at one queue a tag.
    #[serde(default)]
    pub demanding: i64,
    /// Threads that are resolved.
    #[serde(default)]
    pub resolved: i64,
    /// Approvals that are decided.
    #[serde(default)]
    pub decided: i64,
    /// Sessions that have ended.
    #[serde(default)]
    pub ended: i64,
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

    /// Final records of a table.
    #[must_use]
    pub fn finals(&self, table: Table) -> u64 {
        let count = match table {
            Table::Task => self.completed + self.failed + self.cancelled + self.dead,
            Table::Thread => self.resolved,
            Table::Approval => self.decided,
            Table::Session => self.ended,
            _ => 0,
        };
        u64::try_from(count).unwrap_or(0)
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
    /// The topics whose waiters this event concerns; see [`Channel`](crate::engine::Channel).
    pub wakes: Vec<String>,
    /// The touched records.
    pub images: Vec<Image>,
    /// Names of the texts that were stored. The texts themselves are not copied into the log.
    #[serde(default)]
    pub texts: Vec<String>,
    /// Names of the texts that were deleted.
    #[serde(default)]
    pub gone: Vec<String>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_of_another_version_may_have_more_fields_or_fewer_optional_ones() {
        let setback =
            |name| SetbackRecord { at: 7, attempt: 2, reason: "no luck".into(), crashed: None, agent: None, name };
        let read = |fields: &[u8], length| {
            let bytes = [&shape::head(length), fields].concat();
            crate::op::decode::<SetbackRecord>(&bytes, "setback")
        };
        let stored = setback(Some("ada".into())).stored().expect("encodes");
        let fields = &stored[1..];
        assert_eq!(read(&[fields, b"\x81\xa3new\x01"].concat(), 7).expect("one more"), setback(Some("ada".into())));
        let shorter = &fields[..fields.len() - b"\xa3ada".len()];
        assert_eq!(read(shorter, 5).expect("one less"), setback(None));
        assert!(read(&fields[..2], 2).is_err(), "the reason is required");
    }

    #[test]
    fn answer_in_a_replay_slot_is_stored_as_a_string() {
        for (length, head) in [(0, 0xd9), (3, 0xd9), (255, 0xd9), (256, 0xda), (65_535, 0xda), (65_536, 0xdb)] {
            let slot = RingRecord { request: RequestNo(9), digest: "d".repeat(16), answer: vec![0xff; length] };
            let stored = slot.stored().expect("encodes");
            assert_eq!(stored[1 + 1 + 17], head, "{length}");
            assert_eq!(crate::op::decode::<RingRecord>(&stored, "slot").expect("decodes"), slot);
        }
    }
}
