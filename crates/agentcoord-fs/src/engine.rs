//! The file engine: steps through the committer, reads on a connection of their own.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use agentcoord_core::engine::{Engine, EngineKind};
use agentcoord_core::ids::{Csn, Epoch};
use agentcoord_core::memory::MemoryRows;
use agentcoord_core::op::Call;
use agentcoord_core::record::{Event, State};
use agentcoord_core::table::{Entry, Range, Table};
use agentcoord_core::time::{Clock, Reading};
use agentcoord_core::{Error, Result};
use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::commit::{Committer, Request};
use crate::database::Synced;
use crate::namespace::Namespace;
use crate::reads;
use crate::writer::Writer;

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The end, by kill -9 too, of any process.
    #[default]
    Process,
    /// Also a power cut: every commit waits for the disk.
    Power,
}

/// Where the work is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threading {
    /// On a thread of its own, which commits what waits together. For programs that stay.
    #[default]
    Threaded,
    /// On the calling thread, which it blocks. For a command that makes a call or two and ends.
    Direct,
}

/// The engine of one namespace in one epoch.
pub struct FsEngine {
    namespace: Namespace,
    epoch: Epoch,
    clock: Arc<dyn Clock>,
    durability: Durability,
    steps: Steps,
    /// Lets one read at a time onto the blocking threads: they share a connection.
    reading: Arc<Semaphore>,
}

enum Steps {
    Threaded(Writer),
    /// Opened by the first step: a command that only reads does without.
    Direct(Box<Mutex<Option<Committer>>>),
}

impl fmt::Debug for FsEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FsEngine")
            .field("namespace", &self.namespace.name())
            .field("epoch", &self.epoch)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

struct Lone(Call);

impl Request for Lone {
    fn call(&self) -> &Call {
        &self.0
    }
}

impl FsEngine {
    /// Opens the engine for an epoch, which the caller has read from the mode. Steps of any other epoch, or while this
    /// engine does not serve, are refused with `Fenced`.
    ///
    /// With [`Threading::Threaded`] reads need a tokio runtime.
    pub fn open(
        namespace: &Namespace,
        epoch: Epoch,
        clock: Arc<dyn Clock>,
        durability: Durability,
        threading: Threading,
    ) -> Result<Self> {
        let steps = match threading {
            Threading::Threaded => {
                let committer = Committer::open(namespace.clone(), Arc::clone(&clock), synced(durability))?;
                Steps::Threaded(Writer::start(committer, &namespace.files().database)?)
            }
            Threading::Direct => Steps::Direct(Box::default()),
        };
        let reading = Arc::new(Semaphore::new(1));
        Ok(Self { namespace: namespace.clone(), epoch, clock, durability, steps, reading })
    }

    /// What an acknowledged write survives.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// A copy of everything that is stored, in one snapshot.
    pub async fn dump(&self) -> Result<MemoryRows> {
        self.read(reads::dump).await
    }

    async fn read<T: Send + 'static>(&self, read: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        self.namespace.still_there()?;
        if let Steps::Direct(_) = self.steps {
            return read(&self.namespace.reader());
        }
        let gone = |_| Error::unavailable("the engine is closed");
        let permit = Arc::clone(&self.reading).acquire_owned().await.map_err(gone)?;
        let namespace = self.namespace.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read(&namespace.reader())
        });
        reading.await.unwrap_or_else(|e| Err(Error::backend("a read did not end", e)))
    }
}

fn synced(durability: Durability) -> Synced {
    match durability {
        Durability::Process => Synced::AtCheckpoints,
        Durability::Power => Synced::EachCommit,
    }
}

#[async_trait]
impl Engine for FsEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Files
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    async fn step(&self, call: Call) -> Result<Vec<u8>> {
        let committer = match &self.steps {
            Steps::Threaded(writer) => return writer.step(call).await,
            Steps::Direct(committer) => committer,
        };
        let mut slot = committer.lock().unwrap_or_else(PoisonError::into_inner);
        let committer = match &mut *slot {
            Some(committer) => committer,
            empty => {
                empty.insert(Committer::open(self.namespace.clone(), Arc::clone(&self.clock), synced(self.durability))?)
            }
        };
        let answered = committer.commit(Lone(call), || None);
        answered
            .into_iter()
            .map(|(_, answer)| answer)
            .next_back()
            .unwrap_or_else(|| Err(Error::unavailable("no answer")))
    }

    async fn fetch(&self, table: Table, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let keys = keys.to_vec();
        self.read(move |conn| reads::fetch(conn, table, &keys)).await
    }

    async fn blobs(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let names = names.to_vec();
        self.read(move |conn| reads::blobs(conn, &names)).await
    }

    async fn scan(&self, range: &Range, limit: usize) -> Result<Vec<Entry>> {
        let range = range.clone();
        self.read(move |conn| reads::scan(conn, &range, limit)).await
    }

    async fn state(&self) -> Result<(State, Reading)> {
        let state = self.read(reads::state).await?;
        Ok((state, self.clock.read()))
    }

    async fn events(&self, after: Csn, limit: usize) -> Result<Vec<Event>> {
        self.read(move |conn| reads::events(conn, after, limit)).await
    }
}
