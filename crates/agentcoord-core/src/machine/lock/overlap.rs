//! What stands in the way of a lock request: overlapping paths, found by range lookup over the index.
//!
//! A file overlaps with itself and with the subtrees above it (and with the subtree of its own name); a subtree also
//! with everything below it. Nothing is stored for this but the entries that holders and waiters have anyway.

use std::collections::{BTreeSet, VecDeque};

use crate::ids::Id;
use crate::limits;
use crate::lock::{LockMode, LockPath};
use crate::machine::rows::Rows;
use crate::machine::step::{Ruled, Step};
use crate::record::{LockRecord, LockTicketRecord};
use crate::table::{Entry, Range, pad};

/// Entries read at once.
const PAGE: usize = 16;

/// A place in the index that overlaps with a path.
pub(super) enum Spot {
    /// One path.
    At(String),
    /// All paths that begin so.
    Below(String),
}

impl Spot {
    /// The places that overlap with a path, in the order of the index. Without any `subtrees` held or waited for, there
    /// are none above it.
    pub(super) fn of(path: &LockPath, subtrees: bool) -> Vec<Self> {
        let text = path.as_str();
        if text.starts_with('@') {
            return vec![Self::At(text.to_owned())];
        }
        let file = text.trim_end_matches('/');
        if !subtrees && !path.is_subtree() {
            return vec![Self::At(file.to_owned())];
        }
        let mut spots: Vec<Self> = file.match_indices('/').map(|(at, _)| Self::At(file[..=at].to_owned())).collect();
        spots.push(Self::At(file.to_owned()));
        let subtree = format!("{file}/");
        spots.push(if path.is_subtree() { Self::Below(subtree) } else { Self::At(subtree) });
        spots
    }

    /// The range of the entries here, in an index whose entries begin with `prefix` and then name a path.
    pub(super) fn range(&self, prefix: &[&str]) -> Range {
        match self {
            Self::At(path) => Range::under(&[prefix, &[path.as_str()]].concat()),
            Self::Below(directory) => {
                let from = Entry::of(&[prefix, &[directory.as_str()]].concat()).0;
                let mut to = from.clone();
                if let Some(last) = to.last_mut() {
                    *last += 1;
                }
                Range { from, to }
            }
        }
    }
}

/// The kinds of holders that conflict with a mode.
pub(super) fn holders(mode: LockMode) -> &'static [&'static str] {
    match mode {
        LockMode::Exclusive => &["h", "hs"],
        LockMode::Shared => &["h"],
    }
}

/// The kinds of waiters that conflict with a mode.
pub(super) fn waiters(mode: LockMode) -> &'static [&'static str] {
    match mode {
        LockMode::Exclusive => &["w", "ws"],
        LockMode::Shared => &["w"],
    }
}

/// The kinds of holders and waiters that conflict with a mode.
pub(super) fn everybody(mode: LockMode) -> &'static [&'static str] {
    match mode {
        LockMode::Exclusive => &["h", "hs", "w", "ws"],
        LockMode::Shared => &["h", "w"],
    }
}

/// A walk over the entries that overlap with some paths.
pub(super) struct Walk {
    /// Parts before the path.
    before: usize,
    ranges: VecDeque<Range>,
    kinds: &'static [&'static str],
    /// Waiters from this number on are passed over.
    seq: u64,
    page: VecDeque<Entry>,
    left: usize,
    /// True when the walk ended before its end because it was too long.
    pub(super) cut: bool,
}

/// An entry that a walk has met.
pub(super) struct Met {
    pub(super) path: String,
    pub(super) holds: bool,
    pub(super) key: String,
}

impl Walk {
    pub(super) fn new<R: Rows>(
        step: &Step<'_, R>,
        prefix: &[&str],
        paths: &[LockPath],
        kinds: &'static [&'static str],
        seq: u64,
    ) -> Self {
        let mut seen = BTreeSet::new();
        let subtrees = step.state.counts.subtrees > 0;
        let spots = paths.iter().flat_map(|path| Spot::of(path, subtrees)).map(|spot| spot.range(prefix));
        let ranges = spots.filter(|r| seen.insert((r.from.clone(), r.to.clone()))).collect();
        Self { before: prefix.len(), ranges, kinds, seq, page: VecDeque::new(), left: limits::LOCK_ENTRIES, cut: false }
    }

    /// The next entry of a kind that counts.
    pub(super) fn next<R: Rows>(&mut self, step: &mut Step<'_, R>) -> Ruled<Option<Met>> {
        loop {
            let Some(entry) = self.page.pop_front() else {
                let Some(range) = self.ranges.front_mut() else { return Ok(None) };
                if self.left == 0 {
                    self.cut = true;
                    return Ok(None);
                }
                let page = step.scan(range, PAGE)?;
                self.left -= page.len().max(1).min(self.left);
                match page.last() {
                    Some(last) if page.len() == PAGE => *range = range.clone().after(last),
                    _ => drop(self.ranges.pop_front()),
                }
                self.page = page.into();
                continue;
            };
            let parts = entry.parts();
            let (path, kind, number) = (parts[self.before], parts[self.before + 1], parts[self.before + 2]);
            let holds = kind.starts_with('h');
            if self.kinds.contains(&kind) && (holds || number < pad(self.seq).as_str()) {
                return Ok(Some(Met { path: path.to_owned(), holds, key: entry.key().to_owned() }));
            }
            // Nothing of this kind counts any more at this path: on to the next.
            let beyond = Range::under(&parts[..self.before + 2]).to;
            self.page.retain(|e| e.0 >= beyond);
            if self.page.is_empty()
                && let Some(range) = self.ranges.front_mut()
                && range.from < beyond
                && entry.0 < range.from
                && beyond < range.to
            {
                range.from = beyond;
            }
        }
    }
}

