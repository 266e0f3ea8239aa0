//! Everything that two engines hold, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use agentcoord_core::Result;
use agentcoord_core::engine::Engine;
use agentcoord_core::ids::Csn;
use agentcoord_core::limits::SEAL_RUN;
use agentcoord_core::memory::MemoryEngine;
use agentcoord_core::op::{Call, decode};
use agentcoord_core::record::{Event, Image, MessageRecord, State, TaskRecord, TaskTicketRecord, ThreadRecord};
use agentcoord_core::snapshot::Derived;
use agentcoord_core::table::{Entry, Range, Table};
use agentcoord_core::task::TaskStatus;

use crate::describe::describe;

/// Entries, records or blobs asked for at once.
const PAGE: usize = 500;

pub(super) struct Comparison {
    pub(super) oracle: MemoryEngine,
    pub(super) engine: Arc<dyn Engine>,
    /// Every record that ever existed, so that one that should be gone is found too.
    keys: BTreeSet<(Table, String)>,
    /// Every blob that any call carried, also the refused ones.
    blobs: BTreeSet<String>,
    csn: Csn,
}

impl Comparison {
    pub(super) fn new(oracle: MemoryEngine, engine: Arc<dyn Engine>) -> Self {
        Self { oracle, engine, keys: BTreeSet::new(), blobs: BTreeSet::new(), csn: Csn(0) }
    }

    /// Takes note of what a call may leave behind.
    pub(super) fn know(&mut self, call: &Call) {
        self.blobs.extend(call.blobs.iter().map(|b| b.name.clone()));
        if let agentcoord_core::op::Actor::Session(id) = &call.actor {
            self.keys.insert((Table::Pulse, id.to_string()));
        }
        let slot = agentcoord_core::record::RingRecord::key(&call.client, call.request);
        self.keys.insert((Table::Ring, slot));
    }

    /// Compares what the last operation changed: the shared state and the events.
    pub(super) async fn step(&mut self) -> std::result::Result<(), String> {
        let (expected, _) = told(self.oracle.state().await)?;
        let (actual, _) = told(self.engine.state().await)?;
        same("the shared state", &expected, &actual)?;
        if expected.csn > self.csn {
            let expected = told(self.oracle.events(self.csn, PAGE).await)?;
            let actual = told(self.engine.events(self.csn, PAGE).await)?;
            for event in &expected {
                self.csn = self.csn.max(event.csn);
                self.keys.extend(event.images.iter().map(|image| (image.table, image.key.clone())));
            }
            // Equal bytes say the same; different ones may too.
            if expected != actual {
                let told = |events: &[Event]| events.iter().map(Told::new).collect::<Vec<_>>();
                same("the events", &told(&expected), &told(&actual))?;
            }
        }
        Ok(())
    }

    /// Compares everything.
    pub(super) async fn whole(&mut self) -> std::result::Result<(), String> {
        let entries = self.all_entries().await?;
        let expected = self.oracle.dump();
        if expected.entries != entries {
            let missing: Vec<_> = expected.entries.difference(&entries).take(5).collect();
            let extra: Vec<_> = entries.difference(&expected.entries).take(5).collect();
            return Err(format!("index entries differ; missing {missing:?}, too many {extra:?}"));
        }
        self.keys.extend(expected.records.keys().cloned());
        self.keys.extend(entries.iter().filter_map(named));
        self.keys.extend(beyond(&expected.state, &expected.records));
        let mut derived = Derived::default();
        for table in Table::ALL {
            let keys: Vec<String> = self.keys.iter().filter(|(t, _)| *t == table).map(|(_, k)| k.clone()).collect();
            for page in keys.chunks(PAGE) {
                let records = told(self.engine.fetch(table, page).await)?;
                same("the number of fetched records", &page.len(), &records.len())?;
                for (key, actual) in page.iter().zip(records) {
                    let expected = expected.records.get(&(table, key.clone())).map(|b| describe(table, b));
                    let told_actual = actual.as_ref().map(|b| describe(table, b));
                    same(&format!("record {}/{key}", table.name()), &expected, &told_actual)?;
                    if let Some(bytes) = actual {
                        told(derived.add(table, key, &bytes))?;
                    }
                }
            }
        }
        unmatched(&expected.records)?;
        self.derived(&derived, &entries).await?;
        self.blobs().await
    }

    /// What is derived must be what the records imply.
    async fn derived(&self, derived: &Derived, entries: &BTreeSet<Entry>) -> std::result::Result<(), String> {
        if derived.entries != *entries {
            let missing: Vec<_> = derived.entries.difference(entries).take(5).collect();
            let extra: Vec<_> = entries.difference(&derived.entries).take(5).collect();
            return Err(format!("the index is not what the records imply; missing {missing:?}, too many {extra:?}"));
        }
        let (state, _) = told(self.engine.state().await)?;
        same("the counters and what the records imply", &derived.counts, &state.counts)?;
        for (index, hint) in [("due", state.next_due), ("cal", state.next_calendar)] {
            let range = Range::under(&[index]);
            let first = entries.range(Entry(range.from)..Entry(range.to)).next();
            if let Some(first) = first
                && first.parts()[1].parse::<u64>().is_ok_and(|at| at < hint)
            {
                return Err(format!("next of `{index}` is {hint}, but the first entry is {first:?}"));
            }
        }
        Ok(())
    }

