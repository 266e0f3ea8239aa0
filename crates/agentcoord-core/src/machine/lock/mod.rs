//! Rules of file locks: exclusive and shared, files and subtrees, all or none, first in first out.
//!
//! A request may be granted when no other lane holds something in conflict with it and no older waiter in conflict is in
//! the queue. What overlaps is in [`overlap`], passing on in [`handover`], the search for circles in [`deadlock`].

mod deadlock;
mod handover;
mod overlap;

use crate::error::{Noun, Policy, Refusal};
use crate::ids::{Id, RequestNo, Ticket, Token};
use crate::limits;
use crate::lock::{
    Acquire, AcquireLock, ConfirmLock, Conflict, Grant, LockMode, LockPath, Look, ReleaseLock, Released, RenewLock,
    RevokeLock, Revoked, WaitLock, WithdrawLock,
};
use crate::machine::audit;
use crate::machine::rows::Rows;
use crate::machine::step::{Acting, Ruled, Step, Stop};
use crate::op::Actor;
use crate::record::{LockRecord, LockTicketRecord, NEVER, RingRecord, SessionRecord};
use crate::table::Range;
use crate::time::LeaseMs;

pub(crate) use handover::Freed;
use handover::{free, look_at_lane};
pub(super) use handover::{hand_over, resume};
use overlap::{Obstacle, Request, everybody, holders, lane_holds_on, lane_kinds, obstacles};

/// Most conflicts that an answer names.
const CONFLICTS: usize = 8;

pub(super) fn acquire<R: Rows>(step: &mut Step<'_, R>, body: AcquireLock) -> Ruled<Acquire> {
    let acting = step.acting()?;
    let (session, lane, paths) = (&acting.id, body.lane.as_str(), &body.paths[..]);
    let request = Request { session, lane, mode: body.mode, paths, seq: NEVER };
    let held = lane_kinds(step, session, lane)?;
    let holds = !held.is_empty();
    if holds {
        if held.contains(body.mode.holding())
            && let Some(mut lock) = same_lease(step, &request)?
        {
            if body.ttl.is_some() {
                lock.deadline = deadline(step, body.ttl);
                step.put(&lock.token.to_string(), &lock)?;
            }
            return Ok(Acquire::Granted(granted(step, &lock, true)));
        }
        let shares = held.contains(LockMode::Shared.holding());
        if body.mode == LockMode::Exclusive && shares && lane_holds_on(step, &request, paths, &["hs"])? {
            return Err(Policy::LockUpgrade.into());
        }
    }
    let (in_the_way, all) = obstacles(step, &request, everybody(body.mode), CONFLICTS)?;
    if in_the_way.is_empty() {
        if !all {
            return Err(Policy::TooComplex.into());
        }
        return grant(step, acting, body);
    }
    queue(step, acting, body, None, holds, in_the_way)
}

pub(super) fn wait<R: Rows>(step: &mut Step<'_, R>, body: WaitLock) -> Ruled<Acquire> {
    let acting = step.acting()?;
    let (session, lane) = (&acting.id, body.lane.as_str());
    let request = Request { session, lane, mode: body.mode, paths: &body.paths, seq: NEVER };
    let (in_the_way, all) = obstacles(step, &request, everybody(body.mode), CONFLICTS)?;
    if in_the_way.is_empty() {
        return if all { Ok(Acquire::Free) } else { Err(Policy::TooComplex.into()) };
    }
    let holds = !lane_kinds(step, session, lane)?.is_empty();
    queue(step, acting, body.into(), Some(Look::Waiting), holds, in_the_way)
}

/// The newest confirmed grant of the lane with exactly these paths in this mode.
fn same_lease<R: Rows>(step: &mut Step<'_, R>, request: &Request<'_>) -> Ruled<Option<LockRecord>> {
    let Some(first) = request.paths.first() else { return Ok(None) };
    let parts = ["lane", request.session.as_str(), request.lane, first.as_str(), request.mode.holding()];
    for entry in step.scan(&Range::under(&parts), limits::WORK_PER_STEP)?.into_iter().rev() {
        let lock = step.get::<LockRecord>(entry.key())?;
        if let Some(lock) = lock.filter(|lock| lock.offer.is_none() && lock.paths == request.paths) {
            return Ok(Some(lock));
        }
    }
    Ok(None)
}

