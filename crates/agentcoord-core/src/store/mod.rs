//! The six contracts, implemented once for every engine: mutations are steps, reads are fetches and scans.
//!
//! Nothing here decides about domain state; that is the machine's (and the Lua scripts') business.

mod agent;
mod approval;
mod audit;
mod board;
mod inbox;
mod lock;
mod pending;
mod search;
mod task;

use std::fmt;
use std::sync::Arc;

use crate::agent::AgentRegistry;
use crate::approval::ApprovalWorkflow;
use crate::audit::AuditLog;
use crate::board::Board;
use crate::engine::{Engine, EngineKind};
use crate::error::{Error, Noun, Result};
use crate::ids::{Id, IdPrefix, SHORT_ID};
use crate::lock::FileLocks;
use crate::op::{Blob, Call, Op, Verb, answer, decode};
use crate::record::Event;
use crate::table::{Entry, Range, Record, index};
use crate::task::TaskQueue;
use crate::time::LeaseClock;

/// Entries read per scan when a whole range is wanted.
const SCAN_PAGE: usize = 1_000;
/// Records read per fetch.
const FETCH_PAGE: usize = 200;
/// Candidates that an ambiguous id lists.
const CANDIDATES: usize = 6;

/// The six components on one engine.
pub trait Backend: fmt::Debug + Send + Sync {
    /// What kind of engine answers.
    fn kind(&self) -> EngineKind;
    /// File locks.
    fn locks(&self) -> &dyn FileLocks;
    /// Agents.
    fn agents(&self) -> &dyn AgentRegistry;
    /// Tasks.
    fn tasks(&self) -> &dyn TaskQueue;
    /// The board.
    fn board(&self) -> &dyn Board;
    /// Approvals.
    fn approvals(&self) -> &dyn ApprovalWorkflow;
    /// The audit log.
    fn audit(&self) -> &dyn AuditLog;
}

/// The six components on any engine. Clones share the engine.
#[derive(Clone, Debug)]
pub struct Store {
    engine: Arc<dyn Engine>,
}

impl Backend for Store {
    fn kind(&self) -> EngineKind {
        self.engine.kind()
    }

    fn locks(&self) -> &dyn FileLocks {
        self
    }

    fn agents(&self) -> &dyn AgentRegistry {
        self
    }

    fn tasks(&self) -> &dyn TaskQueue {
        self
    }

    fn board(&self) -> &dyn Board {
        self
    }

    fn approvals(&self) -> &dyn ApprovalWorkflow {
        self
    }

    fn audit(&self) -> &dyn AuditLog {
        self
    }
}

impl Store {
    /// The six components on this engine.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// The engine below.
    #[must_use]
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// Runs one mutation.
    pub async fn run<V: Verb>(&self, op: &Op<V>) -> Result<V::Reply> {
        let call = Call::encode(op)?;
        answer::<V>(&self.engine.step(call).await?)
    }

    /// Counters, and the lease clock as it is now.
    pub async fn now(&self) -> Result<(crate::record::Counts, LeaseClock)> {
        let (state, reading) = self.engine.state().await?;
        Ok((state.counts, state.clock.at(&reading)))
    }

    /// Counters and clocks as the last step left them, with the lease clock as it is now.
    pub async fn state(&self) -> Result<crate::record::State> {
        let (state, reading) = self.engine.state().await?;
        let clock = state.clock.at(&reading);
        Ok(crate::record::State { clock, ..state })
    }

    /// Events after `csn`, at most `limit`.
    pub async fn events(&self, after: crate::ids::Csn, limit: usize) -> Result<Vec<Event>> {
        self.engine.events(after, limit).await
    }

    async fn get<T: Record>(&self, key: &str) -> Result<Option<T>> {
        Ok(self.get_all::<T>(&[key.to_owned()]).await?.pop().flatten())
    }

    /// Records in the order of their keys; those that are gone are `None`.
    async fn get_all<T: Record>(&self, keys: &[String]) -> Result<Vec<Option<T>>> {
        let mut records = Vec::with_capacity(keys.len());
        for page in keys.chunks(FETCH_PAGE) {
            for (bytes, key) in self.engine.fetch(T::TABLE, page).await?.into_iter().zip(page) {
                let decode = |b: Vec<u8>| decode::<T>(&b, &format!("{}/{key}", T::TABLE.name()));
                records.push(bytes.map(decode).transpose()?);
            }
        }
        Ok(records)
    }

    /// All entries of a range.
    async fn scan_all(&self, mut range: Range) -> Result<Vec<Entry>> {
        let mut all = Vec::new();
        loop {
            let page = self.engine.scan(&range, SCAN_PAGE).await?;
            let done = page.len() < SCAN_PAGE;
            if let Some(last) = page.last() {
                range = range.after(last);
            }
            all.extend(page);
            if done {
                return Ok(all);
            }
        }
    }

    /// Blobs of a record as texts, in the order asked.
    async fn texts<const N: usize>(&self, noun: &str, id: &Id, fields: [&str; N]) -> Result<[Option<String>; N]> {
        let names = fields.map(|field| Blob::name(noun, id, field));
        let mut blobs = self.engine.blobs(&names).await?.into_iter();
        let mut texts = [const { None }; N];
        for (text, name) in texts.iter_mut().zip(names) {
            let bytes = blobs.next().flatten();
            *text = bytes.map(|b| String::from_utf8(b).map_err(|e| Error::corrupt(name, e))).transpose()?;
        }
        Ok(texts)
    }

    /// The record of a typed id: the short id or a longer form; for records with an `id` index also a shorter prefix.
    async fn resolve<T: Record>(&self, noun: Noun, typed: &IdPrefix, id_of: fn(&T) -> &Id) -> Result<(String, T)> {
        let digits = typed.as_str();
        let keys: Vec<String> = (SHORT_ID..=digits.len().min(2 * SHORT_ID)).map(|n| digits[..n].to_owned()).collect();
        for (record, key) in self.get_all::<T>(&keys).await?.into_iter().zip(keys) {
            if let Some(record) = record.filter(|r| id_of(r).as_str().starts_with(digits)) {
                return Ok((key, record));
            }
        }
        let found = self.engine.scan(&index::ids(T::TABLE, digits), CANDIDATES).await?;
        match &found[..] {
            [] => Err(Error::not_found(noun, digits)),
            [only] => {
                let key = only.key().to_owned();
                let record = self.get::<T>(&key).await?.ok_or_else(|| Error::not_found(noun, digits))?;
                Ok((key, record))
            }
            many => Err(Error::Ambiguous {
                noun,
                prefix: digits.to_owned(),
                candidates: many.iter().map(|e| e.key().to_owned()).collect(),
            }),
        }
    }
}

/// A cursor: where a listing stopped, as text.
fn cursor(entry: &Entry) -> String {
    crate::op::hex(&entry.0)
}

/// The entry of a cursor.
fn entry_of(cursor: &str) -> Result<Entry> {
    let digit = |i: usize| cursor.get(i..i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..cursor.len()).step_by(2).map(digit).collect();
    bytes.map(Entry).ok_or_else(|| Error::invalid("cursor", cursor, "the cursor of an earlier page"))
}
