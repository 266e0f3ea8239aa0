//! Rules of file locks: exclusive, all or none, first in first out.
//!
//! A ticket may be granted when on each of its paths nobody of another lane holds and it is the oldest waiter.
//! Whatever takes a holder or a waiter away looks at once whether that lets others through ([`promote`]).

use std::collections::BTreeMap;

use crate::error::{Noun, Refusal};
use crate::ids::{Id, RequestNo, Ticket, Token};
use crate::limits;
use crate::lock::{
    Acquire, AcquireLock, ConfirmLock, Conflict, Grant, LockPath, ReleaseLock, Released, RenewLock, WithdrawLock,
};
use crate::machine::rows::Rows;
use crate::machine::step::{Acting, Ruled, Step};
use crate::record::{LockRecord, LockTicketRecord, RingRecord, SessionRecord};
use crate::table::{Range, index};
use crate::time::LeaseMs;

/// Most conflicts that an answer names.
const CONFLICTS: usize = 8;

pub(super) fn acquire<R: Rows>(step: &mut Step<'_, R>, body: AcquireLock) -> Ruled<Acquire> {
    let acting = step.acting()?;
    let ticket = Ticket::of(&step.call.client, step.call.request);
    let mut conflicts = Vec::new();
    let mut tick_at = None;
    let mut own: BTreeMap<u64, LockRecord> = BTreeMap::new();
    for path in &body.paths {
        for entry in step.scan(&index::at_path(path.as_str()), limits::WORK_PER_STEP)? {
            let kind_is_holder = entry.parts()[2] == "h";
            if kind_is_holder {
                let Some(lock) = step.get::<LockRecord>(entry.key())? else { continue };
                if lock.session == acting.id && lock.lane == body.lane {
                    own.insert(lock.token.0, lock);
                    break; // What waits for this path waits for us.
                }
                sooner(&mut tick_at, blocking_until(step, &lock)?);
                conflicts.push(held_by(step, path, &lock));
            } else {
                let Some(waiter) = step.get::<LockTicketRecord>(entry.key())? else { continue };
                if waiter.session == acting.id && waiter.lane == body.lane {
                    continue;
                }
                conflicts.push(Conflict {
                    path: path.clone(),
                    agent: waiter.agent,
                    name: waiter.name,
                    waiting: true,
                    intent: waiter.intent,
                    since: waiter.since,
                    deadline_at: None,
                });
            }
            if conflicts.len() >= CONFLICTS {
                break;
            }
        }
    }
    if let Some(mut lock) = own.into_values().rev().find(|lock| lock.offer.is_none() && lock.paths == body.paths) {
        if body.ttl.is_some() {
            lock.deadline = deadline(step, body.ttl);
            step.put(&lock.token.to_string(), &lock)?;
        }
        return Ok(Acquire::Granted(granted(step, &lock, true)));
    }
    if conflicts.is_empty() {
        let lock = LockRecord {
            token: step.next_token()?,
            session: acting.id,
            agent: acting.session.agent,
            name: acting.session.name,
            lane: body.lane,
            mode: body.mode,
            paths: body.paths,
            since: step.wall,
            ticket,
            intent: body.intent,
            deadline: deadline(step, body.ttl),
            offer: None,
        };
        step.put(&lock.token.to_string(), &lock)?;
        return Ok(Acquire::Granted(granted(step, &lock, false)));
    }
    if body.wait == Some(0) {
        conflicts.truncate(CONFLICTS);
        return Ok(Acquire::Contended { conflicts });
    }
    queue(step, acting, body, ticket, tick_at)
}

fn queue<R: Rows>(
    step: &mut Step<'_, R>,
    acting: Acting,
    body: AcquireLock,
    ticket: Ticket,
    mut tick_at: Option<LeaseMs>,
) -> Ruled<Acquire> {
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
    };
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

fn held_by<R: Rows>(step: &Step<'_, R>, path: &LockPath, lock: &LockRecord) -> Conflict {
    Conflict {
        path: path.clone(),
        agent: lock.agent.clone(),
        name: lock.name.clone(),
        waiting: false,
        intent: lock.intent.clone(),
        since: lock.since,
        deadline_at: lock.deadline.map(|at| step.state.clock.wall_at(at)),
    }
}

fn deadline<R: Rows>(step: &Step<'_, R>, ttl: Option<u64>) -> Option<LeaseMs> {
    ttl.map(|ttl| step.now + ttl)
}

