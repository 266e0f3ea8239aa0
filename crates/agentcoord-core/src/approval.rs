//! Approval workflows: an agent blocks until a person says yes.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::{Error, Result};
use crate::ids::{Id, IdPrefix};
use crate::limits;
use crate::op::{Blob, Op, Verb};
use crate::time::WallMs;

/// The state of an approval. The last four are final and distinct: a time-out is never a person's refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalStatus {
    /// Waits for votes.
    Pending,
    /// Enough people said yes.
    Approved,
    /// Enough people said no.
    Rejected,
    /// Nobody decided in time.
    Expired,
    /// Called off by the requester.
    Cancelled,
}

impl ApprovalStatus {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Approved, Self::Rejected, Self::Expired, Self::Cancelled];

    /// The state as a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a person says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Yes.
    Approve,
    /// No.
    Reject,
}

/// Asks people to approve an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestApproval {
    /// The approval's id, made by the client.
    pub id: Id,
    /// The kind of action, as in "deployment".
    pub action_type: String,
    /// What is to be done, in one paragraph.
    pub description: String,
    /// Votes for yes that are needed.
    pub quorum: u32,
    /// Votes for no that end it.
    pub rejections: u32,
    /// Names of the people who may vote; empty: anybody.
    pub eligible: Vec<String>,
    /// Until when, in milliseconds from now.
    pub expires_in: u64,
    /// User-level idempotency key, to attach to the same approval again.
    pub key: Option<String>,
    /// SHA-256 over the exact action; a changed action has another digest. See [`RequestApproval::seal`].
    pub digest: String,
    /// Whether a payload is stored beside it.
    pub has_payload: bool,
    /// Whether a diff is stored beside it.
    pub has_diff: bool,
    /// JSON text; stored as a blob.
    #[serde(skip)]
    pub payload: Option<String>,
    /// A diff to be shown to the voters; stored as a blob.
    #[serde(skip)]
    pub diff: Option<String>,
}

impl RequestApproval {
    /// A request with defaults: one vote decides, anybody may vote, an hour to decide.
    #[must_use]
    pub fn new(action_type: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            id: Id::random(),
            action_type: action_type.into(),
            description: description.into(),
            quorum: 1,
            rejections: 1,
            eligible: Vec::new(),
            expires_in: limits::APPROVAL_EXPIRY,
            key: None,
            digest: String::new(),
            has_payload: false,
            has_diff: false,
            payload: None,
            diff: None,
        }
    }

    /// Fills the digest over type, description, payload and diff (each with its length before it).
    #[must_use]
    pub fn seal(mut self) -> Self {
        self.has_payload = self.payload.is_some();
        self.has_diff = self.diff.is_some();
        let mut action = Vec::new();
        for part in [Some(&self.action_type), Some(&self.description), self.payload.as_ref(), self.diff.as_ref()] {
            let length = part.map_or(u64::MAX, |p| p.len() as u64);
            action.extend_from_slice(&length.to_be_bytes());
            action.extend_from_slice(part.map_or(b"", |p| p.as_bytes()));
        }
        self.digest = crate::op::sha256(&action);
        self
    }
}

impl Verb for RequestApproval {
    const NAME: &'static str = "approval/request";
    type Reply = ApprovalRef;

    fn validate(&self) -> Result<()> {
        check::name("action_type", &self.action_type)?;
        check::line("description", &self.description, limits::NOTE_BYTES)?;
        check::range("quorum", self.quorum.into(), 1, limits::VOTERS as u64)?;
        check::range("rejections", self.rejections.into(), 1, limits::VOTERS as u64)?;
        check::names("eligible", &self.eligible, limits::VOTERS)?;
        if !self.eligible.is_empty() && (self.quorum as usize) > self.eligible.len() {
            return Err(Error::invalid("quorum", self.quorum.to_string(), "at most the number of eligible people"));
        }
        check::duration("timeout", Some(self.expires_in))?;
        if let Some(key) = &self.key {
            check::line("key", key, limits::KEY_BYTES)?;
        }
        if self.digest.len() != 64 {
            return Err(Error::invalid("digest", &self.digest, "a sealed request"));
        }
        check::blob("payload", self.payload.as_deref().map(str::as_bytes))?;
        check::blob("diff", self.diff.as_deref().map(str::as_bytes))
    }

    fn blobs(&self) -> Vec<Blob> {
        let fields = [("payload", &self.payload), ("diff", &self.diff)];
        fields
            .iter()
            .filter_map(|(field, text)| text.as_ref().map(|t| Blob::new("approval", &self.id, field, t.as_bytes())))
            .collect()
    }
}

/// The outcome of a request, vote, cancel or consume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRef {
    /// The approval's short id.
    pub key: String,
    /// Its state now.
    pub status: ApprovalStatus,
    /// True when the idempotency key named an approval that exists already.
    pub duplicate: bool,
    /// True when this very call consumed an approved approval; it does so once.
    pub consumed: bool,
}

