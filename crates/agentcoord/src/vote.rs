//! Votes: cast by people, and checked by whoever relies on them. What does not count is refused and audited.

use std::time::SystemTime;

use agentcoord_core::approval::{
    Approval, ApprovalRef, ApprovalStatus, CastVote, ConsumeApproval, Consumed, RequestApproval, Verdict, Vote,
};
use agentcoord_core::audit::AppendAudit;
use agentcoord_core::engine::Channel;
use agentcoord_core::ids::IdPrefix;
use agentcoord_core::op::Actor;
use agentcoord_core::store::Backend;
use agentcoord_core::time::WallMs;
use agentcoord_core::{Error, Result};
use serde_json::json;
use tokio::time::Instant;

use crate::approver::{Counting, Doubt, Roll, Terms};
use crate::audit::Entry;
use crate::connection::Connection;
use crate::wait::SAFETY;

/// A person's vote, before it is cast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ballot {
    /// Yes or no.
    pub verdict: Verdict,
    /// Why; a no needs it.
    pub note: Option<String>,
    /// The armored signature on [`crate::statement`].
    pub signature: Option<String>,
}

impl Ballot {
    /// A yes without a signature.
    #[must_use]
    pub fn approve() -> Self {
        Self { verdict: Verdict::Approve, note: None, signature: None }
    }

    /// A no without a signature.
    pub fn reject(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Reject, note: Some(reason.into()), signature: None }
    }

    /// The same with a signature.
    #[must_use]
    pub fn signed(self, signature: impl Into<String>) -> Self {
        Self { signature: Some(signature.into()), ..self }
    }
}

/// An approval that was asked for, as its requester knows it.
#[derive(Clone, Debug)]
pub struct Asked {
    key: String,
    idempotency_key: Option<String>,
    /// What must have been asked for, if the requester knows.
    digest: Option<String>,
    /// What was asked for; none: to be looked up and checked.
    terms: Option<Terms>,
}

impl Asked {
    /// An approval of which only the id is known, in full or a prefix that `approve` takes.
    #[must_use]
    pub fn known_as(id: impl Into<String>) -> Self {
        Self { key: id.into(), idempotency_key: None, digest: None, terms: None }
    }

    fn of(request: RequestApproval, answer: ApprovalRef) -> Self {
        // Under a key that was used before, the approval is another record than the one described here.
        let terms = (!answer.duplicate).then(|| Terms::from(&request));
        Self { key: answer.key, idempotency_key: request.key, digest: Some(request.digest), terms }
    }

    /// The short id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.key
    }
}

impl Connection {
    /// Asks for an approval. With approvers configured, every vote on it must be signed.
    ///
    /// # Errors
    /// As [`Connection::run`].
    pub async fn request_approval(&self, actor: &Actor, mut body: RequestApproval) -> Result<Asked> {
        body.signed |= self.config().approvers.is_some();
        let body = body.seal();
        let answer = self.run(actor, body.clone()).await?;
        Ok(Asked::of(body, answer))
    }

    /// Casts a person's vote on an approval as it was shown to them, and writes it to the audit log.
    ///
    /// With approvers configured, a vote that would not count is refused here: unsigned, or signed with a key that is
    /// not the person's, not valid now or revoked, or on something else. A refused vote is audited too.
    ///
    /// # Errors
    /// `Refused` naming why the vote does not count; `Invalid` for approvers that cannot be read; and as
    /// [`Connection::run`].
    pub async fn vote(&self, name: &str, approval: &Approval, ballot: Ballot) -> Result<ApprovalRef> {
        let actor = Actor::Human(name.to_owned());
        let cast = self.cast(&actor, name, approval, &ballot).await;
        if let Err(Error::Refused { policy, reason }) = &cast {
            let what = format!("{}: {}", approval.action_type, approval.description);
            let mut entry = Entry::new(format!("human:{name}"), "vote_refused", what, reason);
            entry.details = Some(json!({
                "approval": approval.id, "verdict": ballot.verdict, "digest": approval.digest, "policy": policy,
            }));
            self.run(&actor, AppendAudit { entry: entry.encode()? }).await?;
        }
        cast
    }

