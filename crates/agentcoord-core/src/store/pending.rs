//! Reading pending tasks in claim order. They have no list of their own: their queues are divided by what the tasks
//! require, and the parts are merged here.

use std::collections::VecDeque;

use super::{FETCH_PAGE, Store};
use crate::error::Result;
use crate::table::{Entry, Range, index};

/// A task's place in claim order, and its key.
pub(super) type Place = (String, String);

/// The rest of some queues.
pub(super) struct Pending {
    parts: Vec<Part>,
    last: Option<Place>,
}

/// A part of a queue: tasks that require the same.
struct Part {
    /// What is read already.
    heads: VecDeque<Place>,
    /// What is not.
    rest: Option<Range>,
}

impl Pending {
    /// The queues of all tasks with any of the tags (none: all tasks), from beyond a place.
    pub(super) async fn open(store: &Store, tags: &[String], after: Option<&Place>) -> Result<Self> {
        let mut parts = Vec::new();
        let all = [String::new()];
        for tag in if tags.is_empty() { &all } else { tags } {
            let mut range = Range::under(&["ready", tag]);
            while let Some(first) = store.engine.scan(&range, 1).await?.pop() {
                let required = first.parts().get(2).copied().unwrap_or_default().to_owned();
                let mut rest = Range::under(&["ready", tag, &required]);
                range.from.clone_from(&rest.to);
                if let Some((order, key)) = after {
                    rest = rest.after(&index::ready(tag, &required, order, key));
                }
                parts.push(Part { heads: VecDeque::new(), rest: Some(rest) });
            }
        }
        Ok(Self { parts, last: None })
    }

    /// The next places, in order and each once, at most a page of them.
    pub(super) async fn page(&mut self, store: &Store) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        while places.len() < FETCH_PAGE {
            self.fill(store).await?;
            let heads = self.parts.iter_mut().filter(|part| !part.heads.is_empty());
            let Some(first) = heads.min_by(|a, b| a.heads.front().cmp(&b.heads.front())) else { break };
            let place = first.heads.pop_front();
            // With several tags, a task may stand in several queues.
            if place != self.last {
                places.extend(place.clone());
                self.last = place;
            }
        }
        Ok(places)
    }

    /// Reads on where nothing is left of what was read.
    async fn fill(&mut self, store: &Store) -> Result<()> {
        let page = (FETCH_PAGE / self.parts.len().max(1)).max(8);
        for part in self.parts.iter_mut().filter(|part| part.heads.is_empty()) {
            let Some(rest) = part.rest.take() else { continue };
            let entries = store.engine.scan(&rest, page).await?;
            if let Some(last) = entries.last().filter(|_| entries.len() == page) {
                part.rest = Some(rest.after(last));
            }
            part.heads = entries.iter().filter_map(place).collect();
        }
        Ok(())
    }
}

/// The place that an entry of a queue, or of a list of one state, names.
pub(super) fn place(entry: &Entry) -> Option<Place> {
    match entry.parts()[..] {
        ["ready", _, _, order, key] | ["status", _, order, key] => Some((order.to_owned(), key.to_owned())),
        _ => None,
    }
}