fn grant<R: Rows>(step: &mut Step<'_, R>, acting: Acting, body: AcquireLock) -> Ruled<Acquire> {
    let lock = LockRecord {
        token: step.next_token()?,
        session: acting.id,
        agent: acting.session.agent,
        name: acting.session.name,
        lane: body.lane,
        mode: body.mode,
        paths: body.paths,
        since: step.wall,
        ticket: Ticket::of(&step.call.client, step.call.request),
        intent: body.intent,
        deadline: deadline(step, body.ttl),
        offer: None,
    };
    step.put(&lock.token.to_string(), &lock)?;
    // What waits for the new lock is no longer in the way of what this lane waits for.
    look_at_lane(step, &lock.session, &lock.lane)?;
    Ok(Acquire::Granted(granted(step, &lock, false)))
}

/// Queues a request behind those in its way, or says who they are when it does not want to wait.
fn queue<R: Rows>(
    step: &mut Step<'_, R>,
    acting: Acting,
    body: AcquireLock,
    look: Option<Look>,
    holds: bool,
    in_the_way: Vec<Obstacle>,
) -> Ruled<Acquire> {
    if body.wait == Some(0) {
        let conflicts = in_the_way.into_iter().map(|obstacle| conflict(step, obstacle)).collect();
        return Ok(Acquire::Contended { conflicts });
    }
    let mut tick_at = None;
    for obstacle in &in_the_way {
        if let Obstacle::Holder(_, lock) = obstacle {
            sooner(&mut tick_at, blocking_until(step, lock)?);
        }
    }
    let ticket = Ticket::of(&step.call.client, step.call.request);
    let waiter = LockTicketRecord {
        seq: step.next_seq(),
        session: acting.id,
        agent: acting.session.agent,
        name: acting.session.name,
        lane: body.lane,
        mode: body.mode,
        paths: body.paths,
        since: step.wall,
        intent: body.intent,
        ttl: body.ttl,
        deadline: body.wait.map(|wait| step.now + wait),
        offered: None,
        look,
    };
    // Who holds nothing keeps nobody waiting.
    if holds && let Some(cycle) = deadlock::find(step, &waiter)? {
        return Ok(Acquire::Deadlock { cycle });
    }
    sooner(&mut tick_at, waiter.deadline);
    step.put(ticket.as_str(), &waiter)?;
    Ok(Acquire::Queued { ticket, tick_in: tick_at.map(|at| at.saturating_sub(step.now)) })
}

fn sooner(at: &mut Option<LeaseMs>, other: Option<LeaseMs>) {
    if let Some(other) = other {
        *at = Some(at.map_or(other, |at| at.min(other)));
    }
}

/// When a grant ends at the latest if its holder does nothing more.
fn blocking_until<R: Rows>(step: &mut Step<'_, R>, lock: &LockRecord) -> Ruled<Option<LeaseMs>> {
    let session_due = step.get::<SessionRecord>(lock.session.as_str())?.map(|s| s.due);
    let mut at = lock.offer.or(lock.deadline);
    sooner(&mut at, session_due);
    Ok(at)
}

fn conflict<R: Rows>(step: &Step<'_, R>, obstacle: Obstacle) -> Conflict {
    match obstacle {
        Obstacle::Holder(path, lock) => Conflict {
            path,
            agent: lock.agent,
            name: lock.name,
            waiting: false,
            intent: lock.intent,
            since: lock.since,
            deadline_at: lock.deadline.map(|at| step.state.clock.wall_at(at)),
        },
        Obstacle::Waiter(path, waiter) => Conflict {
            path,
            agent: waiter.agent,
            name: waiter.name,
            waiting: true,
            intent: waiter.intent,
            since: waiter.since,
            deadline_at: None,
        },
    }
}

fn deadline<R: Rows>(step: &Step<'_, R>, ttl: Option<u64>) -> Option<LeaseMs> {
    ttl.map(|ttl| step.now + ttl)
}

fn granted<R: Rows>(step: &Step<'_, R>, lock: &LockRecord, reacquired: bool) -> Grant {
    Grant {
        token: lock.token,
        paths: lock.paths.clone(),
        mode: lock.mode,
        ticket: lock.ticket.clone(),
        deadline_at: lock.deadline.map(|at| step.state.clock.wall_at(at)),
        reacquired,
    }
}

