//! Failures. Outcomes that a caller plans for (contended, nothing to claim, stale on `verify`) are values, not errors.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, RequestNo, Token};

/// The result of every call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any source error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The nouns that errors speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noun {
    /// A file lock.
    Lock,
    /// An agent.
    Agent,
    /// A session of an agent.
    Session,
    /// A task.
    Task,
    /// A board thread.
    Thread,
    /// An approval.
    Approval,
    /// An audit entry.
    Audit,
}

impl fmt::Display for Noun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lock => "lock",
            Self::Agent => "agent",
            Self::Session => "session",
            Self::Task => "task",
            Self::Thread => "thread",
            Self::Approval => "approval",
            Self::Audit => "audit entry",
        })
    }
}

/// What a failure says about the operation; decides whether and how to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It was refused; asking again in the same way gives the same answer.
    Permanent,
    /// It did not happen; it may be asked again later.
    Unavailable,
    /// Nobody knows whether it happened; ask again under the same request number only.
    OutcomeUnknown,
}

/// Everything that can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such record.
    #[error("no {noun} `{id}`")]
    NotFound {
        /// What was looked for.
        noun: Noun,
        /// What was given.
        id: String,
    },
    /// A field of the request is not acceptable; nothing was written.
    #[error("invalid {field}: {given} (allowed: {allowed})")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What was given, shortened.
        given: String,
        /// What is allowed.
        allowed: String,
    },
    /// A short id fits several records.
    #[error("{noun} `{prefix}` is ambiguous: {}", candidates.join(", "))]
    Ambiguous {
        /// What was looked for.
        noun: Noun,
        /// What was given.
        prefix: String,
        /// Some of the records that fit.
        candidates: Vec<String>,
    },
    /// Somebody else has it.
    #[error("{noun} `{id}` is held by {holder}")]
    Held {
        /// What is held.
        noun: Noun,
        /// Which one.
        id: String,
        /// The holder's name.
        holder: String,
    },
    /// Waiting would close a circle of agents that wait for each other; the request was not queued.
    #[error("waiting would be a deadlock: {}", crate::lock::circle(cycle))]
    Deadlock {
        /// Who waits for what: each for the next one, the last for the first, which is the caller.
        cycle: Vec<crate::lock::Waits>,
    },
    /// The record is in a state in which this cannot be done.
    #[error("{noun} `{id}` is {actual}, not {expected}")]
    WrongState {
        /// What it is.
        noun: Noun,
        /// Which one.
        id: String,
        /// The state it is in.
        actual: String,
        /// The state that is needed.
        expected: String,
    },
    /// A rule forbids it.
    #[error("refused: {reason}")]
    Refused {
        /// The rule, as a short snake_case word.
        policy: &'static str,
        /// The rule in a sentence.
        reason: String,
    },
    /// The caller's lease, claim or session is over; nothing was written.
    #[error("stale: {noun} `{id}` is no longer yours{}", owner.as_ref().map(|o| format!(", {o} has it now")).unwrap_or_default())]
    Stale {
        /// What was lost.
        noun: Noun,
        /// Which one.
        id: String,
        /// Who has it now, when somebody has.
        owner: Option<String>,
        /// The token that is current now.
        current: Option<Token>,
    },
    /// The request number fell out of the client's replay window; its outcome can no longer be told.
    #[error("request {request} is older than the replay window")]
    TooOld {
        /// The request.
        request: RequestNo,
    },
    /// The engine cannot be used now; the operation did not happen.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// Why, and what to do.
        reason: String,
        /// The cause.
        #[source]
        source: Option<BoxError>,
    },
    /// The store is in another epoch than the caller believes, or closed for a switch; nothing was written.
    #[error("the store is not in epoch {epoch} any more: {reason}")]
    Fenced {
        /// The epoch of the caller.
        epoch: Epoch,
        /// What was found instead.
        reason: String,
    },
    /// The operation was sent and no answer came.
    #[error("request {request} was sent but its outcome is unknown")]
    OutcomeUnknown {
        /// The request to ask again.
        request: RequestNo,
        /// The cause.
        #[source]
        source: Option<BoxError>,
    },
    /// A stored record cannot be read.
    #[error("stored record `{key}` is unreadable")]
    Corrupt {
        /// Table and key of the record.
        key: String,
        /// The cause.
        #[source]
        source: Option<BoxError>,
    },
    /// The engine failed in a way that is a fault of it or of ours.
    #[error("engine failure: {reason}")]
    Backend {
        /// What failed.
        reason: String,
        /// The cause.
        #[source]
        source: Option<BoxError>,
    },
}

