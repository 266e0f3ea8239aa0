//! Approval workflows: an agent blocks until a person says yes.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::{Error, Result};
use crate::ids::{Id, IdPrefix};
use crate::limits;
use crate::op::{Blob, Op, Verb, sha256};
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
    /// Whether every vote must carry a signature.
    pub signed: bool,
    /// Until when, in milliseconds from now.
    pub expires_in: u64,
    /// User-level idempotency key, to attach to the same approval again.
    pub key: Option<String>,
    /// What is approved, as a digest; see [`RequestApproval::seal`].
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
            signed: false,
            expires_in: limits::APPROVAL_EXPIRY,
            key: None,
            digest: String::new(),
            has_payload: false,
            has_diff: false,
            payload: None,
            diff: None,
        }
    }

    /// Fills the digest: see [`digest`].
    #[must_use]
    pub fn seal(mut self) -> Self {
        self.has_payload = self.payload.is_some();
        self.has_diff = self.diff.is_some();
        let policy = (self.quorum, self.rejections, self.eligible.as_slice());
        let (payload, diff) = (self.payload.as_deref(), self.diff.as_deref());
        self.digest = digest((&self.action_type, &self.description), payload, diff, policy);
        self
    }
}

/// The SHA-256 of an action and of who decides about it: a change to either is another approval.
///
/// `action` is type and description, `policy` is quorum, rejections and eligible people. Each text goes in with its
/// length before it, as eight bytes, and one that is absent as eight bytes of ones.
#[must_use]
pub fn digest(
    action: (&str, &str),
    payload: Option<&str>,
    diff: Option<&str>,
    policy: (u32, u32, &[String]),
) -> String {
    let (quorum, rejections, eligible) = policy;
    let mut bytes = Vec::new();
    for part in [Some(action.0), Some(action.1), payload, diff] {
        push(&mut bytes, part);
    }
    bytes.extend_from_slice(&quorum.to_be_bytes());
    bytes.extend_from_slice(&rejections.to_be_bytes());
    for name in eligible {
        push(&mut bytes, Some(name));
    }
    sha256(&bytes)
}

fn push(bytes: &mut Vec<u8>, text: Option<&str>) {
    bytes.extend_from_slice(&text.map_or(u64::MAX, |t| t.len() as u64).to_be_bytes());
    bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
}

impl Verb for RequestApproval {
    const NAME: &'static str = "approval/request";
    type Reply = ApprovalRef;

    fn validate(&self) -> Result<()> {
        check::name("action_type", &self.action_type)?;
        check::line("description", &self.description, limits::NOTE_BYTES)?;
        check::range("quorum", self.quorum.into(), 1, limits::VOTERS as u64)?;
        check::range("rejections", self.rejections.into(), 1, limits::VOTERS as u64)?;
        if self.eligible.len() > limits::VOTERS {
            let given = format!("{} of them", self.eligible.len());
            return Err(Error::invalid("eligible", given, format!("at most {}", limits::VOTERS)));
        }
        self.eligible.iter().try_for_each(|name| check::person("eligible", name))?;
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

/// The outcome of a request, vote or cancel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRef {
    /// The approval's short id.
    pub key: String,
    /// Its state now.
    pub status: ApprovalStatus,
    /// True when the idempotency key named an approval that exists already.
    pub duplicate: bool,
}

/// The verdict, with the votes as they were counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumed {
    /// The approval's short id.
    pub key: String,
    /// Its state now.
    pub status: ApprovalStatus,
    /// True when this very call consumed an approved approval; it does so once.
    pub consumed: bool,
    /// Who asked.
    pub requested_by: String,
    /// What was decided about.
    pub digest: String,
    /// Until when it could be decided.
    pub expires_at: WallMs,
    /// The votes so far.
    pub votes: Vec<Vote>,
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
    /// The voter's signature on the verdict, as armored SSHSIG. It is stored and never looked into: who relies on the
    /// vote checks it.
    pub signature: Option<String>,
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
        check::note_opt("signature", self.signature.as_deref(), limits::SIGNATURE_BYTES)?;
        if self.signature.is_some() && self.digest.is_none() {
            return Err(Error::invalid("digest", "nothing", "what the signature is about"));
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
///
/// It is for the principal that asked, in whatever session, and for whoever names the idempotency key it was asked
/// under. Others look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumeApproval {
    /// The approval, by what was typed.
    pub approval: String,
    /// The idempotency key it was asked under, if the caller knows it.
    pub key: Option<String>,
}

impl Verb for ConsumeApproval {
    const NAME: &'static str = "approval/consume";
    type Reply = Consumed;

    fn validate(&self) -> Result<()> {
        IdPrefix::parse("approval", &self.approval).map(drop)?;
        self.key.as_ref().map_or(Ok(()), |key| check::line("key", key, limits::KEY_BYTES))
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
    /// The voter's signature, as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
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
    /// What is approved, as a digest; see [`digest`].
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
    /// Whether every vote must carry a signature.
    pub signed: bool,
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

impl ApprovalDetail {
    /// The digest of what is stored. Another one than the approval's own says that somebody has changed it since.
    #[must_use]
    pub fn digest(&self) -> String {
        let Approval { action_type, description, quorum, rejections, eligible, .. } = &self.approval;
        let policy = (*quorum, *rejections, eligible.as_slice());
        digest((action_type, description), self.payload.as_deref(), self.diff.as_deref(), policy)
    }
}

/// Whether two names, or two principals, are those of one person or agent: letter case is no difference between them.
#[must_use]
pub fn same_name(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
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
    /// - `agents_never_vote`; `requester_does_not_vote`; `one_vote_per_person`; `a_decided_approval_stays_decided`;
    ///   `an_approval_can_demand_signatures`.
    async fn vote(&self, op: Op<CastVote>) -> Result<ApprovalRef>;

    /// Calls it off.
    async fn cancel(&self, op: Op<CancelApproval>) -> Result<ApprovalRef>;

    /// Asks for the verdict and consumes it.
    ///
    /// # Behavior
    /// - `approval_is_consumed_once`; `only_who_asked_takes_the_verdict`; `expiry_is_not_rejection`.
    async fn consume(&self, op: Op<ConsumeApproval>) -> Result<Consumed>;

    /// Approvals in a state, oldest first; none: all.
    async fn list(&self, status: Option<ApprovalStatus>) -> Result<Vec<Approval>>;

    /// An approval by unique id prefix.
    async fn find(&self, id: &IdPrefix) -> Result<Approval>;

    /// An approval with the action's long parts.
    async fn show(&self, id: &IdPrefix) -> Result<ApprovalDetail>;
}
