//! The engine in this process' memory: the machine over ordered maps. For tests, examples and as an oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::engine::{Engine, EngineKind};
use crate::error::{Error, Result};
use crate::ids::{Csn, Epoch};
use crate::machine::rows::Rows;
use crate::machine::{self, Stepped};
use crate::op::{Blob, Call};
use crate::record::{Event, State};
use crate::table::{Entry, Range, Table};
use crate::time::{Clock, Reading};

/// Rows in ordered maps.
#[derive(Clone, Debug, Default)]
pub struct MemoryRows {
    /// The shared state.
    pub state: State,
    /// Records by table and key.
    pub records: BTreeMap<(Table, String), Vec<u8>>,
    /// The index.
    pub entries: BTreeSet<Entry>,
    /// Blobs by name.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// The event log.
    pub events: Vec<Event>,
}

impl Rows for MemoryRows {
    fn state(&mut self) -> Result<State> {
        Ok(self.state.clone())
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        self.state = state.clone();
        Ok(())
    }

    fn get(&mut self, table: Table, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.records.get(&(table, key.to_owned())).cloned())
    }

    fn put(&mut self, table: Table, key: &str, record: &[u8]) -> Result<()> {
        self.records.insert((table, key.to_owned()), record.to_vec());
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &str) -> Result<()> {
        self.records.remove(&(table, key.to_owned()));
        Ok(())
    }

    fn scan(&mut self, range: &Range, limit: usize) -> Result<Vec<Entry>> {
        let bounds = Entry(range.from.clone())..Entry(range.to.clone());
        Ok(self.entries.range(bounds).take(limit).cloned().collect())
    }

    fn enter(&mut self, entry: &Entry) -> Result<()> {
        self.entries.insert(entry.clone());
        Ok(())
    }

    fn remove(&mut self, entry: &Entry) -> Result<()> {
        self.entries.remove(entry);
        Ok(())
    }

    fn put_blob(&mut self, blob: &Blob) -> Result<()> {
        self.blobs.insert(blob.name.clone(), blob.bytes.clone());
        Ok(())
    }

    fn delete_blob(&mut self, name: &str) -> Result<()> {
        self.blobs.remove(name);
        Ok(())
    }

    fn append(&mut self, event: &Event) -> Result<()> {
        self.events.push(event.clone());
        Ok(())
    }
}

/// Called after a commit with the tickets and approvals whose waiters must look again.
pub type OnWake = Box<dyn Fn(&[String]) + Send + Sync>;

/// The memory engine. Clones share the same rows.
#[derive(Clone)]
pub struct MemoryEngine {
    // A std mutex: steps are short and never await.
    rows: Arc<Mutex<MemoryRows>>,
    clock: Arc<dyn Clock>,
    epoch: Epoch,
    on_wake: Arc<OnWake>,
}

impl std::fmt::Debug for MemoryEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryEngine").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl MemoryEngine {
    /// An empty engine.
    #[must_use]
    pub fn new(epoch: Epoch, clock: Arc<dyn Clock>, on_wake: OnWake) -> Self {
        Self { rows: Arc::default(), clock, epoch, on_wake: Arc::new(on_wake) }
    }

    /// A copy of everything that is stored.
    #[must_use]
    pub fn dump(&self) -> MemoryRows {
        self.rows().clone()
    }

    fn rows(&self) -> MutexGuard<'_, MemoryRows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Engine for MemoryEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Memory
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    async fn step(&self, call: Call) -> Result<Vec<u8>> {
        if call.epoch != self.epoch {
            return Err(Error::unavailable(format!(
                "this engine is in epoch {}, the call in {}",
                self.epoch, call.epoch
            )));
        }
        let Stepped { answer, wakes } = machine::run(&mut *self.rows(), &call, &self.clock.read())?;
        if !wakes.is_empty() {
            (self.on_wake)(&wakes);
        }
        Ok(answer)
    }

    async fn fetch(&self, table: Table, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let rows = self.rows();
        Ok(keys.iter().map(|key| rows.records.get(&(table, key.clone())).cloned()).collect())
    }

    async fn blobs(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let rows = self.rows();
        Ok(names.iter().map(|name| rows.blobs.get(name).cloned()).collect())
    }

    async fn scan(&self, range: &Range, limit: usize) -> Result<Vec<Entry>> {
        self.rows().scan(range, limit)
    }

    async fn state(&self) -> Result<(State, Reading)> {
        Ok((self.rows().state.clone(), self.clock.read()))
    }

    async fn events(&self, after: Csn, limit: usize) -> Result<Vec<Event>> {
        let rows = self.rows();
        let first = rows.events.partition_point(|e| e.csn <= after);
        Ok(rows.events[first..].iter().take(limit).cloned().collect())
    }
}