impl Error {
    /// An [`Error::Invalid`], with the given value shortened so that it fits a line.
    pub fn invalid(field: &'static str, given: impl AsRef<str>, allowed: impl Into<String>) -> Self {
        Self::Invalid { field, given: shorten(given.as_ref()), allowed: allowed.into() }
    }

    /// An [`Error::NotFound`].
    pub fn not_found(noun: Noun, id: impl Into<String>) -> Self {
        Self::NotFound { noun, id: id.into() }
    }

    /// An [`Error::Unavailable`] without a cause.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), source: None }
    }

    /// An [`Error::Corrupt`] with its cause.
    pub fn corrupt(key: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Corrupt { key: key.into(), source: Some(source.into()) }
    }

    /// An [`Error::Backend`] with its cause.
    pub fn backend(reason: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Backend { reason: reason.into(), source: Some(source.into()) }
    }

    /// Whether the operation was refused, did not happen, or may have happened.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Unavailable { .. } | Self::Fenced { .. } => Disposition::Unavailable,
            Self::OutcomeUnknown { .. } => Disposition::OutcomeUnknown,
            Self::NotFound { .. }
            | Self::Invalid { .. }
            | Self::Ambiguous { .. }
            | Self::Held { .. }
            | Self::Deadlock { .. }
            | Self::WrongState { .. }
            | Self::Refused { .. }
            | Self::Stale { .. }
            | Self::TooOld { .. }
            | Self::Corrupt { .. }
            | Self::Backend { .. } => Disposition::Permanent,
        }
    }
}

/// Makes text fit an error line: at most 60 characters, control characters escaped, quoted.
fn shorten(text: &str) -> String {
    let mut out: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        out.push('…');
    }
    format!("`{out}`")
}

/// A refusal as the rules give it, in both dialects: data that travels, later an [`Error`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// See [`Error::NotFound`].
    NotFound {
        /// What was looked for.
        noun: Noun,
        /// What was given.
        id: String,
    },
    /// See [`Error::Held`].
    Held {
        /// What is held.
        noun: Noun,
        /// Which one.
        id: String,
        /// The holder's name.
        holder: String,
    },
    /// See [`Error::WrongState`].
    WrongState {
        /// What it is.
        noun: Noun,
        /// Which one.
        id: String,
        /// The state it is in.
        actual: String,
        /// The state that is needed.
        expected: String,
    },
    /// See [`Error::Refused`]; the reason text is [`Policy::reason`].
    Policy {
        /// The rule.
        policy: Policy,
        /// What broke it, where the caller would have to guess.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        about: Option<String>,
    },
    /// See [`Error::Stale`].
    Stale {
        /// What was lost.
        noun: Noun,
        /// Which one.
        id: String,
        /// Who has it now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
        /// The token that is current now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        current: Option<Token>,
    },
    /// See [`Error::TooOld`].
    TooOld {
        /// The request.
        request: RequestNo,
    },
    /// The request number was used before with another body.
    Reused {
        /// The request.
        request: RequestNo,
    },
}

