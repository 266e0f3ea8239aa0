//! Records of tasks.

use serde::Deserialize;

use super::Counts;
use crate::ids::{Id, Ticket, Token};
use crate::table::{Entry, Record, Table, index, pad, words};
use crate::task::{Backoff, TaskStatus};
use crate::time::{LeaseMs, WallMs};

record! {
    /// A task. The fields from `session` on are set while it is claimed. While `offer` is set the claim is not confirmed.
    /// `waits_for` counts the dependencies that are not done, `lost` those of them that are lost, `setbacks` the records of
    /// attempts that came to nothing. A failed attempt is followed by the next at `retry_at`.
    /// While `search` is set, waiting claims from that index position on are still to be looked at for it.
    TaskRecord {
        id: Id, title: String, status: TaskStatus, priority: u8, seq: u64, tags: Vec<String>, requires: Vec<String>,
        attempt: u32, max_attempts: u32, crashes: u32, created_by: String, created_at: WallMs;
        lease: u64, session: Id, agent: String, name: String, token: Token, ticket: Ticket, claimed_at: WallMs,
        deadline: LeaseMs, completed_at: WallMs;
        offer: LeaseMs, search: String, key: String, has_description: bool, has_payload: bool, has_result: bool,
        has_dependencies: bool, error: String, note: String, percent: u8, backoff: Backoff, not_before: WallMs,
        retry_at: LeaseMs, setbacks: u32, waits_for: u32, lost: u32
    }
}

impl TaskRecord {
    /// Place in a queue: priority 5 first, then first in first out.
    #[must_use]
    pub fn order(&self) -> String {
        format!("{}{}", 5u8.saturating_sub(self.priority), pad(self.seq))
    }
}

/// The queues or lines of some tags; the empty tag stands for all tasks, or any.
fn any_of(tags: &[String]) -> impl Iterator<Item = &str> {
    std::iter::once("").filter(|_| tags.is_empty()).chain(tags.iter().map(String::as_str))
}

impl Record for TaskRecord {
    const TABLE: Table = Table::Task;

    fn entries(&self, key: &str, out: &mut Vec<Entry>) {
        let order = self.order();
        if self.status == TaskStatus::Pending {
            let required = words(&self.requires);
            for tag in std::iter::once("").chain(self.tags.iter().map(String::as_str)) {
                out.push(index::ready(tag, &required, &order, key));
            }
        } else {
            out.push(index::status(self.status.word(), &order, key));
        }
        if let Some(at) = self.completed_at.filter(|_| self.status.is_final()) {
            out.push(index::last(Table::Task, at, key));
        }
        if let Some(session) = &self.session {
            out.push(index::owned(session.as_str(), Table::Task, key));
        }
        if let Some(at) = self.search.as_ref().map(|_| 0).or(self.offer).or(self.deadline) {
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
        if self.status == TaskStatus::Pending && !self.requires.is_empty() {
            counts.demanding += sign;
        }
    }
}

record! {
    /// A request that waits for a task. `capabilities` are the agent's when it asked, sorted. With `offered` it has been
    /// given that task and must confirm; with `away` it has missed one. Either way it stands in no line.
    TaskTicketRecord {
        seq: u64, session: Id, agent: String, name: String, tags: Vec<String>, capabilities: Vec<String>, since: WallMs;
        lease: u64, deadline: LeaseMs, offered: String, away: bool, fallback: u64
    }
}

impl TaskTicketRecord {
    /// Whether a task that becomes ready may be handed to it.
    #[must_use]
    pub fn is_in_line(&self) -> bool {
        self.offered.is_none() && self.away != Some(true)
    }
}

impl Record for TaskTicketRecord {
    const TABLE: Table = Table::TaskTicket;

    fn entries(&self, key: &str, out: &mut Vec<Entry>) {
        out.push(index::owned(self.session.as_str(), Table::TaskTicket, key));
        if self.is_in_line() {
            let capabilities = words(&self.capabilities);
            for tag in any_of(&self.tags) {
                out.push(index::wanted(tag, "", self.seq, key));
                if !capabilities.is_empty() {
                    out.push(index::wanted(tag, &capabilities, self.seq, key));
                }
            }
        }
        if let Some(at) = self.deadline.filter(|_| self.offered.is_none()) {
            out.push(index::due(at, Table::TaskTicket, key));
        }
    }

    fn count(&self, counts: &mut Counts, sign: i64) {
        if self.is_in_line() {
            counts.task_waiters += sign;
        }
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
