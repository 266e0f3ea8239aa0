//! Approvals as an agent uses them.

use std::future::IntoFuture;
use std::time::Duration;

use agentcoord_core::Result;
use agentcoord_core::approval::{ApprovalStatus, CancelApproval, Consumed, RequestApproval};
use agentcoord_core::ids::IdPrefix;
use agentcoord_core::store::Backend;
use tokio::time::Instant;

use crate::client::{CoordinationClient, Holder, Pending, millis};
use crate::vote::Asked;

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

impl From<&Consumed> for Decision {
    fn from(answer: &Consumed) -> Self {
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

    /// Attaches to an approval that was requested before, by id: after a restart, for one that this agent, by its name,
    /// has asked for. To attach whatever the name, request it again under its idempotency key.
    #[must_use]
    pub fn approval(&self, id: impl Into<String>) -> Approval {
        Approval { holder: self.holder(), asked: Asked::known_as(id) }
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

    /// How many people must say no to end it. Default: one.
    pub fn rejections(mut self, rejections: u32) -> Self {
        self.body.rejections = rejections;
        self
    }

    /// Somebody who may vote; may be called several times. Default: anybody.
    pub fn eligible(mut self, name: impl Into<String>) -> Self {
        self.body.eligible.push(name.into());
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
            let holder = self.client.holder();
            let asked = holder.connection.request_approval(&holder.actor, self.body).await?;
            Ok(Approval { holder, asked })
        })
    }
}

/// A requested approval. It is durable: it outlives this handle, the process and the engine's restarts.
#[derive(Debug)]
pub struct Approval {
    holder: Holder,
    asked: Asked,
}

impl Approval {
    /// The short id, for `agentcoord approve`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.asked.id()
    }

    /// What is stored of it now, as people see it.
    ///
    /// # Errors
    /// `NotFound` for an unknown approval; `Unavailable` when the engine cannot be reached.
    pub async fn look(&self) -> Result<agentcoord_core::approval::Approval> {
        let id = IdPrefix::parse("approval", self.id())?;
        self.holder.connection.store().await?.approvals().find(&id).await
    }

    /// Blocks until it is decided, expired or cancelled.
    ///
    /// With approvers configured, a verdict is answered only when enough votes for it count by their signatures.
    ///
    /// # Errors
    /// `NotFound` for an unknown approval; `Refused` for somebody else's, and for a verdict that the signatures do not
    /// bear out; `Unavailable` when the engine cannot be reached.
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
        let answer = self.holder.connection.verdict(&self.holder.actor, &self.asked, deadline).await?;
        Ok(Decision::from(&answer))
    }

    /// Calls it off.
    ///
    /// # Errors
    /// `WrongState` when it is decided already.
    pub async fn cancel(self) -> Result<()> {
        let body = CancelApproval { approval: self.asked.id().to_owned() };
        self.holder.connection.run(&self.holder.actor, body).await.map(drop)
    }
}