fn granted<R: Rows>(step: &Step<'_, R>, lock: &LockRecord, reacquired: bool) -> Grant {
    Grant {
        token: lock.token,
        paths: lock.paths.clone(),
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

/// When a waiter should tick: its own deadline, or the earliest end of whoever holds one of its paths.
fn tick_of<R: Rows>(step: &mut Step<'_, R>, waiter: &LockTicketRecord) -> Ruled<Option<LeaseMs>> {
    let mut tick_at = waiter.deadline;
    for path in &waiter.paths {
        for entry in step.scan(&index::at_path(path.as_str()), 1)? {
            if entry.parts()[2] == "h"
                && let Some(lock) = step.get::<LockRecord>(entry.key())?
            {
                sooner(&mut tick_at, blocking_until(step, &lock)?);
            }
        }
    }
    Ok(tick_at)
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
        promote(step, &freed)?;
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
            None => promote(step, &waiter.paths)?,
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

/// A grant's deadline or offer has passed.
pub(super) fn overdue<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    let Some(lock) = step.get::<LockRecord>(key)? else { return Ok(()) };
    if lock.offer.is_some()
        && let Some(mut waiter) = step.get::<LockTicketRecord>(lock.ticket.as_str())?
    {
        // It did not confirm in time: back to the end of the queue, so that others come first.
        waiter.offered = None;
        waiter.seq = step.next_seq();
        step.put(lock.ticket.as_str(), &waiter)?;
    }
    drop_grant(step, key)
}

/// A waiter has waited long enough.
pub(super) fn give_up<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    step.wake(key);
    drop_ticket(step, key)
}

/// Ends a grant and lets waiters through.
pub(super) fn drop_grant<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    let Some(lock) = step.get::<LockRecord>(key)? else { return Ok(()) };
    step.delete::<LockRecord>(key)?;
    promote(step, &lock.paths)
}

/// Takes a waiter out of the queue and lets those behind it through.
pub(super) fn drop_ticket<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    let Some(waiter) = step.get::<LockTicketRecord>(key)? else { return Ok(()) };
    step.delete::<LockTicketRecord>(key)?;
    if waiter.offered.is_some() { Ok(()) } else { promote(step, &waiter.paths) }
}

/// Grants to every waiter that nothing keeps back any more, oldest first.
fn promote<R: Rows>(step: &mut Step<'_, R>, paths: &[LockPath]) -> Ruled<()> {
    let mut candidates: BTreeMap<u64, String> = BTreeMap::new();
    for path in paths {
        let first = step.scan(&Range::under(&["path", path.as_str(), "w"]), 1)?;
        for entry in first {
            let seq = entry.parts()[3].parse().unwrap_or(0);
            candidates.insert(seq, entry.key().to_owned());
        }
    }
    for key in candidates.into_values() {
        let Some(waiter) = step.get::<LockTicketRecord>(&key)? else { continue };
        let live = match step.get::<SessionRecord>(waiter.session.as_str())? {
            Some(session) => step.is_live(&waiter.session, &session)?,
            None => false,
        };
        if !live {
            drop_ticket(step, &key)?;
        } else if lets_through(step, &key, &waiter)? {
            offer(step, &key, waiter)?;
        }
    }
    Ok(())
}

/// Whether a waiter is the oldest on each of its paths and nobody of another lane holds one.
fn lets_through<R: Rows>(step: &mut Step<'_, R>, key: &str, waiter: &LockTicketRecord) -> Ruled<bool> {
    for path in &waiter.paths {
        for entry in step.scan(&index::at_path(path.as_str()), limits::WORK_PER_STEP)? {
            if entry.parts()[2] == "w" {
                if entry.key() != key {
                    return Ok(false);
                }
                break;
            }
            let Some(lock) = step.get::<LockRecord>(entry.key())? else { continue };
            if lock.session == waiter.session && lock.lane == waiter.lane {
                break; // What waits for this path waits for this very lane.
            }
            return Ok(false);
        }
    }
    Ok(true)
}

fn offer<R: Rows>(step: &mut Step<'_, R>, key: &str, mut waiter: LockTicketRecord) -> Ruled<()> {
    let token = step.next_token()?;
    let lock = LockRecord {
        token,
        session: waiter.session.clone(),
        agent: waiter.agent.clone(),
        name: waiter.name.clone(),
        lane: waiter.lane.clone(),
        mode: waiter.mode,
        paths: waiter.paths.clone(),
        since: step.wall,
        ticket: Ticket::from(key.to_owned()),
        intent: waiter.intent.clone(),
        deadline: None,
        offer: Some(step.now + limits::OFFER),
    };
    step.put(&token.to_string(), &lock)?;
    waiter.offered = Some(token);
    step.put(key, &waiter)?;
    step.wake(key);
    Ok(())
}
