//! Records of locks.

use serde::Deserialize;

use super::Counts;
use crate::ids::{Id, Ticket, Token};
use crate::lock::{LockMode, LockPath, Look, ONLOOKING};
use crate::table::{Entry, Record, Table, index};
use crate::time::{LeaseMs, WallMs};

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
            out.push(index::waits(self.session.as_str(), &self.lane, key));
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