/// The rules that refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Only people vote on approvals and evict agents.
    HumansOnly,
    /// A person who requested an approval cannot vote on it.
    OwnRequest,
    /// The approval names who may vote, and the voter is not among them.
    NotEligible,
    /// One vote per principal.
    AlreadyVoted,
    /// The approval takes signed votes only.
    Unsigned,
    /// The verdict is for who asked, or knows the key it was asked under.
    NotRequester,
    /// The action shown to the voter is not the action that waits.
    DigestMismatch,
    /// An idempotency key was used before with other content.
    KeyReused,
    /// The agent lacks a capability that the task requires.
    NotCapable,
    /// A numbered resource (token, sequence) has run out.
    Exhausted,
    /// The operation needs a registered session.
    NoSession,
    /// The id is taken by another record.
    IdTaken,
    /// A lane that shares a path cannot take it for itself.
    LockUpgrade,
    /// Too many locks and waiters stand in the way of a request to tell whether it may wait, or too many combinations of
    /// capabilities would have to be looked at for a claim.
    TooComplex,
    /// Only people revoke locks.
    RevokeHumansOnly,
    /// Agents do not seal the audit log.
    SealedByNoAgent,
    /// Only AgentCoord itself settles the requests of others.
    SystemOnly,
}

impl Policy {
    /// The refusal that names what broke the rule.
    pub(crate) fn about(self, what: &str) -> Refusal {
        Refusal::Policy { policy: self, about: Some(what.to_owned()) }
    }

    /// The rule as a snake_case word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::HumansOnly => "humans_only",
            Self::OwnRequest => "own_request",
            Self::NotEligible => "not_eligible",
            Self::AlreadyVoted => "already_voted",
            Self::Unsigned => "unsigned",
            Self::NotRequester => "not_requester",
            Self::DigestMismatch => "digest_mismatch",
            Self::KeyReused => "key_reused",
            Self::NotCapable => "not_capable",
            Self::Exhausted => "exhausted",
            Self::NoSession => "no_session",
            Self::IdTaken => "id_taken",
            Self::LockUpgrade => "lock_upgrade",
            Self::TooComplex => "too_complex",
            Self::RevokeHumansOnly => "revoke_humans_only",
            Self::SealedByNoAgent => "sealed_by_no_agent",
            Self::SystemOnly => "system_only",
        }
    }

    /// The rule in a sentence.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::HumansOnly => "only people do this; an agent never does, under any name",
            Self::OwnRequest => "whoever requested an approval cannot vote on it",
            Self::NotEligible => "this approval names who may vote, and you are not among them",
            Self::AlreadyVoted => "this person has voted on it already; one vote per person",
            Self::Unsigned => "this approval takes signed votes only; sign it with `agentcoord approve`",
            Self::NotRequester => {
                "the verdict is for who asked, or who names the key it was asked under; look at it instead"
            }
            Self::DigestMismatch => "the action has another digest than the one that waits; look at it again",
            Self::KeyReused => "this idempotency key was used before for something else",
            Self::NotCapable => "the task requires a capability that this agent did not register",
            Self::Exhausted => "the fencing tokens of this epoch are used up; switch the engine to begin a new epoch",
            Self::NoSession => "this operation needs a registered agent",
            Self::IdTaken => "this id belongs to another record already",
            Self::LockUpgrade => "a shared lock does not become an exclusive one: release it first, then ask for it",
            Self::TooComplex => {
                "too much would have to be looked at; ask for fewer paths or do not wait for them, claim a task by its id"
            }
            Self::RevokeHumansOnly => "only people revoke locks; an agent asks the holder, or a person",
            Self::SealedByNoAgent => "agents do not seal the audit log; AgentCoord does it by itself",
            Self::SystemOnly => "only AgentCoord itself settles the requests of processes that have ended",
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound { noun, id } => Self::NotFound { noun, id },
            Refusal::Held { noun, id, holder } => Self::Held { noun, id, holder },
            Refusal::WrongState { noun, id, actual, expected } => Self::WrongState { noun, id, actual, expected },
            Refusal::Policy { policy, about } => {
                let about = about.map(|what| format!(": `{what}`")).unwrap_or_default();
                Self::Refused { policy: policy.word(), reason: format!("{}{about}", policy.reason()) }
            }
            Refusal::Stale { noun, id, owner, current } => Self::Stale { noun, id, owner, current },
            Refusal::TooOld { request } => Self::TooOld { request },
            Refusal::Reused { request } => Self::Refused {
                policy: "request_reused",
                reason: format!("request {request} was used before with another body"),
            },
        }
    }
}