pub(super) fn confirm<R: Rows>(step: &mut Step<'_, R>, body: ConfirmLock) -> Ruled<Acquire> {
    let acting = step.acting()?;
    let ticket = body.ticket;
    let Some(waiter) = step.get::<LockTicketRecord>(ticket.as_str())?.filter(|w| w.session == acting.id) else {
        return Ok(Acquire::Lapsed { ticket });
    };
    if waiter.look == Some(Look::Free) {
        step.delete::<LockTicketRecord>(ticket.as_str())?;
        return Ok(Acquire::Free);
    }
    let Some(token) = waiter.offered else {
        let tick_at = tick_of(step, &waiter)?;
        return Ok(Acquire::Queued { ticket, tick_in: tick_at.map(|at| at.saturating_sub(step.now)) });
    };
    let Some(mut lock) = step.get::<LockRecord>(&token.to_string())? else {
        step.delete::<LockTicketRecord>(ticket.as_str())?;
        return Ok(Acquire::Lapsed { ticket });
    };
    lock.offer = None;
    lock.deadline = deadline(step, waiter.ttl);
    lock.since = step.wall;
    step.put(&token.to_string(), &lock)?;
    step.delete::<LockTicketRecord>(ticket.as_str())?;
    Ok(Acquire::Granted(granted(step, &lock, false)))
}

/// When a waiter should tick: its own deadline, or the earliest end of those who hold what it waits for.
fn tick_of<R: Rows>(step: &mut Step<'_, R>, waiter: &LockTicketRecord) -> Ruled<Option<LeaseMs>> {
    let mut tick_at = waiter.deadline;
    let (in_the_way, _) = obstacles(step, &Request::of(waiter), holders(waiter.mode), CONFLICTS)?;
    for obstacle in in_the_way {
        if let Obstacle::Holder(_, lock) = obstacle {
            sooner(&mut tick_at, blocking_until(step, &lock)?);
        }
    }
    Ok(tick_at)
}

/// Refuses a call that is made under a lock which has ended.
pub(super) fn check_fence<R: Rows>(step: &mut Step<'_, R>) -> Ruled<()> {
    let Some(token) = step.call.fence else { return Ok(()) };
    let lock = step.get::<LockRecord>(&token.to_string())?;
    if let Some(lock) = lock.filter(|l| l.offer.is_none() && l.deadline.is_none_or(|at| at > step.now))
        && let Some(session) = step.get::<SessionRecord>(lock.session.as_str())?
        && step.is_live(&lock.session, &session)?
    {
        return Ok(());
    }
    Err(Refusal::Stale { noun: Noun::Lock, id: token.to_string(), owner: None, current: None }.into())
}

/// The grant, if the acting session holds it.
fn owned<R: Rows>(step: &mut Step<'_, R>, acting: &Acting, token: Token) -> Ruled<LockRecord> {
    let stale =
        |owner: Option<String>| Refusal::Stale { noun: Noun::Lock, id: token.to_string(), owner, current: None };
    let lock = step.get::<LockRecord>(&token.to_string())?.ok_or_else(|| stale(None))?;
    if lock.session != acting.id {
        return Err(stale(Some(lock.name)).into());
    }
    Ok(lock)
}

pub(super) fn renew<R: Rows>(step: &mut Step<'_, R>, body: RenewLock) -> Ruled<Grant> {
    let acting = step.acting()?;
    let mut lock = owned(step, &acting, body.token)?;
    lock.deadline = deadline(step, body.ttl);
    step.put(&body.token.to_string(), &lock)?;
    Ok(granted(step, &lock, false))
}

pub(super) fn release<R: Rows>(step: &mut Step<'_, R>, body: ReleaseLock) -> Ruled<Released> {
    let acting = step.acting()?;
    let mut lock = owned(step, &acting, body.token)?;
    let key = body.token.to_string();
    let (freed, kept): (Vec<_>, Vec<_>) =
        lock.paths.clone().into_iter().partition(|p| body.paths.is_empty() || body.paths.contains(p));
    if kept.is_empty() {
        drop_grant(step, &key)?;
    } else {
        lock.paths = kept;
        step.put(&key, &lock)?;
        free(step, &freed);
    }
    Ok(Released { paths: freed })
}

pub(super) fn withdraw<R: Rows>(step: &mut Step<'_, R>, body: WithdrawLock) -> Ruled<Released> {
    let client = step.call.client.clone();
    let ticket = Ticket::of(&client, body.request);
    let mut paths = Vec::new();
    for request in body.confirm.into_iter().chain([body.request]) {
        if let Some(token) = token_of(step, &client, request)?
            && let Some(lock) = step.get::<LockRecord>(&token.to_string())?.filter(|lock| lock.ticket == ticket)
        {
            drop_grant(step, &token.to_string())?;
            paths = lock.paths;
        }
    }
    if let Some(waiter) = step.get::<LockTicketRecord>(ticket.as_str())? {
        step.delete::<LockTicketRecord>(ticket.as_str())?;
        match waiter.offered {
            Some(token) => {
                drop_grant(step, &token.to_string())?;
                paths = waiter.paths;
            }
            None => leave(step, &waiter),
        }
    }
    Ok(Released { paths })
}

