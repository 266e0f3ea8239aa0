//! The tables of the store and the index entries derived from their records.
//!
//! Storage is the same everywhere: *records* by table and key, one ordered set of *index entries*, one small
//! [`State`](crate::record::State), and a log of events. An entry is a byte string of parts joined by NUL; its order is
//! the order of the index. Which entries a record has is a pure function of the record ([`Record::entries`]), so
//! indexes cannot drift: a step writes records, the entries follow. (The layout idea is that of FoundationDB's layers.)

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::record::{Counts, Shape};

/// The tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Agents, by short id.
    Agent,
    /// Sessions, by id.
    Session,
    /// Signs of life, by session. Not part of events.
    Pulse,
    /// Lock grants, by token.
    Lock,
    /// Requests queueing for locks, by ticket.
    LockTicket,
    /// Freed paths whose waiters are still to be looked at, by number.
    Handover,
    /// Tasks, by short id.
    Task,
    /// Requests waiting for tasks, by ticket.
    TaskTicket,
    /// Attempts that came to nothing, by task and number.
    Setback,
    /// What tasks depend on, by dependency and dependent.
    Dependency,
    /// Dependencies that are still to be linked, by dependent and number.
    Link,
    /// Tasks whose dependents are still to be told how they stand, by task.
    Announcement,
    /// Threads, by short id.
    Thread,
    /// Messages, by thread and number.
    Message,
    /// Approvals, by short id.
    Approval,
    /// Audit entries, by sequence number.
    Audit,
    /// Seals of audit entries, by run.
    Seal,
    /// User-level idempotency keys, by noun and key.
    Key,
    /// Clients with replay slots, by client.
    Client,
    /// Replay slots, by client and slot.
    Ring,
    /// Read marks of inboxes, by `agent:<name>` or `human:<name>`.
    Inbox,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 21] = [
        Self::Agent,
        Self::Session,
        Self::Pulse,
        Self::Lock,
        Self::LockTicket,
        Self::Handover,
        Self::Task,
        Self::TaskTicket,
        Self::Setback,
        Self::Dependency,
        Self::Link,
        Self::Announcement,
        Self::Thread,
        Self::Message,
        Self::Approval,
        Self::Audit,
        Self::Seal,
        Self::Key,
        Self::Client,
        Self::Ring,
        Self::Inbox,
    ];

    /// The table's name, the same in every engine.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Session => "session",
            Self::Pulse => "pulse",
            Self::Lock => "lock",
            Self::LockTicket => "lock_ticket",
            Self::Handover => "handover",
            Self::Task => "task",
            Self::TaskTicket => "task_ticket",
            Self::Setback => "setback",
            Self::Dependency => "dependency",
            Self::Link => "link",
            Self::Announcement => "announcement",
            Self::Thread => "thread",
            Self::Message => "message",
            Self::Approval => "approval",
            Self::Audit => "audit",
            Self::Seal => "seal",
            Self::Key => "key",
            Self::Client => "client",
            Self::Ring => "ring",
            Self::Inbox => "inbox",
        }
    }

    /// The table of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }

    /// Tables whose records are looked at in almost every step: they are encoded without field names, and an engine may
    /// keep them together.
    #[must_use]
    pub fn is_hot(self) -> bool {
        matches!(self, Self::Pulse | Self::Client | Self::Ring)
    }
}

/// A persisted record: where it lives and what is derived from it.
pub trait Record: Shape + DeserializeOwned + Clone + PartialEq + fmt::Debug {
    /// The table.
    const TABLE: Table;

    /// The index entries of this record.
    fn entries(&self, key: &str, out: &mut Vec<Entry>);

    /// What this record adds to the counters, times `sign`.
    fn count(&self, _counts: &mut Counts, _sign: i64) {}
}

/// An index entry, or a bound of a range of them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry(pub Vec<u8>);

impl Entry {
    /// An entry of some parts.
    #[must_use]
    pub fn of(parts: &[&str]) -> Self {
        Self(parts.join("\0").into_bytes())
    }

    /// The parts of an entry.
    #[must_use]
    pub fn parts(&self) -> Vec<&str> {
        std::str::from_utf8(&self.0).map(|s| s.split('\0').collect()).unwrap_or_default()
    }