    async fn cast(&self, actor: &Actor, name: &str, approval: &Approval, ballot: &Ballot) -> Result<ApprovalRef> {
        let Ballot { verdict, note, signature } = ballot.clone();
        if let Some(approvers) = &self.config().approvers {
            let roll = approvers.read()?;
            let (terms, record) = (Terms::from(approval), (approval.expires_at, approval.requested_by.as_str()));
            let mut counting = Counting::new(&roll, self.namespace(), &terms, record, now());
            for earlier in &approval.votes {
                // What does not count is in nobody's way.
                drop(counting.add(earlier));
            }
            let by = format!("human:{name}");
            let vote = Vote { by, verdict, note: None, at: 0, signature: signature.clone() };
            counting.add(&vote).map_err(|doubt| refusal(&doubt, "the vote does not count"))?;
        }
        let what = format!("{}: {}", approval.action_type, approval.description);
        let word = match verdict {
            Verdict::Approve => "approved",
            Verdict::Reject => "rejected",
        };
        let mut entry = Entry::new(format!("human:{name}"), "approval", what, note.as_deref().unwrap_or(word));
        entry.details = Some(json!({
            "approval": approval.id,
            "verdict": verdict,
            "digest": approval.digest,
            "requested_by": approval.requested_by,
            "signed": signature.is_some(),
            "signature": signature,
        }));
        let (key, digest) = (approval.key.clone(), Some(approval.digest.clone()));
        self.run(actor, CastVote { approval: key, verdict, digest, note, signature, audit: entry.encode()? }).await
    }

    /// Why each vote on an approval does not count, in their order; none for those that count. None at all when no
    /// approvers are configured.
    ///
    /// # Errors
    /// `Invalid` for approvers that cannot be read.
    pub fn doubts(&self, approval: &Approval) -> Result<Option<Vec<Option<Doubt>>>> {
        let Some(approvers) = &self.config().approvers else { return Ok(None) };
        let roll = approvers.read()?;
        let (terms, record) = (Terms::from(approval), (approval.expires_at, approval.requested_by.as_str()));
        let mut counting = Counting::new(&roll, self.namespace(), &terms, record, now());
        Ok(Some(approval.votes.iter().map(|vote| counting.add(vote).err()).collect()))
    }

    /// Waits for the verdict on an approval, at most until `deadline`, and consumes it when it is a yes.
    ///
    /// Still `Pending` in the answer means that the deadline came first. With approvers configured, a verdict is
    /// answered only when enough votes for it count by their signatures; what the store says is not enough.
    ///
    /// # Errors
    /// `Refused` for an approval of somebody else, for a verdict that the signatures do not bear out, and for a content
    /// that has been changed; and as [`Connection::run`].
    ///
    /// # Cancel safety
    /// The approval stays; ask again. A yes that was consumed by a dropped call is answered as consumed before.
    pub async fn verdict(&self, actor: &Actor, asked: &Asked, deadline: Option<Instant>) -> Result<Consumed> {
        let Some(approvers) = &self.config().approvers else { return self.decided(actor, asked, deadline).await };
        let terms = self.terms(asked).await?;
        let answer = self.decided(actor, asked, deadline).await?;
        self.uphold(actor, &terms, &answer, &approvers.read()?).await?;
        Ok(answer)
    }

    /// What was asked for: as the requester knows it, or as it is stored, when that is sound.
    async fn terms(&self, asked: &Asked) -> Result<Terms> {
        if let Some(terms) = &asked.terms {
            return Ok(terms.clone());
        }
        let stored = self.store().await?.approvals().show(&IdPrefix::parse("approval", &asked.key)?).await?;
        let digest = stored.digest();
        if digest != stored.approval.digest || asked.digest.as_ref().is_some_and(|known| *known != digest) {
            let reason = format!("what is stored as approval {} is not what was asked for", asked.key);
            return Err(Error::Refused { policy: "digest_mismatch", reason });
        }
        Ok(Terms::from(&stored.approval))
    }

