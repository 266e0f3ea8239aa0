//! The board on any engine.

use async_trait::async_trait;

use super::{FETCH_PAGE, Store, cursor, entry_of};
use crate::board::{
    Board, Message, OpenThread, PostMessage, Posted, ResolveThread, Thread, ThreadFilter, ThreadStatus,
};
use crate::error::{Error, Noun, Result};
use crate::ids::IdPrefix;
use crate::op::{Blob, Op};
use crate::record::{MessageRecord, ThreadRecord};
use crate::table::Range;
use crate::task::Page;

fn thread(key: String, record: ThreadRecord) -> Thread {
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

#[async_trait]
impl Board for Store {
    async fn open(&self, op: Op<OpenThread>) -> Result<Posted> {
        self.run(&op).await
    }

    async fn post(&self, op: Op<PostMessage>) -> Result<Posted> {
        self.run(&op).await
    }

    async fn resolve(&self, op: Op<ResolveThread>) -> Result<Posted> {
        self.run(&op).await
    }

    async fn list(&self, filter: &ThreadFilter) -> Result<Page<Thread>> {
        let resume = filter.cursor.as_deref().map(entry_of).transpose()?;
        let default = [ThreadStatus::Active, ThreadStatus::Waiting];
        let mut statuses = if filter.statuses.is_empty() { &default[..] } else { &filter.statuses[..] };
        if let Some(entry) = &resume {
            let at = entry.parts().get(1).copied().unwrap_or_default();
            statuses = &statuses[statuses.iter().position(|s| s.word() == at).unwrap_or(0)..];
        }
        let mut items = Vec::new();
        for status in statuses {
            let mut range = Range::under(&["thread", status.word()]);
            if let Some(entry) = resume.as_ref().filter(|e| e.parts().get(1) == Some(&status.word())) {
                range = range.after(entry);
            }
            loop {
                let want = (filter.limit - items.len()).min(FETCH_PAGE);
                let entries = self.engine.scan(&range, want).await?;
                let keys: Vec<String> = entries.iter().map(|e| e.key().to_owned()).collect();
                let records = self.get_all::<ThreadRecord>(&keys).await?;
                items.extend(keys.into_iter().zip(records).filter_map(|(key, r)| Some(thread(key, r?))));
                match entries.last() {
                    Some(last) if items.len() >= filter.limit => {
                        return Ok(Page { items, cursor: Some(cursor(last)) });
                    }
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
        let numbers: Vec<u64> = (after + 1..=last).collect();
        let keys: Vec<String> = numbers.iter().map(|n| MessageRecord::key(&thread.key, *n)).collect();
        let records: Vec<(u64, MessageRecord)> = numbers
            .into_iter()
            .zip(self.get_all::<MessageRecord>(&keys).await?)
            .filter_map(|(n, r)| Some((n, r?)))
            .collect();
        let mut messages = Vec::with_capacity(records.len());
        for page in records.chunks(FETCH_PAGE) {
            let names: Vec<String> = page.iter().map(|(_, r)| Blob::name("message", &r.id, "text")).collect();
            for ((number, record), bytes) in page.iter().zip(self.engine.blobs(&names).await?) {
                let content = String::from_utf8(bytes.unwrap_or_default());
                messages.push(Message {
                    id: record.id.clone(),
                    number: *number,
                    author: record.author.clone(),
                    content: content.map_err(|e| Error::corrupt(format!("message {}", record.id), e))?,
                    posted_at: record.posted_at,
                });
            }
        }
        Ok(messages)
    }
}
