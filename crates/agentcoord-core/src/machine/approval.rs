//! Rules of approvals: people vote, agents wait.

use crate::approval::{
    ApprovalRef, ApprovalStatus, CancelApproval, CastVote, ConsumeApproval, Consumed, RequestApproval, Verdict, Vote,
    same_name,
};
use crate::error::{Noun, Policy, Refusal};
use crate::limits;
use crate::machine::audit;
use crate::machine::rows::Rows;
use crate::machine::step::{Ruled, Step};
use crate::op::Actor;
use crate::record::{ApprovalRecord, KeyRecord};

pub(super) fn request<R: Rows>(step: &mut Step<'_, R>, body: RequestApproval) -> Ruled<ApprovalRef> {
    let requested_by = step.principal()?;
    let idempotency = body.key.as_ref().map(|k| format!("approval/{k}"));
    if let Some(known) = step.known(idempotency.as_deref(), &body.digest)? {
        let status = step.get::<ApprovalRecord>(&known.key)?.map_or(ApprovalStatus::Expired, |a| a.status);
        return Ok(ApprovalRef { key: known.key, status, duplicate: true });
    }
    let key = step.free_key::<ApprovalRecord>(&body.id, |a| &a.id)?;
    let session = match &step.call.actor {
        Actor::Session(id) => Some(id.clone()),
        Actor::Human(_) | Actor::System => None,
    };
    let approval = ApprovalRecord {
        id: body.id,
        seq: step.next_seq(),
        action_type: body.action_type,
        description: body.description,
        digest: body.digest.clone(),
        status: ApprovalStatus::Pending,
        requested_by,
        requested_at: step.wall,
        expires_at: step.wall + body.expires_in,
        quorum: body.quorum,
        rejections: body.rejections,
        eligible: body.eligible,
        votes: Vec::new(),
        session,
        key: body.key,
        has_payload: body.has_payload.then_some(true),
        has_diff: body.has_diff.then_some(true),
        signed: body.signed.then_some(true),
        decided_at: None,
        consumed_at: None,
    };
    step.put(&key, &approval)?;
    if let Some(idempotency) = idempotency {
        let expires_at = step.wall + limits::KEY_TTL.max(body.expires_in);
        step.put(&idempotency, &KeyRecord { key: key.clone(), digest: body.digest, expires_at })?;
    }
    Ok(answer(key, &approval))
}

fn answer(key: String, approval: &ApprovalRecord) -> ApprovalRef {
    ApprovalRef { key, status: approval.status, duplicate: false }
}

pub(super) fn vote<R: Rows>(step: &mut Step<'_, R>, body: CastVote) -> Ruled<ApprovalRef> {
    let Actor::Human(name) = step.call.actor.clone() else {
        return Err(Policy::HumansOnly.into());
    };
    let by = format!("human:{name}");
    let (key, mut approval) = step.resolve::<ApprovalRecord>(Noun::Approval, &body.approval, |a| &a.id)?;
    if same_name(&approval.requested_by, &by) {
        return Err(Policy::OwnRequest.into());
    }
    if approval.votes.iter().any(|v| same_name(&v.by, &by)) && approval.status == ApprovalStatus::Pending {
        return Err(Policy::AlreadyVoted.into());
    }
    pending(step, &key, &approval)?;
    if !approval.eligible.is_empty() && !approval.eligible.iter().any(|known| same_name(known, &name)) {
        return Err(Policy::NotEligible.into());
    }
    if approval.signed == Some(true) && body.signature.is_none() {
        return Err(Policy::Unsigned.into());
    }
    if body.digest.as_ref().is_some_and(|d| *d != approval.digest) {
        return Err(Policy::DigestMismatch.into());
    }
    let CastVote { verdict, note, signature, .. } = body;
    approval.votes.push(Vote { by, verdict, note, at: step.wall, signature });
    let cast = |verdict| approval.votes.iter().filter(|v| v.verdict == verdict).count();
    if cast(Verdict::Reject) >= approval.rejections as usize {
        decide(step, &key, &mut approval, ApprovalStatus::Rejected);
    } else if cast(Verdict::Approve) >= approval.quorum as usize {
        decide(step, &key, &mut approval, ApprovalStatus::Approved);
    }
    step.put(&key, &approval)?;
    audit::record(step, body.audit)?;
    Ok(answer(key, &approval))
}

/// Refuses what comes after the decision, and after the time to decide: one step settles only a few due items, so an
/// approval whose time is over may still be stored as pending.
fn pending<R: Rows>(step: &Step<'_, R>, key: &str, approval: &ApprovalRecord) -> Ruled<()> {
    let status = if is_overdue(step, approval) { ApprovalStatus::Expired } else { approval.status };
    if status == ApprovalStatus::Pending {
        return Ok(());
    }
    let (actual, expected) = (status.word().to_owned(), ApprovalStatus::Pending.word().to_owned());
    Err(Refusal::WrongState { noun: Noun::Approval, id: key.to_owned(), actual, expected }.into())
}

fn is_overdue<R: Rows>(step: &Step<'_, R>, approval: &ApprovalRecord) -> bool {
    approval.status == ApprovalStatus::Pending && approval.expires_at <= step.wall
}

fn decide<R: Rows>(step: &mut Step<'_, R>, key: &str, approval: &mut ApprovalRecord, status: ApprovalStatus) {
    approval.status = status;
    approval.decided_at = Some(step.wall);
    step.wake(format!("approval/{key}"));
}

pub(super) fn cancel<R: Rows>(step: &mut Step<'_, R>, body: CancelApproval) -> Ruled<ApprovalRef> {
    let by = step.principal()?;
    let (key, mut approval) = step.resolve::<ApprovalRecord>(Noun::Approval, &body.approval, |a| &a.id)?;
    pending(step, &key, &approval)?;
    if approval.requested_by != by {
        let owner = Some(approval.requested_by);
        return Err(Refusal::Stale { noun: Noun::Approval, id: key, owner, current: None }.into());
    }
    decide(step, &key, &mut approval, ApprovalStatus::Cancelled);
    step.put(&key, &approval)?;
    Ok(answer(key, &approval))
}

pub(super) fn consume<R: Rows>(step: &mut Step<'_, R>, body: ConsumeApproval) -> Ruled<Consumed> {
    let by = step.principal()?;
    let (key, mut approval) = step.resolve::<ApprovalRecord>(Noun::Approval, &body.approval, |a| &a.id)?;
    if approval.requested_by != by && (body.key.is_none() || body.key != approval.key) {
        return Err(Policy::NotRequester.into());
    }
    if is_overdue(step, &approval) {
        decide(step, &key, &mut approval, ApprovalStatus::Expired);
        step.put(&key, &approval)?;
    }
    let consumed = approval.status == ApprovalStatus::Approved && approval.consumed_at.is_none();
    if consumed {
        approval.consumed_at = Some(step.wall);
        step.put(&key, &approval)?;
    }
    let ApprovalRecord { status, requested_by, digest, expires_at, votes, .. } = approval;
    Ok(Consumed { key, status, consumed, requested_by, digest, expires_at, votes })
}

/// Nobody decided in time.
pub(super) fn expire<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    let Some(mut approval) = step.get::<ApprovalRecord>(key)? else { return Ok(()) };
    decide(step, key, &mut approval, ApprovalStatus::Expired);
    step.put(key, &approval)
}
