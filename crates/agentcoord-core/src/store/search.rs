//! Search over the board on any engine: thread by thread in the order of listings, so much at a time.

use super::board::thread;
use super::{FETCH_PAGE, Store, cursor, entry_of};
use crate::board::{Hit, Place, Search, Thread};
use crate::error::{Error, Result};
use crate::limits;
use crate::record::ThreadRecord;
use crate::table::{Entry, Range};
use crate::task::Page;

/// Longest part of a message that a hit shows, in characters.
const SHOWN: usize = 160;

/// Where a search goes on: after a thread, or inside of it after a message.
struct Position {
    entry: Entry,
    inside: Option<u64>,
}

impl Position {
    fn parse(text: &str) -> Result<Self> {
        let (entry, inside) = match text.split_once('.') {
            Some((entry, number)) => (entry, Some(number.parse().map_err(|_| bad(text))?)),
            None => (text, None),
        };
        let entry = entry_of(entry)?;
        let range = Range::under(&["thread"]);
        if entry.0 < range.from || range.to <= entry.0 {
            return Err(bad(text));
        }
        Ok(Self { entry, inside })
    }

    fn text(&self) -> String {
        let number = self.inside.map(|number| format!(".{number}")).unwrap_or_default();
        cursor(&self.entry) + &number
    }
}

fn bad(text: &str) -> Error {
    Error::invalid("cursor", text, "the cursor of an earlier page")
}

impl Store {
    pub(super) async fn search_threads(&self, search: &Search) -> Result<Page<Hit>> {
        let wanted = search.text.trim().to_lowercase();
        if wanted.is_empty() {
            return Err(Error::invalid("text", &search.text, "some text to look for"));
        }
        let mut range = Range::under(&["thread"]);
        let from = search.cursor.as_deref().map(Position::parse).transpose()?;
        let mut inside = None;
        if let Some(Position { entry, inside: number }) = from {
            inside = number;
            if number.is_some() {
                range.from = entry.0;
            } else {
                range = range.after(&entry);
            }
        }
        let (mut items, mut threads, mut messages) = (Vec::new(), 0, 0);
        loop {
            let entries = self.engine.scan(&range, FETCH_PAGE).await?;
            let keys: Vec<String> = entries.iter().map(|e| e.key().to_owned()).collect();
            let records = self.get_all::<ThreadRecord>(&keys).await?;
            for ((entry, key), record) in entries.iter().zip(keys).zip(records) {
                let after = inside.take();
                let Some(thread) = record.map(|record| thread(key, record)) else { continue };
                threads += 1;
                let heading = if after.is_none() { in_heading(&thread, &wanted) } else { None };
                let place = match heading {
                    Some(place) => Some(place),
                    None => {
                        let mut number = after.unwrap_or(0);
                        let place = self.in_messages(&thread, &wanted, &mut number, &mut messages).await?;
                        if place.is_none() && number < thread.count {
                            let position = Position { entry: entry.clone(), inside: Some(number) };
                            return Ok(Page { items, cursor: Some(position.text()) });
                        }
                        place
                    }
                };
                items.extend(place.map(|place| Hit { thread, place }));
                let enough = threads >= limits::THREADS_PER_LOOK || messages >= limits::MESSAGES_PER_LOOK;
                if items.len() >= search.limit || enough {
                    let position = Position { entry: entry.clone(), inside: None };
                    return Ok(Page { items, cursor: Some(position.text()) });
                }
            }
            match entries.last() {
                Some(last) if entries.len() == FETCH_PAGE => range = range.after(last),
                _ => return Ok(Page { items, cursor: None }),
            }
        }
    }

    /// The first message after `number` that contains the words. Moves `number` along, and stops when enough messages
    /// were looked at.
    async fn in_messages(
        &self,
        thread: &Thread,
        wanted: &str,
        number: &mut u64,
        looked: &mut usize,
    ) -> Result<Option<Place>> {
        while *number < thread.count && *looked < limits::MESSAGES_PER_LOOK {
            let most = FETCH_PAGE.min(limits::MESSAGES_PER_LOOK - *looked);
            let last = thread.count.min(*number + most as u64);
            let keys: Vec<(String, u64)> = (*number + 1..=last).map(|n| (thread.key.clone(), n)).collect();
            *looked += keys.len();
            for (_, message) in self.messages_by_key(&keys).await? {
                if message.content.to_lowercase().contains(wanted) {
                    let line = line_with(&message.content, wanted);
                    return Ok(Some(Place::Message { number: message.number, author: message.author, line }));
                }
            }
            *number = last;
        }
        Ok(None)
    }
}

fn in_heading(thread: &Thread, wanted: &str) -> Option<Place> {
    if thread.title.to_lowercase().contains(wanted) {
        return Some(Place::Title);
    }
    thread.tags.iter().find(|tag| tag.to_lowercase().contains(wanted)).cloned().map(Place::Tag)
}

/// The line of a text that contains the words, or its first one when they run over the end of a line.
fn line_with(text: &str, wanted: &str) -> String {
    let line = text.lines().find(|line| line.to_lowercase().contains(wanted)).or_else(|| text.lines().next());
    let line = line.unwrap_or_default().trim();
    let lower = line.to_lowercase();
    // Near enough: in some scripts the two cases differ in length.
    let at = lower.find(wanted).map_or(0, |at| lower[..at].chars().count());
    let skipped = if line.chars().count() > SHOWN { at.saturating_sub(SHOWN / 4) } else { 0 };
    line.chars().skip(skipped).take(SHOWN).collect()
}