/// Who asks, or waits, for what.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) session: &'a Id,
    pub(super) lane: &'a str,
    pub(super) mode: LockMode,
    pub(super) paths: &'a [LockPath],
    /// Its place in the queue.
    pub(super) seq: u64,
}

impl<'a> Request<'a> {
    pub(super) fn of(waiter: &'a LockTicketRecord) -> Self {
        let LockTicketRecord { session, lane, mode, paths, seq, .. } = waiter;
        Self { session, lane, mode: *mode, paths, seq: *seq }
    }

    pub(super) fn is_of(&self, session: &Id, lane: &str) -> bool {
        self.session == session && self.lane == lane
    }
}

/// Who is in the way of a request.
pub(super) enum Obstacle {
    Holder(LockPath, LockRecord),
    Waiter(LockPath, LockTicketRecord),
}

/// Those in the way of a request, at most `most`; the second value is false when there may be more than were looked at.
///
/// An older waiter is not in the way when it waits for a lock of the very lane that asks: waiting for it would be
/// waiting for oneself.
pub(super) fn obstacles<R: Rows>(
    step: &mut Step<'_, R>,
    request: &Request<'_>,
    kinds: &'static [&'static str],
    most: usize,
) -> Ruled<(Vec<Obstacle>, bool)> {
    let mut found = Vec::new();
    let mut walk = Walk::new(step, &["path"], request.paths, kinds, request.seq);
    while found.len() < most
        && let Some(met) = walk.next(step)?
    {
        let path = LockPath::parse(&met.path)?;
        if met.holds {
            if let Some(lock) = step.get::<LockRecord>(&met.key)?
                && !request.is_of(&lock.session, &lock.lane)
            {
                found.push(Obstacle::Holder(path, lock));
            }
        } else if let Some(waiter) = step.get::<LockTicketRecord>(&met.key)?
            && !request.is_of(&waiter.session, &waiter.lane)
            && !holds_against(step, request, &waiter)?
        {
            found.push(Obstacle::Waiter(path, waiter));
        }
    }
    Ok((found, !walk.cut))
}

/// The kinds of what a lane holds; all kinds when it holds much.
pub(super) fn lane_kinds<R: Rows>(step: &mut Step<'_, R>, session: &Id, lane: &str) -> Ruled<BTreeSet<String>> {
    let held = step.scan(&Range::under(&["lane", session.as_str(), lane]), PAGE)?;
    if held.len() == PAGE {
        return Ok([LockMode::Exclusive, LockMode::Shared].map(|mode| mode.holding().to_owned()).into());
    }
    Ok(held.iter().map(|entry| entry.parts()[4].to_owned()).collect())
}

/// Whether the lane of a request holds anything.
fn lane_holds<R: Rows>(step: &mut Step<'_, R>, session: &Id, lane: &str) -> Ruled<bool> {
    Ok(!step.scan(&Range::under(&["lane", session.as_str(), lane]), 1)?.is_empty())
}

/// Whether the lane of a request holds what a waiter waits for.
pub(super) fn holds_against<R: Rows>(
    step: &mut Step<'_, R>,
    request: &Request<'_>,
    waiter: &LockTicketRecord,
) -> Ruled<bool> {
    if !lane_holds(step, request.session, request.lane)? {
        return Ok(false);
    }
    lane_holds_on(step, request, &waiter.paths, holders(waiter.mode))
}

/// Whether the lane of a request holds something of these kinds that overlaps with these paths.
pub(super) fn lane_holds_on<R: Rows>(
    step: &mut Step<'_, R>,
    request: &Request<'_>,
    paths: &[LockPath],
    kinds: &'static [&'static str],
) -> Ruled<bool> {
    let mut walk = Walk::new(step, &["lane", request.session.as_str(), request.lane], paths, kinds, 0);
    Ok(walk.next(step)?.is_some())
}