/// The token that an acquire or confirm was answered with. When the request has not arrived yet, its slot is made
/// void, so that it does nothing when it does arrive.
fn token_of<R: Rows>(step: &mut Step<'_, R>, client: &Id, request: RequestNo) -> Ruled<Option<Token>> {
    let slot = step.get::<RingRecord>(&RingRecord::key(client, request))?;
    match slot {
        Some(slot) if slot.request == request && !slot.answer.is_empty() => {
            // The answer of another verb cannot be read as this one's, and names no grant.
            let answer = crate::op::decode::<crate::op::Answer<Acquire>>(&slot.answer, "replay slot");
            Ok(match answer {
                Ok(crate::op::Answer::Done { reply: Acquire::Granted(grant), .. }) if !grant.reacquired => {
                    Some(grant.token)
                }
                _ => None,
            })
        }
        Some(slot) if slot.request >= request => Ok(None),
        _ => {
            step.put_slot(request, &RingRecord { request, digest: String::new(), answer: Vec::new() })?;
            Ok(None)
        }
    }
}

/// Ends the locks on a path, whoever holds them.
pub(super) fn revoke<R: Rows>(step: &mut Step<'_, R>, body: RevokeLock) -> Ruled<Revoked> {
    if !matches!(step.call.actor, Actor::Human(_)) {
        return Err(Policy::RevokeHumansOnly.into());
    }
    let path = body.path.as_str();
    let mut grants = Vec::new();
    for mode in [LockMode::Exclusive, LockMode::Shared] {
        let most = limits::WORK_PER_STEP - grants.len();
        for entry in step.scan(&Range::under(&["path", path, mode.holding()]), most)? {
            let Some(lock) = step.get::<LockRecord>(entry.key())? else { continue };
            if lock.offer.is_some() {
                step.delete::<LockTicketRecord>(lock.ticket.as_str())?;
            }
            drop_grant(step, entry.key())?;
            // The holder listens to the ticket that its lock came from.
            step.wake(lock.ticket.as_str());
            let Grant { token, paths, .. } = granted(step, &lock, false);
            grants.push(crate::lock::RevokedGrant { token, agent: lock.agent, name: lock.name, paths });
        }
    }
    if grants.is_empty() {
        return Err(Refusal::NotFound { noun: Noun::Lock, id: path.to_owned() }.into());
    }
    audit::record(step, body.audit)?;
    Ok(Revoked { grants })
}

/// A grant's deadline or offer has passed.
pub(super) fn overdue<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    let Some(lock) = step.get::<LockRecord>(key)? else { return Ok(()) };
    drop_grant(step, key)?;
    if lock.offer.is_some()
        && let Some(mut waiter) = step.get::<LockTicketRecord>(lock.ticket.as_str())?
    {
        // It did not confirm in time: back to the end of the queue, so that others come first.
        waiter.offered = None;
        waiter.seq = step.next_seq();
        // Its new place may close a circle, though nobody has asked for anything.
        match deadlock::find(step, &waiter) {
            Ok(Some(_)) => {
                step.wake(lock.ticket.as_str());
                step.delete::<LockTicketRecord>(lock.ticket.as_str())?;
            }
            Ok(None) | Err(Stop::Refused(_)) => step.put(lock.ticket.as_str(), &waiter)?,
            Err(failed) => return Err(failed),
        }
    }
    Ok(())
}

/// A waiter has waited long enough.
pub(super) fn give_up<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    step.wake(key);
    drop_ticket(step, key)
}

/// Ends a grant; what it held is passed on by the end of the step.
pub(super) fn drop_grant<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    let Some(lock) = step.get::<LockRecord>(key)? else { return Ok(()) };
    step.delete::<LockRecord>(key)?;
    free(step, &lock.paths);
    Ok(())
}

/// Takes a waiter out of the queue; those behind it are let through by the end of the step.
pub(super) fn drop_ticket<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    let Some(waiter) = step.get::<LockTicketRecord>(key)? else { return Ok(()) };
    step.delete::<LockTicketRecord>(key)?;
    leave(step, &waiter);
    Ok(())
}

/// Lets through those who waited behind a waiter.
fn leave<R: Rows>(step: &mut Step<'_, R>, waiter: &LockTicketRecord) {
    if waiter.offered.is_none() && waiter.look.is_none() {
        free(step, &waiter.paths);
    }
}

/// The ranges of the index where everything stands that may be in the way at a path.
pub(crate) fn overlapping(path: &LockPath) -> Vec<Range> {
    overlap::Spot::of(path, true).iter().map(|spot| spot.range(&["path"])).collect()
}
