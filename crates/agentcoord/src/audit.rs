//! The audit log: entries, which are encoded once, here, and never again; their seals, and the verification of both.

mod anchor;
mod seal;
mod verify;

use std::time::SystemTime;

use agentcoord_core::audit::AppendAudit;
use agentcoord_core::ids::Id;
use agentcoord_core::{Error, Result};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use self::anchor::{Anchor, MARK, anchor};
pub use self::seal::{head, seal};
pub use self::verify::{Report, verify};
use crate::client::CoordinationClient;
use crate::connection::Connection;

/// An entry of the audit log, as its JSON text holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// A random id.
    pub id: Id,
    /// When, RFC 3339 in UTC, by the clock of whoever wrote it.
    pub time: String,
    /// Who: `agent:<name>`, `human:<name>` or `system`.
    pub agent: String,
    /// What kind of decision or fact.
    pub decision_type: String,
    /// What it is about.
    pub context: String,
    /// Why.
    pub reason: String,
    /// Free-form facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
}

impl Entry {
    /// An entry of now.
    pub fn new(
        agent: impl Into<String>,
        kind: impl Into<String>,
        context: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        let now = OffsetDateTime::from(SystemTime::now());
        Self {
            id: Id::random(),
            time: now.format(&Rfc3339).unwrap_or_default(),
            agent: agent.into(),
            decision_type: kind.into(),
            context: context.into(),
            reason: reason.into(),
            details: None,
        }
    }

    /// The entry for a task that its worker has failed for good.
    #[must_use]
    pub fn dead_letter(agent: &str, task: &str, title: &str, reason: &str) -> Self {
        Self::new(format!("agent:{agent}"), "dead_letter", format!("task {task}: {title}"), reason)
    }

    /// The bytes that go into the log.
    ///
    /// # Errors
    /// `Invalid` for empty fields.
    pub fn encode(&self) -> Result<String> {
        for (field, text) in
            [("decision_type", &self.decision_type), ("context", &self.context), ("reason", &self.reason)]
        {
            if text.trim().is_empty() {
                return Err(Error::invalid(field, text, "some text"));
            }
        }
        serde_json::to_string(self).map_err(|e| Error::backend("an audit entry cannot be encoded", e))
    }

    /// Reads an entry back.
    ///
    /// # Errors
    /// `Corrupt` when the text is no entry.
    pub fn decode(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|e| Error::corrupt("audit entry", e))
    }
}

impl CoordinationClient {
    /// Logs a decision. Returns its place in the log.
    ///
    /// # Errors
    /// `Invalid` for empty fields.
    pub async fn log_decision(
        &self,
        decision_type: impl Into<String> + Send,
        context: impl Into<String> + Send,
        reason: impl Into<String> + Send,
    ) -> Result<u64> {
        let entry = Entry::new(format!("agent:{}", self.name()), decision_type, context, reason).encode()?;
        Ok(self.run(AppendAudit { entry }).await?.seq)
    }
}