    /// Checks a verdict by its votes, and audits those that do not count.
    async fn uphold(&self, actor: &Actor, terms: &Terms, answer: &Consumed, roll: &Roll) -> Result<()> {
        let needed = match answer.status {
            ApprovalStatus::Approved => terms.quorum,
            ApprovalStatus::Rejected => terms.rejections,
            ApprovalStatus::Pending | ApprovalStatus::Expired | ApprovalStatus::Cancelled => return Ok(()),
        };
        let requester = match actor {
            Actor::Human(name) => format!("human:{name}"),
            Actor::Session(_) | Actor::System => answer.requested_by.clone(),
        };
        let mut counting = Counting::new(roll, self.namespace(), terms, (answer.expires_at, requester.as_str()), now());
        let mut doubts = Vec::new();
        for vote in &answer.votes {
            if let Err(doubt) = counting.add(vote) {
                doubts.push(format!("the vote of {}: {doubt}", vote.by));
                self.distrust(actor, terms, answer, vote, &doubt).await?;
            }
        }
        let (yes, no) = counting.result();
        let counted = if answer.status == ApprovalStatus::Approved { yes } else { no };
        if counted >= needed {
            return Ok(());
        }
        let (status, why) = (answer.status.word(), doubts.join("; "));
        let reason = format!("the store says {status}, but only {counted} of {needed} votes for that count ({why})");
        Err(Error::Refused { policy: "votes_not_verified", reason })
    }

    async fn distrust(
        &self,
        actor: &Actor,
        terms: &Terms,
        answer: &Consumed,
        vote: &Vote,
        doubt: &Doubt,
    ) -> Result<()> {
        let what = format!("the vote of {} on approval {}", vote.by, answer.key);
        let mut entry = Entry::new(answer.requested_by.as_str(), "vote_refused", what, doubt.to_string());
        entry.details = Some(json!({
            "approval": terms.id, "by": vote.by, "verdict": vote.verdict, "digest": terms.digest, "policy": doubt.word(),
        }));
        self.run(actor, AppendAudit { entry: entry.encode()? }).await.map(drop)
    }

    /// Waits for what the store says.
    async fn decided(&self, actor: &Actor, asked: &Asked, deadline: Option<Instant>) -> Result<Consumed> {
        let channel = Channel::Approval(asked.key.clone());
        let interest = self.news().listen(&format!("approval/{}", asked.key));
        let consume = || ConsumeApproval { approval: asked.key.clone(), key: asked.idempotency_key.clone() };
        let mut heard = None;
        loop {
            let answer = self.run(actor, consume()).await?;
            if answer.status != ApprovalStatus::Pending || deadline.is_some_and(|at| at <= Instant::now()) {
                if heard.is_some() && interest.is_alone() {
                    let connection = self.clone();
                    let leave = async move {
                        // To hear more is of no harm.
                        if let Ok(opened) = connection.opened().await {
                            drop(opened.wakes.unsubscribe(&channel).await);
                        }
                    };
                    match answer.status {
                        // Whoever waits on must not be unsubscribed behind its back.
                        ApprovalStatus::Pending => leave.await,
                        // Nobody listens to this again, and the answer need not wait for that.
                        _ => drop(tokio::spawn(leave)),
                    }
                }
                return Ok(answer);
            }
            let opened = self.opened().await?;
            if heard != Some(opened.serial) {
                opened.wakes.subscribe(&channel).await?;
                heard = Some(opened.serial);
                continue; // It may have been decided before we listened.
            }
            let pause = Instant::now() + SAFETY;
            tokio::select! {
                () = interest.changed() => {}
                () = tokio::time::sleep_until(deadline.map_or(pause, |at| at.min(pause))) => {}
            }
        }
    }
}

fn refusal(doubt: &Doubt, what: &str) -> Error {
    Error::Refused { policy: doubt.word(), reason: format!("{what}: {doubt}") }
}

fn now() -> WallMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