    /// The last part: by convention the key of the record.
    #[must_use]
    pub fn key(&self) -> &str {
        self.parts().last().copied().unwrap_or_default()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// A half-open range of entries: `from` included, `to` excluded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// First entry.
    pub from: Vec<u8>,
    /// First entry beyond.
    pub to: Vec<u8>,
}

impl Range {
    /// All entries that begin with these parts and have at least one part more.
    #[must_use]
    pub fn under(parts: &[&str]) -> Self {
        let from = format!("{}\0", parts.join("\0")).into_bytes();
        let mut to = from.clone();
        if let Some(last) = to.last_mut() {
            *last = 1;
        }
        Self { from, to }
    }

    /// The rest of this range after an entry.
    #[must_use]
    pub fn after(mut self, entry: &Entry) -> Self {
        self.from = entry.0.clone();
        self.from.push(0);
        self
    }
}

/// A number as a part: decimal, padded so that byte order is number order.
#[must_use]
pub fn pad(number: u64) -> String {
    format!("{number:016}")
}

/// Sorted words in one index part. Words have no control characters: the separator is safe, and a list comes before those
/// that begin with it.
#[must_use]
pub fn words(list: &[String]) -> String {
    list.join("\x1f")
}

/// The words of [`words`].
#[must_use]
pub fn unwords(part: &str) -> Vec<&str> {
    if part.is_empty() { Vec::new() } else { part.split('\x1f').collect() }
}

/// The index names and how their entries are built.
pub mod index {
    use super::{Entry, Range, Table, pad};
    use crate::task::DependencyState;

