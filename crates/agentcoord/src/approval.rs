//! Approvals as an agent uses them.

use std::future::IntoFuture;
use std::time::Duration;

use agentcoord_core::Result;
use agentcoord_core::approval::{ApprovalRef, ApprovalStatus, CancelApproval, RequestApproval};
use tokio::time::Instant;

use crate::client::{CoordinationClient, Holder, Pending, millis};

/// What came of an approval. Each case is distinct: a time-out is never a person's refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Yes; this call has consumed it, once.
    Approved,
    /// It was a yes, but an earlier call has consumed it.
    ConsumedBefore,
    /// A person said no.
    Rejected,
    /// Nobody decided in time.
    Expired,
    /// It was called off.
    Cancelled,
    /// Not decided yet.
    Pending,
}

impl From<&ApprovalRef> for Decision {
    fn from(answer: &ApprovalRef) -> Self {
        match answer.status {
            ApprovalStatus::Approved if answer.consumed => Self::Approved,
            ApprovalStatus::Approved => Self::ConsumedBefore,
            ApprovalStatus::Rejected => Self::Rejected,
            ApprovalStatus::Expired => Self::Expired,
            ApprovalStatus::Cancelled => Self::Cancelled,
            ApprovalStatus::Pending => Self::Pending,
        }
    }
}

impl CoordinationClient {
    /// Describes an approval of an action; awaiting it files the request. Then [`Approval::decision`] blocks.
    pub fn request_approval(
        &self,
        action_type: impl Into<String>,
        description: impl Into<String>,
    ) -> ApprovalBuilder<'_> {
        ApprovalBuilder { client: self, body: RequestApproval::new(action_type, description) }
    }

    /// Attaches to an approval that was requested before, by short id.
    #[must_use]
    pub fn approval(&self, id: impl Into<String>) -> Approval {
        Approval { holder: self.holder(), key: id.into() }
    }
}

/// An approval to be requested. Await it.
#[derive(Debug)]
#[must_use = "an approval is requested when it is awaited"]
pub struct ApprovalBuilder<'a> {
    client: &'a CoordinationClient,
    body: RequestApproval,
}

impl ApprovalBuilder<'_> {
    /// The exact action, as JSON text; part of what is approved.
    pub fn payload(mut self, payload: impl Into<String>) -> Self {
        self.body.payload = Some(payload.into());
        self
    }

    /// A diff to be shown to the voters; part of what is approved.
    pub fn diff(mut self, diff: impl Into<String>) -> Self {
        self.body.diff = Some(diff.into());
        self
    }

    /// How many people must say yes. Default: one.
    pub fn quorum(mut self, quorum: u32) -> Self {
        self.body.quorum = quorum;
        self
    }

    /// Until when it can be decided. Default: an hour.
    pub fn expires_in(mut self, expiry: Duration) -> Self {
        self.body.expires_in = millis(expiry);
        self
    }

    /// An idempotency key: the same key attaches to the same approval again.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.body.key = Some(key.into());
        self
    }
}

impl<'a> IntoFuture for ApprovalBuilder<'a> {
    type Output = Result<Approval>;
    type IntoFuture = Pending<'a, Approval>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let answer = self.client.run(self.body.seal()).await?;
            Ok(self.client.approval(answer.key))
        })
    }
}

/// A requested approval. It is durable: it outlives this handle, the process and the engine's restarts.
#[derive(Debug)]
pub struct Approval {
    holder: Holder,
    key: String,
}

impl Approval {
    /// The short id, for `agentcoord approve`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.key
    }

    /// Blocks until it is decided, expired or cancelled.
    ///
    /// # Errors
    /// `NotFound` for an unknown approval; `Unavailable` when the engine cannot be reached.
    ///
    /// # Cancel safety
    /// Cancel-safe: ask again.
    pub async fn decision(&self) -> Result<Decision> {
        self.decision_until(None).await
    }

    /// Blocks at most so long; then [`Decision::Pending`].
    ///
    /// # Errors
    /// As [`Approval::decision`].
    pub async fn decision_within(&self, wait: Duration) -> Result<Decision> {
        self.decision_until(Some(Instant::now() + wait)).await
    }

    async fn decision_until(&self, deadline: Option<Instant>) -> Result<Decision> {
        let answer = self.holder.connection.verdict(&self.holder.actor, &self.key, deadline).await?;
        Ok(Decision::from(&answer))
    }

    /// Calls it off.
    ///
    /// # Errors
    /// `WrongState` when it is decided already.
    pub async fn cancel(self) -> Result<()> {
        self.holder.connection.run(&self.holder.actor, CancelApproval { approval: self.key }).await.map(drop)
    }
}
