//! The port that an engine implements: run a step, and read rows.
//!
//! Two engines exist (Redis and the embedded file), and one in memory for tests and documentation. Everything that
//! users call is built on these few methods once, in [`crate::store`].

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;
use crate::ids::{Csn, Epoch, Id};
use crate::op::Call;
use crate::record::{Event, State};
use crate::table::{Entry, Range, Table};
use crate::time::Reading;

/// What kind of engine answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// In this process' memory.
    Memory,
    /// Redis or Valkey.
    Redis,
    /// The embedded file.
    Files,
}

impl EngineKind {
    /// The kind as a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Files => "files",
        }
    }
}

/// A store that runs steps atomically.
#[async_trait]
pub trait Engine: fmt::Debug + Send + Sync + 'static {
    /// What kind it is.
    fn kind(&self) -> EngineKind;

    /// The epoch in which it was opened.
    fn epoch(&self) -> Epoch;

    /// Runs one mutation and returns its encoded [`Answer`](crate::op::Answer).
    ///
    /// # Errors
    /// `Unavailable` when it surely did not happen, `OutcomeUnknown` when it may have. Refusals of the rules are
    /// answers, not errors.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the outcome unknown.
    async fn step(&self, call: Call) -> Result<Vec<u8>>;

    /// Reads records by key, in the order asked.
    async fn fetch(&self, table: Table, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>>;

    /// Reads blobs by name, in the order asked.
    async fn blobs(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>>;

    /// Reads index entries in order, at most `limit`.
    async fn scan(&self, range: &Range, limit: usize) -> Result<Vec<Entry>>;

    /// Reads the shared state and the engine's clocks.
    async fn state(&self) -> Result<(State, Reading)>;

    /// Reads events after `csn`, oldest first, at most `limit`.
    async fn events(&self, after: Csn, limit: usize) -> Result<Vec<Event>>;
}

/// News for those who wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Look again at this ticket (`<client>-<request>`) or approval (`approval/<key>`).
    Topic(String),
    /// News may have been missed: look again at everything.
    Everything,
}

/// What a process wants to hear of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// The tickets of a client.
    Client(Id),
    /// An approval, by key.
    Approval(String),
    /// New sessions, for whoever watches over processes.
    Keeper,
}

/// The topic of [`Channel::Keeper`].
pub const KEEPER: &str = "keeper";

/// The topic under which a client hears of the end of a session that it has registered.
#[must_use]
pub fn end_of(session: &str, client: &Id) -> String {
    format!("{client}-{session}")
}

/// Where wake-ups are delivered. Called from the engine's own thread: it must not block.
pub type WakeSink = std::sync::Arc<dyn Fn(Wake) + Send + Sync>;

/// A source of wake-ups. A wake-up is a hint: state is in the store, and a lost one costs a bounded delay.
#[async_trait]
pub trait Wakes: fmt::Debug + Send + Sync {
    /// Begins to deliver; when it returns, no later news of the channel is missed.
    async fn subscribe(&self, channel: &Channel) -> Result<()>;

    /// Stops to deliver.
    async fn unsubscribe(&self, channel: &Channel) -> Result<()>;
}