    /// Deadlines in lease time.
    pub fn due(at: u64, table: Table, key: &str) -> Entry {
        Entry::of(&["due", &pad(at), table.name(), key])
    }
    /// Deadlines in wall time.
    pub fn calendar(at: u64, table: Table, key: &str) -> Entry {
        Entry::of(&["cal", &pad(at), table.name(), key])
    }
    /// Work that a step has left over, oldest first. It comes after everything that is due, and the counters tell whether
    /// there is any.
    pub fn work(since: u64, table: Table, key: &str) -> Entry {
        Entry::of(&["work", &pad(since), table.name(), key])
    }
    /// What a session holds or waits for.
    pub fn owned(session: &str, table: Table, key: &str) -> Entry {
        Entry::of(&["own", session, table.name(), key])
    }
    /// Range of [`owned`].
    pub fn owned_by(session: &str) -> Range {
        Range::under(&["own", session])
    }
    /// Range of [`owned`] within one table.
    pub fn owned_in(session: &str, table: Table) -> Range {
        Range::under(&["own", session, table.name()])
    }
    /// Holders (by token) and waiters (by queue number) of a path, in this order; the kinds are those of
    /// [`LockMode`](crate::lock::LockMode).
    pub fn path(path: &str, kind: &str, number: u64, key: &str) -> Entry {
        Entry::of(&["path", path, kind, &pad(number), key])
    }
    /// What a lane of a session holds, by path.
    pub fn lane(session: &str, lane: &str, path: &str, kind: &str, token: u64, key: &str) -> Entry {
        Entry::of(&["lane", session, lane, path, kind, &pad(token), key])
    }
    /// What a lane of a session waits for.
    pub fn waits(session: &str, lane: &str, key: &str) -> Entry {
        Entry::of(&["waits", session, lane, key])
    }
    /// Range of [`waits`].
    pub fn waits_of(session: &str, lane: &str) -> Range {
        Range::under(&["waits", session, lane])
    }
    /// Range of [`path`].
    pub fn at_path(path: &str) -> Range {
        Range::under(&["path", path])
    }
    /// Pending tasks with a tag (all of them: with the empty tag), by what they require, in claim order.
    pub fn ready(tag: &str, required: &str, order: &str, key: &str) -> Entry {
        Entry::of(&["ready", tag, required, order, key])
    }
    /// Claims that wait for a task with a tag (the empty tag: for any), by what the agent can do, oldest first. All of them
    /// stand under no capabilities, too.
    pub fn wanted(tag: &str, capabilities: &str, seq: u64, key: &str) -> Entry {
        Entry::of(&["want", tag, capabilities, &pad(seq), key])
    }
    /// Tasks of one state other than pending, in claim order.
    pub fn status(status: &str, order: &str, key: &str) -> Entry {
        Entry::of(&["status", status, order, key])
    }
    /// Dependencies on a task, by how they stand.
    pub fn dependent(dependency: &str, state: DependencyState, key: &str) -> Entry {
        Entry::of(&["dep", dependency, state.word(), key])
    }
    /// Range of [`dependent`].
    pub fn dependents(dependency: &str, state: DependencyState) -> Range {
        Range::under(&["dep", dependency, state.word()])
    }
    /// What a task depends on.
    pub fn need(dependent: &str, key: &str) -> Entry {
        Entry::of(&["needs", dependent, key])
    }
    /// Range of [`need`].
    pub fn needs(dependent: &str) -> Range {
        Range::under(&["needs", dependent])
    }
    /// Live sessions, by agent.
    pub fn live(agent: &str, session: &str) -> Entry {
        Entry::of(&["live", agent, session])
    }
    /// Live sessions by an address that reaches them: `agent:<name>`, `role:<role>`.
    pub fn here(address: &str, session: &str) -> Entry {
        Entry::of(&["here", address, session])
    }
    /// Agents by the name they go by.
    pub fn name(name: &str, key: &str) -> Entry {
        Entry::of(&["name", name, key])
    }
    /// Agents by configured name and host-session key.
    pub fn who(name: &str, host_key: &str, key: &str) -> Entry {
        Entry::of(&["who", name, host_key, key])
    }
    /// Threads of one state: urgent first, newest first.
    pub fn thread(status: &str, urgency: u64, newest: u64, key: &str) -> Entry {
        Entry::of(&["thread", status, &pad(urgency), &pad(newest), key])
    }
    /// Final records of one table, by when they became final.
    pub fn last(table: Table, at: u64, key: &str) -> Entry {
        Entry::of(&["final", table.name(), &pad(at), key])
    }
    /// Range of [`last`].
    pub fn finals(table: Table) -> Range {
        Range::under(&["final", table.name()])
    }
    /// Threads with a tag, in the order of [`thread`].
    pub fn tagged(tag: &str, status: &str, urgency: u64, newest: u64, key: &str) -> Entry {
        Entry::of(&["tagged", tag, status, &pad(urgency), &pad(newest), key])
    }
    /// Messages for an address, oldest first, each with its author.
    pub fn inbox(address: &str, seq: u64, author: &str, key: &str) -> Entry {
        Entry::of(&["inbox", address, &pad(seq), author, key])
    }
    /// Range of [`inbox`]: after message `after`, up to message `last`.
    pub fn inbox_between(address: &str, after: u64, last: u64) -> Range {
        let bound = |seq: u64| Entry::of(&["inbox", address, &pad(seq)]).0;
        Range { from: bound(after + 1), to: bound(last + 1) }
    }
    /// Approvals of one state, oldest first.
    pub fn approval(status: &str, seq: u64, key: &str) -> Entry {
        Entry::of(&["approval", status, &pad(seq), key])
    }
    /// Pending approvals that a session asked for.
    pub fn asks(session: &str, key: &str) -> Entry {
        Entry::of(&["asks", session, key])
    }
    /// Records that people find by a short prefix of their id.
    pub fn id(table: Table, key: &str) -> Entry {
        Entry::of(&["id", table.name(), key])
    }
    /// Range of [`id`] for a typed prefix (may be empty).
    pub fn ids(table: Table, prefix: &str) -> Range {
        let from = Entry::of(&["id", table.name(), prefix]).0;
        let mut to = from.clone();
        to.push(b'g'); // Beyond every hex digit.
        Range { from, to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_under_holds_children_only() {
        let range = Range::under(&["path", "src"]);
        let inside = index::path("src", "h", 3, "x");
        let sibling = index::path("src2", "h", 3, "x");
        assert!(range.from <= inside.0 && inside.0 < range.to);
        assert!(!(range.from <= sibling.0 && sibling.0 < range.to));
    }

    #[test]
    fn table_names_round_trip() {
        for table in Table::ALL {
            assert_eq!(Table::parse(table.name()), Some(table));
        }
    }
}
