//! The audit log: append-only decisions and security facts.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::Result;
use crate::limits;
use crate::op::{Op, Verb};
use crate::task::Page;

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

/// A stored entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its place in the log.
    pub seq: u64,
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

    /// The sequence number of the last entry; 0 when there is none.
    async fn head(&self) -> Result<u64>;
}
