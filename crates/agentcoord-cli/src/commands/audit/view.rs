//! An audit entry as answers show it.

use agentcoord::Error;
use agentcoord::audit::{self, Entry};
use agentcoord::core::audit::{AuditEntry, AuditLog, Extent};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::context::Context;
use crate::error::CliError;
use crate::output::{Page, Render, Stamp, ago};

/// An entry.
#[derive(Clone, Debug, Serialize)]
pub(super) struct EntryView {
    /// Its place in the log.
    pub(super) seq: u64,
    id: String,
    /// When, as its writer wrote it.
    pub(super) time: String,
    /// Who: `agent:<name>`, `human:<name>` or `system`.
    pub(super) agent: String,
    /// What kind.
    pub(super) decision_type: String,
    /// What about.
    pub(super) context: String,
    /// Why.
    pub(super) reason: String,
    details: Option<Value>,
}

impl EntryView {
    /// Reads a stored entry.
    ///
    /// # Errors
    /// `CORRUPT` for what is no entry.
    pub(super) fn read(stored: &AuditEntry) -> Result<Self, CliError> {
        let entry = Entry::decode(&stored.entry).map_err(|error| {
            let error = CliError::from(error);
            CliError { message: format!("audit entry {}: {}", stored.seq, error.message), ..error }
        })?;
        Ok(Self {
            seq: stored.seq,
            id: entry.id.to_string(),
            time: entry.time,
            agent: entry.agent,
            decision_type: entry.decision_type,
            context: entry.context,
            reason: entry.reason,
            details: entry.details,
        })
    }

    /// When, in wall time; none when the writer wrote no time.
    pub(super) fn at(&self) -> Option<Stamp> {
        let at = OffsetDateTime::parse(&self.time, &Rfc3339).ok()?;
        u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok().map(Stamp)
    }

    /// When, for people.
    pub(super) fn when(&self) -> String {
        self.at().map_or_else(|| self.time.clone(), ago)
    }
}

/// Entries that one command seals on its way.
const SHARE: u64 = 1_024;

/// The command's share of sealing. What is left is for the keeper, or the next command.
///
/// A log that cannot be sealed can still be written and read; `audit verify` says what is wrong with it.
///
/// # Errors
/// When the engine cannot be reached.
pub(super) async fn share(context: &Context) -> Result<Extent, CliError> {
    let connection = context.connection().await?;
    match audit::seal(connection, SHARE).await {
        Ok(extent) => Ok(extent),
        Err(Error::Corrupt { .. }) => Ok(connection.store().await?.extent().await?),
        Err(error) => Err(error.into()),
    }
}

/// One entry.
#[derive(Debug, Serialize)]
pub(crate) struct OneEntry {
    /// The entry.
    pub(super) entry: EntryView,
}

impl Render for OneEntry {
    fn table(&self, page: &mut Page) {
        page.line(format!("{}  {}: {}", self.entry.seq, self.entry.decision_type, self.entry.context));
    }

    fn ids(&self) -> Vec<String> {
        vec![self.entry.seq.to_string()]
    }
}