    async fn blobs(&self) -> std::result::Result<(), String> {
        let names: Vec<String> = self.blobs.iter().cloned().collect();
        for page in names.chunks(PAGE) {
            let expected = told(self.oracle.blobs(page).await)?;
            let actual = told(self.engine.blobs(page).await)?;
            for ((name, expected), actual) in page.iter().zip(expected).zip(actual) {
                same(&format!("blob {name}"), &expected, &actual)?;
            }
        }
        Ok(())
    }

    async fn all_entries(&self) -> std::result::Result<BTreeSet<Entry>, String> {
        let mut range = Range { from: Vec::new(), to: vec![0xff] };
        let mut all = BTreeSet::new();
        loop {
            let page = told(self.engine.scan(&range, PAGE).await)?;
            if !page.is_sorted_by(|a, b| a < b) {
                return Err(format!("entries are not in order: {page:?}"));
            }
            let Some(last) = page.last() else { return Ok(all) };
            range = range.after(last);
            all.extend(page);
        }
    }

    /// The last commit sequence number and the number of records.
    pub(super) fn size(&self) -> (u64, usize) {
        (self.csn.0, self.oracle.dump().records.len())
    }
}

/// An event whose records can be read by people and do not depend on the order of their fields.
#[derive(Debug, PartialEq)]
struct Told {
    csn: Csn,
    head: String,
    wakes: Vec<String>,
    images: Vec<(Table, String, Option<String>)>,
    texts: Vec<String>,
    gone: Vec<String>,
}

impl Told {
    fn new(event: &Event) -> Self {
        let Event { csn, at, client, request, actor, verb, wakes, images, texts, gone } = event;
        let record = |i: &Image| (!i.record.is_empty()).then(|| describe(i.table, &i.record));
        let mut images: Vec<_> = images.iter().map(|i| (i.table, i.key.clone(), record(i))).collect();
        images.sort();
        let mut wakes = wakes.clone();
        wakes.sort();
        let (texts, mut gone) = (texts.clone(), gone.clone());
        gone.sort();
        Self {
            csn: *csn,
            head: format!("at {at} {verb} by {actor:?} as {client}-{request}"),
            wakes,
            images,
            texts,
            gone,
        }
    }
}

/// The record that an index entry names.
fn named(entry: &Entry) -> Option<(Table, String)> {
    let parts = entry.parts();
    let table = match parts[..] {
        ["due" | "cal" | "work", _, table, _] | ["own", _, table, _] | ["id", table, _] | ["final", table, ..] => {
            Table::parse(table)?
        }
        ["path", _, "h" | "hs", ..] | ["lane", ..] => Table::Lock,
        ["waits", ..] | ["path", _, "w" | "ws", ..] => Table::LockTicket,
        ["ready" | "status", ..] => Table::Task,
        ["want", ..] => Table::TaskTicket,
        ["dep" | "needs", ..] => Table::Dependency,
        ["live" | "here", ..] => Table::Session,
        ["name" | "who", ..] => Table::Agent,
        ["thread" | "tagged", ..] => Table::Thread,
        ["inbox", ..] => Table::Message,
        ["approval" | "asks", ..] => Table::Approval,
        _ => return None,
    };
    Some((table, entry.key().to_owned()))
}

/// No waiting claim matches a pending task, unless it is still to be looked at for it.
fn unmatched(records: &BTreeMap<(Table, String), Vec<u8>>) -> std::result::Result<(), String> {
    let of = |table| records.iter().filter(move |((t, _), _)| *t == table);
    let mut waiting = Vec::new();
    for ((_, ticket), bytes) in of(Table::TaskTicket) {
        waiting.push((ticket, told(decode::<TaskTicketRecord>(bytes, "task_ticket"))?));
    }
    for ((_, key), bytes) in of(Table::Task) {
        let task = told(decode::<TaskRecord>(bytes, "task"))?;
        let is_ready = task.status == TaskStatus::Pending && task.search.is_none();
        let matches = |waiter: &TaskTicketRecord| {
            (waiter.tags.is_empty() || waiter.tags.iter().any(|t| task.tags.contains(t)))
                && task.requires.iter().all(|r| waiter.capabilities.contains(r))
        };
        if let Some((ticket, _)) = waiting.iter().find(|(_, w)| is_ready && w.is_in_line() && matches(w)) {
            return Err(format!("claim {ticket} waits, and task {key} is pending, which it would match"));
        }
    }
    Ok(())
}

/// Keys one beyond the last message of each thread and the last audit entry: nothing may be there.
fn beyond(state: &State, records: &BTreeMap<(Table, String), Vec<u8>>) -> Vec<(Table, String)> {
    let mut keys = vec![(Table::Audit, (state.audit + 1).to_string())];
    keys.push((Table::Seal, (state.sealed / SEAL_RUN + 2).to_string()));
    for ((_, key), bytes) in records.iter().filter(|((table, _), _)| *table == Table::Thread) {
        if let Ok(thread) = decode::<ThreadRecord>(bytes, "thread") {
            keys.push((Table::Message, MessageRecord::key(key, thread.count + 1)));
        }
    }
    keys
}

fn told<T>(result: Result<T>) -> std::result::Result<T, String> {
    result.map_err(|e| format!("a read failed: {e:?}"))
}

fn same<T: PartialEq + Debug>(what: &str, expected: &T, actual: &T) -> std::result::Result<(), String> {
    if expected == actual {
        return Ok(());
    }
    Err(format!("{what}: the machine has\n    {expected:?}\nthe engine\n    {actual:?}"))
}
