//! The audit log: append-only decisions and security facts.
//!
//! Whoever can write to the engine can change what is stored, so the log is sealed: a hash of every entry, over the
//! hash before it, is stored beside the entries ([`chain`]), and the last one outside of the engine. [`verify`] finds
//! what does not fit.

pub mod chain;
pub mod verify;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use self::verify::Place;
use crate::check;
use crate::error::{Error, Result};
use crate::limits;
use crate::op::{Op, Verb};
use crate::task::Page;
use crate::time::WallMs;

/// Appends an entry. Its bytes are encoded once, by the client, and never re-encoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendAudit {
    /// The entry as JSON text: `id`, `time`, `agent`, `decision_type`, `context`, `reason`, `details`.
    pub entry: String,
}

impl Verb for AppendAudit {
    const NAME: &'static str = "audit/append";
    type Reply = Appended;

    fn validate(&self) -> Result<()> {
        check::line("entry", &self.entry, limits::BLOB_BYTES)
    }
}

/// The outcome of an append.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// The entry's place in the log, contiguous from 1.
    pub seq: u64,
}

/// Adds seals to those that are there. Only AgentCoord itself does that, and people by their commands.
///
/// The engine looks at the place only; whether the hashes are right is found by [`verify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealAudit {
    /// How many entries are sealed already; when it is another number nothing happens.
    pub after: u64,
    /// The digits of the hashes of the entries that follow, one after the other, within one run of
    /// [`SEAL_RUN`](limits::SEAL_RUN).
    pub hashes: String,
}

impl Verb for SealAudit {
    const NAME: &'static str = "audit/seal";
    type Reply = Sealed;

    fn validate(&self) -> Result<()> {
        let room = limits::SEAL_RUN - self.after % limits::SEAL_RUN;
        let whole = self.hashes.len().is_multiple_of(chain::HASH_DIGITS) && self.hashes.bytes().all(chain::is_digit);
        if !whole || !(1..=room).contains(&self.count()) {
            let given = format!("{} digits after entry {}", self.hashes.len(), self.after);
            let allowed = format!("1 to {room} hashes of {} lower-case hex digits", chain::HASH_DIGITS);
            return Err(Error::invalid("hashes", given, allowed));
        }
        Ok(())
    }
}

impl SealAudit {
    /// How many entries it seals.
    #[must_use]
    pub fn count(&self) -> u64 {
        (self.hashes.len() / chain::HASH_DIGITS) as u64
    }
}

/// The outcome of a seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// How many entries are sealed now.
    pub sealed: u64,
}

/// How far the log and its seals go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Entries; also the sequence number of the last one.
    pub entries: u64,
    /// How many of them, from the first one on, are sealed.
    pub sealed: u64,
}

/// A stored entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its place in the log.
    pub seq: u64,
    /// Wall time of the engine when it was appended, in milliseconds since 1970.
    pub at: WallMs,
    /// The bytes as they were appended.
    pub entry: String,
}

/// The audit log. Nothing in it can be edited or deleted through this interface.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Appends an entry.
    ///
    /// # Behavior
    /// - `audit_sequence_has_no_gaps`.
    async fn append(&self, op: Op<AppendAudit>) -> Result<Appended>;

    /// Entries after `after`, oldest first, at most `limit`.
    async fn read(&self, after: u64, limit: usize) -> Result<Page<AuditEntry>>;

    /// How far the log and its seals go.
    async fn extent(&self) -> Result<Extent>;

    /// Adds seals.
    ///
    /// # Behavior
    /// - `seals_go_on_where_the_last_ones_ended`, `agents_do_not_seal`.
    async fn seal(&self, op: Op<SealAudit>) -> Result<Sealed>;

    /// What is stored from place `first` to `last`, right or wrong.
    async fn inspect(&self, first: u64, last: u64) -> Result<Vec<Place>>;
}
