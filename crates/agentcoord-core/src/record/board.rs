//! Records of the board.

use serde::Deserialize;

use super::Counts;
use crate::board::{ThreadPriority, ThreadStatus};
use crate::ids::Id;
use crate::table::{Entry, Record, Table, index};
use crate::time::WallMs;

record! {
    /// A thread; its messages are numbered from 1 to `count`. `audience`: the addresses of those who take part.
    ThreadRecord {
        id: Id, seq: u64, title: String, status: ThreadStatus, priority: ThreadPriority, tags: Vec<String>,
        posted_by: String, posted_at: WallMs, count: u64;
        link: String, resolved_at: WallMs, audience: Vec<String>
    }
}

impl Record for ThreadRecord {
    const TABLE: Table = Table::Thread;

    fn entries(&self, key: &str, out: &mut Vec<Entry>) {
        out.push(index::id(Table::Thread, key));
        let (status, urgency, newest) = (self.status.word(), self.priority as u64, (1 << 50) - self.seq);
        out.push(index::thread(status, urgency, newest, key));
        if let Some(at) = self.resolved_at.filter(|_| self.status == ThreadStatus::Resolved) {
            out.push(index::last(Table::Thread, at, key));
        }
        for (at, tag) in self.tags.iter().enumerate() {
            if !self.tags[..at].contains(tag) {
                out.push(index::tagged(tag, status, urgency, newest, key));
            }
        }
    }

    fn count(&self, counts: &mut Counts, sign: i64) {
        let is_final = self.status == ThreadStatus::Resolved;
        *(if is_final { &mut counts.resolved } else { &mut counts.threads }) += sign;
    }
}

record! {
    /// A message; its text is the blob `message/<id>/text`. `seq` is its place on the whole board, `to` the addresses in
    /// whose inboxes it is.
    MessageRecord { id: Id, author: String, posted_at: WallMs; seq: u64, to: Vec<String> }
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

    fn entries(&self, key: &str, out: &mut Vec<Entry>) {
        for address in self.to.iter().flatten() {
            out.push(index::inbox(address, self.seq.unwrap_or(0), &self.author, key));
        }
    }
}

record! {
    /// How far somebody has read the inbox: the place of the last message that was delivered.
    InboxRecord { read: u64; }
}

impl Record for InboxRecord {
    const TABLE: Table = Table::Inbox;

    fn entries(&self, _key: &str, _out: &mut Vec<Entry>) {}
}
