//! The port that an engine implements: run a step, and read rows.
//!
//! Two engines exist (Redis and the embedded file), and one in memory for tests and documentation. Everything that
//! users call is built on these few methods once, in [`crate::store`].

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;
use crate::ids::{Csn, Epoch, Id, Ticket};
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
    /// Look again at this ticket (`<client>-<request>`), approval, inbox or thread (see [`Channel::name`]).
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
    /// New messages for an address, such as `agent:ada`.
    Inbox(String),
    /// News of a thread, by key.
    Thread(String),
    /// New sessions, for whoever watches over processes.
    Keeper,
}

/// The topic of [`Channel::Keeper`].
pub const KEEPER: &str = "keeper";

impl Channel {
    /// The name of the channel: its topic, or the client whose tickets are its topics.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Client(client) => client.to_string(),
            Self::Approval(key) => format!("approval/{key}"),
            Self::Inbox(address) => format!("inbox/{address}"),
            Self::Thread(key) => format!("thread/{key}"),
            Self::Keeper => KEEPER.to_owned(),
        }
    }

    /// The channel on which a topic is told; none for one of a newer version.
    #[must_use]
    pub fn of(topic: &str) -> Option<Self> {
        match topic.split_once('/') {
            Some(("approval", key)) => Some(Self::Approval(key.to_owned())),
            Some(("inbox", address)) => Some(Self::Inbox(address.to_owned())),
            Some(("thread", key)) => Some(Self::Thread(key.to_owned())),
            Some(_) => None,
            None if topic == KEEPER => Some(Self::Keeper),
            None => Ticket::from(topic.to_owned()).client().parse().ok().map(Self::Client),
        }
    }
}

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

/// A log of events that can be followed as it grows. Whoever does not follow it pays nothing for those who do.
#[async_trait]
pub trait Feed: fmt::Debug + Send + Sync {
    /// Begins to follow: events that are appended from now on are told.
    ///
    /// # Errors
    /// `Unavailable` when the engine cannot be reached.
    async fn follow(&self) -> Result<Box<dyn Follower>>;
}

/// One who follows a log of events.
#[async_trait]
pub trait Follower: fmt::Debug + Send {
    /// Events after `csn`, oldest first, at most `limit`. Waits for the first; empty when none came for some seconds.
    ///
    /// # Errors
    /// `Unavailable` when the engine cannot be reached (any more); begin anew then.
    ///
    /// # Cancel safety
    /// Cancel-safe: the place in the log is the caller's.
    async fn next(&mut self, after: Csn, limit: usize) -> Result<Vec<Event>>;
}
