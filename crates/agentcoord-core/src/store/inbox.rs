//! Inboxes on any engine: ranges of the index, one for each address that reaches the reader.

use std::collections::{BTreeMap, BTreeSet};

use super::Store;
use super::board::thread;
use crate::board::{Inbox, Mail, Thread};
use crate::error::{Error, Result};
use crate::record::{AgentRecord, InboxRecord, ThreadRecord};
use crate::table::{Range, index};

/// What an index entry says about a message: its place, and its thread and number.
type Waiting = BTreeMap<u64, (String, u64)>;

impl Store {
    pub(super) async fn inbox_of(&self, reader: &str, after: Option<u64>, limit: usize) -> Result<Inbox> {
        let inbox = self.waiting(reader, after, limit).await?;
        let keys: Vec<(String, u64)> = inbox.messages.values().cloned().collect();
        let threads: BTreeSet<String> = keys.iter().map(|(thread, _)| thread.clone()).collect();
        let threads: Vec<String> = threads.into_iter().collect();
        let records = self.get_all::<ThreadRecord>(&threads).await?;
        let known = threads.into_iter().zip(records);
        let threads: BTreeMap<String, Thread> =
            known.filter_map(|(key, record)| Some((key.clone(), thread(key, record?)))).collect();
        let messages = self.messages_by_key(&keys).await?;
        let mail = |(key, message)| Some(Mail { thread: threads.get(&key)?.clone(), message });
        Ok(Inbox { items: messages.into_iter().filter_map(mail).collect(), up_to: inbox.up_to, more: inbox.more })
    }

    pub(super) async fn unread_of(&self, reader: &str, most: usize) -> Result<usize> {
        Ok(self.waiting(reader, None, most).await?.messages.len())
    }

    /// The first `limit` messages for a reader after a place, else after its read mark.
    async fn waiting(&self, reader: &str, after: Option<u64>, limit: usize) -> Result<Page> {
        // What is posted from here on may be seen at one address and not at another: it is left for the next page.
        let (state, _) = self.engine.state().await?;
        let addresses = self.addresses_of(reader).await?;
        let mut after = match after {
            Some(after) => after,
            None => self.get::<InboxRecord>(reader).await?.map_or(0, |inbox| inbox.read),
        };
        loop {
            let page = self.merged(reader, &addresses, after, state.seq, limit).await?;
            // A page of nothing but the reader's own words.
            if page.messages.is_empty() && page.more {
                after = page.up_to;
                continue;
            }
            return Ok(page);
        }
    }

    /// One page over the ranges of all addresses.
    async fn merged(&self, reader: &str, addresses: &[String], after: u64, last: u64, limit: usize) -> Result<Page> {
        let (mut others, mut all) = (Waiting::new(), BTreeSet::new());
        for address in addresses {
            let entries = self.engine.scan(&index::inbox_between(address, after, last), limit + 1).await?;
            for entry in &entries {
                let [_, _, seq, author, key] = entry.parts()[..] else { continue };
                let damaged = || Error::Corrupt { key: format!("index entry {entry:?}"), source: None };
                let seq: u64 = seq.parse().map_err(|_| damaged())?;
                let (thread, number) = key.split_once('/').ok_or_else(damaged)?;
                all.insert(seq);
                if author != reader {
                    others.insert(seq, (thread.to_owned(), number.parse().map_err(|_| damaged())?));
                }
            }
        }
        // Behind the first `limit` places a range may have been cut off.
        let more = all.len() > limit;
        let up_to = if more { all.iter().nth(limit.saturating_sub(1)) } else { all.last() }.copied().unwrap_or(after);
        others.retain(|seq, _| *seq <= up_to);
        Ok(Page { messages: others, up_to, more })
    }

    /// The addresses that reach a reader (`agent:ada`, `human:eve`): its own and, for an agent, that of its role.
    ///
    /// # Errors
    /// `Unavailable`; `Corrupt` when a record cannot be decoded.
    pub async fn addresses_of(&self, reader: &str) -> Result<Vec<String>> {
        let mut addresses = vec![reader.to_owned()];
        if let Some(name) = reader.strip_prefix("agent:") {
            let found = self.engine.scan(&Range::under(&["name", name]), 1).await?;
            if let Some(entry) = found.first()
                && let Some(agent) = self.get::<AgentRecord>(entry.key()).await?
            {
                addresses.push(format!("role:{}", agent.role));
            }
        }
        Ok(addresses)
    }
}

/// A page of an inbox, before the messages are read.
struct Page {
    messages: Waiting,
    up_to: u64,
    more: bool,
}