/// A person's vote. The actor must be human.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CastVote {
    /// The approval, by what was typed.
    pub approval: String,
    /// Yes or no.
    pub verdict: Verdict,
    /// The digest of the action that the voter saw; none: not checked.
    pub digest: Option<String>,
    /// Why.
    pub note: Option<String>,
    /// The audit entry of this vote, as the client encoded it.
    pub audit: String,
}

impl Verb for CastVote {
    const NAME: &'static str = "approval/vote";
    type Reply = ApprovalRef;

    fn validate(&self) -> Result<()> {
        IdPrefix::parse("approval", &self.approval)?;
        check::note_opt("note", self.note.as_deref(), limits::NOTE_BYTES)?;
        if self.verdict == Verdict::Reject && self.note.as_deref().is_none_or(|n| n.trim().is_empty()) {
            return Err(Error::invalid("reason", "nothing", "why it is rejected"));
        }
        check::note("audit", &self.audit, limits::BLOB_BYTES)
    }
}

/// Calls a pending approval off; only its requester may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelApproval {
    /// The approval, by what was typed.
    pub approval: String,
}

impl Verb for CancelApproval {
    const NAME: &'static str = "approval/cancel";
    type Reply = ApprovalRef;

    fn validate(&self) -> Result<()> {
        IdPrefix::parse("approval", &self.approval).map(drop)
    }
}

/// Asks for the verdict; an approved approval is consumed by the call that returns it, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumeApproval {
    /// The approval, by what was typed.
    pub approval: String,
}

impl Verb for ConsumeApproval {
    const NAME: &'static str = "approval/consume";
    type Reply = ApprovalRef;

    fn validate(&self) -> Result<()> {
        IdPrefix::parse("approval", &self.approval).map(drop)
    }
}

/// A vote as it was cast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The voter, `human:<name>`.
    pub by: String,
    /// Yes or no.
    pub verdict: Verdict,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When.
    pub at: WallMs,
}

/// An approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Its id.
    pub id: Id,
    /// Its short id.
    pub key: String,
    /// The kind of action.
    pub action_type: String,
    /// What is to be done.
    pub description: String,
    /// SHA-256 over the exact action.
    pub digest: String,
    /// Its state.
    pub status: ApprovalStatus,
    /// Who asked: `agent:<name>` or `human:<name>`.
    pub requested_by: String,
    /// When.
    pub requested_at: WallMs,
    /// Until when.
    pub expires_at: WallMs,
    /// Votes for yes that are needed.
    pub quorum: u32,
    /// Votes for no that end it.
    pub rejections: u32,
    /// Who may vote; empty: anybody.
    pub eligible: Vec<String>,
    /// The votes so far.
    pub votes: Vec<Vote>,
    /// When it was decided.
    pub decided_at: Option<WallMs>,
    /// True when the approved action has been taken up.
    pub consumed: bool,
}

impl Approval {
    /// The vote that decided it, when it was decided by votes.
    #[must_use]
    pub fn deciding_vote(&self) -> Option<&Vote> {
        matches!(self.status, ApprovalStatus::Approved | ApprovalStatus::Rejected).then(|| self.votes.last()).flatten()
    }
}

/// An approval with the action's long parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalDetail {
    /// The approval.
    pub approval: Approval,
    /// JSON text.
    pub payload: Option<String>,
    /// A diff.
    pub diff: Option<String>,
}

/// Approval workflows.
#[async_trait]
pub trait ApprovalWorkflow: Send + Sync {
    /// Asks for an approval.
    ///
    /// # Behavior
    /// - `request_with_the_same_key_attaches_again`; with another action it is refused.
    async fn request(&self, op: Op<RequestApproval>) -> Result<ApprovalRef>;

    /// Casts a person's vote.
    ///
    /// # Behavior
    /// - `agents_never_vote`; `requester_does_not_vote`; `one_vote_per_person`; `a_decided_approval_stays_decided`.
    async fn vote(&self, op: Op<CastVote>) -> Result<ApprovalRef>;

    /// Calls it off.
    async fn cancel(&self, op: Op<CancelApproval>) -> Result<ApprovalRef>;

    /// Asks for the verdict and consumes it.
    ///
    /// # Behavior
    /// - `approval_is_consumed_once`; `expiry_is_not_rejection`.
    async fn consume(&self, op: Op<ConsumeApproval>) -> Result<ApprovalRef>;

    /// Approvals in a state, oldest first; none: all.
    async fn list(&self, status: Option<ApprovalStatus>) -> Result<Vec<Approval>>;

    /// An approval by unique id prefix.
    async fn find(&self, id: &IdPrefix) -> Result<Approval>;

    /// An approval with the action's long parts.
    async fn show(&self, id: &IdPrefix) -> Result<ApprovalDetail>;
}
