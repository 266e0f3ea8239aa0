//! The board on any engine.

use async_trait::async_trait;

use super::{FETCH_PAGE, Store, cursor, entry_of};
use crate::board::{
    Board, Hit, Inbox, InboxRead, Message, OpenThread, PostMessage, Posted, ReadInbox, Search, Thread, ThreadFilter,
    ThreadStatus, UpdateThread,
};
use crate::error::{Error, Noun, Result};
use crate::ids::IdPrefix;
use crate::limits;
use crate::op::{Blob, Op};
use crate::record::{MessageRecord, ThreadRecord};
use crate::table::Range;
use crate::task::Page;

pub(super) fn thread(key: String, record: ThreadRecord) -> Thread {
    Thread {
        id: record.id,
        key,
        title: record.title,
        status: record.status,
        priority: record.priority,
        tags: record.tags,
        link: record.link,
        posted_by: record.posted_by,
        posted_at: record.posted_at,
        resolved_at: record.resolved_at,
        count: record.count,
    }
}

impl ThreadFilter {
    /// The range that holds all threads of one state that fit, in their order.
    fn range(&self, status: ThreadStatus) -> Range {
        match &self.tag {
            Some(tag) => Range::under(&["tagged", tag, status.word()]),
            None => Range::under(&["thread", status.word()]),
        }
    }

    /// Whether threads of that range must be looked at one by one.
    fn is_picky(&self) -> bool {
        self.link.is_some() || self.posted_by.is_some()
    }

    fn fits(&self, thread: &Thread) -> bool {
        let is = |wanted: &Option<String>, actual: Option<&String>| wanted.is_none() || wanted.as_ref() == actual;
        is(&self.link, thread.link.as_ref()) && is(&self.posted_by, Some(&thread.posted_by))
    }
}

impl Store {
    /// Messages by key, in the order asked; those that are gone are left out.
    pub(super) async fn messages_by_key(&self, keys: &[(String, u64)]) -> Result<Vec<(String, Message)>> {
        let names: Vec<String> = keys.iter().map(|(thread, number)| MessageRecord::key(thread, *number)).collect();
        let records = self.get_all::<MessageRecord>(&names).await?;
        let known: Vec<_> = keys.iter().zip(records).filter_map(|(key, record)| Some((key, record?))).collect();
        let mut messages = Vec::with_capacity(known.len());
        for page in known.chunks(FETCH_PAGE) {
            let names: Vec<String> = page.iter().map(|(_, r)| Blob::name("message", &r.id, "text")).collect();
            for (((thread, number), record), bytes) in page.iter().zip(self.engine.blobs(&names).await?) {
                let content = String::from_utf8(bytes.unwrap_or_default());
                let message = Message {
                    id: record.id.clone(),
                    number: *number,
                    seq: record.seq.unwrap_or(0),
                    author: record.author.clone(),
                    to: record.to.clone().unwrap_or_default(),
                    content: content.map_err(|e| Error::corrupt(format!("message {}", record.id), e))?,
                    posted_at: record.posted_at,
                };
                messages.push((thread.clone(), message));
            }
        }
        Ok(messages)
    }
}

#[async_trait]
impl Board for Store {
    async fn open(&self, op: Op<OpenThread>) -> Result<Posted> {
        self.run(&op).await
    }

    async fn post(&self, op: Op<PostMessage>) -> Result<Posted> {
        self.run(&op).await
    }

    async fn update(&self, op: Op<UpdateThread>) -> Result<Posted> {
        self.run(&op).await
    }

    async fn read(&self, op: Op<ReadInbox>) -> Result<InboxRead> {
        self.run(&op).await
    }

    async fn list(&self, filter: &ThreadFilter) -> Result<Page<Thread>> {
        let resume = filter.cursor.as_deref().map(entry_of).transpose()?;
        let default = [ThreadStatus::Active, ThreadStatus::Waiting];
        let mut statuses = if filter.statuses.is_empty() { &default[..] } else { &filter.statuses[..] };
        let inside = |range: &Range, entry: &crate::table::Entry| range.from <= entry.0 && entry.0 < range.to;
        if let Some(entry) = &resume {
            let at = statuses.iter().position(|s| inside(&filter.range(*s), entry));
            let at = at.ok_or_else(|| Error::invalid("cursor", "it", "one of a listing with the same filter"))?;
            statuses = &statuses[at..];
        }
        let (mut items, mut looked) = (Vec::new(), 0);
        for status in statuses {
            let mut range = filter.range(*status);
            if let Some(entry) = resume.as_ref().filter(|e| inside(&range, e)) {
                range = range.after(entry);
            }
            loop {
                let want = if filter.is_picky() { FETCH_PAGE } else { (filter.limit - items.len()).min(FETCH_PAGE) };
                let entries = self.engine.scan(&range, want).await?;
                let keys: Vec<String> = entries.iter().map(|e| e.key().to_owned()).collect();
                let records = self.get_all::<ThreadRecord>(&keys).await?;
                for ((entry, key), record) in entries.iter().zip(keys).zip(records) {
                    items.extend(record.map(|r| thread(key, r)).filter(|t| filter.fits(t)));
                    looked += 1;
                    if items.len() >= filter.limit || looked >= limits::THREADS_PER_LOOK {
                        return Ok(Page { items, cursor: Some(cursor(entry)) });
                    }
                }
                match entries.last() {
                    Some(last) if entries.len() == want => range = range.after(last),
                    _ => break,
                }
            }
        }
        Ok(Page { items, cursor: None })
    }

    async fn find(&self, id: &IdPrefix) -> Result<Thread> {
        let (key, record) = Self::resolve::<ThreadRecord>(self, Noun::Thread, id, |t| &t.id).await?;
        Ok(thread(key, record))
    }

    async fn messages(&self, thread: &Thread, after: u64, limit: usize) -> Result<Vec<Message>> {
        let last = thread.count.min(after.saturating_add(limit as u64));
        let keys: Vec<(String, u64)> = (after + 1..=last).map(|number| (thread.key.clone(), number)).collect();
        Ok(self.messages_by_key(&keys).await?.into_iter().map(|(_, message)| message).collect())
    }

    async fn inbox(&self, reader: &str, after: Option<u64>, limit: usize) -> Result<Inbox> {
        self.inbox_of(reader, after, limit).await
    }

    async fn unread(&self, reader: &str, most: usize) -> Result<usize> {
        self.unread_of(reader, most).await
    }

    async fn search(&self, search: &Search) -> Result<Page<Hit>> {
        self.search_threads(search).await
    }
}
