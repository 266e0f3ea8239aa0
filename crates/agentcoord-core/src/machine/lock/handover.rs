//! Passing on what has become free, in bounded steps.
//!
//! Whatever takes a holder or a waiter away notes the paths ([`Step::freed`]); at the end of reaping and of the step
//! their waiters are looked at, at most [`limits::WORK_PER_STEP`] of them. The rest is kept in a record that is due at
//! once, so any later step goes on with it.

use crate::ids::{Ticket, Token};
use crate::limits;
use crate::lock::{LockPath, Look, ONLOOKING};
use crate::machine::lock::overlap::{Obstacle, Request, Spot, everybody, obstacles};
use crate::machine::rows::Rows;
use crate::machine::step::{Ruled, Step};
use crate::record::{HandoverRecord, LockRecord, LockTicketRecord, SessionRecord};
use crate::table::{Entry, Range, index, pad};

/// Freed paths that one step goes through.
const PATHS_PER_STEP: usize = 4 * limits::WORK_PER_STEP;
/// Obstacles of a waiter that are looked at.
const OBSTACLES: usize = 8;

/// A freed path, and the index position from which its waiters are still to be looked at.
#[derive(Clone, Debug)]
pub(crate) struct Freed {
    path: LockPath,
    from: Vec<u8>,
}

/// Notes paths that a holder or a waiter has left.
pub(super) fn free<R: Rows>(step: &mut Step<'_, R>, paths: &[LockPath]) {
    step.freed.extend(paths.iter().map(|path| Freed { path: path.clone(), from: Vec::new() }));
}

/// Goes on with what an earlier step has left.
pub(in crate::machine) fn resume<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    let Some(record) = step.get::<HandoverRecord>(key)? else { return Ok(()) };
    step.delete::<HandoverRecord>(key)?;
    let mut from = record.from.unwrap_or_default().into_bytes();
    for path in record.paths {
        step.freed.push_back(Freed { path, from: std::mem::take(&mut from) });
    }
    Ok(())
}

/// Grants to every waiter on the freed paths that nothing keeps back any more.
pub(in crate::machine) fn hand_over<R: Rows>(step: &mut Step<'_, R>) -> Ruled<()> {
    if step.state.counts.lock_waiters == 0 {
        step.freed.clear();
    }
    let mut paths = PATHS_PER_STEP;
    while let Some(freed) = step.freed.pop_front() {
        let reached = if paths == 0 { Some(freed.from) } else { pass_on(step, &freed.path, freed.from)? };
        paths = paths.saturating_sub(1);
        if let Some(from) = reached {
            step.freed.push_front(Freed { path: freed.path, from });
            break;
        }
    }
    if let Some(first) = step.freed.front() {
        let from = String::from_utf8_lossy(&first.from).into_owned();
        let paths = step.freed.drain(..).map(|freed| freed.path).collect();
        let key = step.next_seq().to_string();
        step.put(&key, &HandoverRecord { paths, from: Some(from).filter(|from| !from.is_empty()) })?;
    }
    Ok(())
}

/// What an offer costs beside the look: it writes as much as three looks read.
const OFFER_TURNS: usize = 2;

/// Looks at the waiters that a freed path may let through. Returns where it stopped when the step has done enough.
fn pass_on<R: Rows>(step: &mut Step<'_, R>, path: &LockPath, from: Vec<u8>) -> Ruled<Option<Vec<u8>>> {
    for spot in Spot::of(path, step.state.counts.subtrees > 0) {
        let mut range = spot.range(&["path"]);
        if range.to <= from {
            continue;
        }
        if let Spot::At(path) = &spot {
            let reached = heads(step, path, &from)?;
            if reached.is_some() {
                return Ok(reached);
            }
            continue;
        }
        if range.from < from {
            range.from.clone_from(&from);
        }
        while let Some(entry) = step.scan(&range, 1)?.pop() {
            let path = entry.parts()[1].to_owned();
            let reached = heads(step, &path, &range.from)?;
            if reached.is_some() {
                return Ok(reached);
            }
            step.turns = step.turns.saturating_sub(1);
            range.from = Range::under(&["path", &path]).to;
        }
    }
    Ok(None)
}

/// Looks at those who may come first at one path: those who take nothing, the oldest exclusive waiter, and the shared
/// ones before it.
fn heads<R: Rows>(step: &mut Step<'_, R>, path: &str, from: &[u8]) -> Ruled<Option<Vec<u8>>> {
    let onlookers = Range::under(&["path", path, ONLOOKING]);
    let taking = onlookers.to.clone();
    let reached = look_at_all(step, Range { from: onlookers.from.max(from.to_vec()), to: onlookers.to })?;
    if reached.is_some() {
        return Ok(reached);
    }
    let first = step.scan(&Range::under(&["path", path, "w"]), 1)?.pop();
    let mut before = pad(crate::record::NEVER);
    if let Some(first) = first {
        if step.turns == 0 {
            return Ok(Some(from.to_vec().max(taking)));
        }
        before = first.parts()[3].to_owned();
        look_at(step, first.key(), true)?;
    }
    let start = Range::under(&["path", path, "ws"]).from;
    look_at_all(step, Range { from: start.max(from.to_vec()), to: Entry::of(&["path", path, "ws", &before]).0 })
}

/// Looks at the waiters of a range in order. Returns where it stopped when the step has done enough.
fn look_at_all<R: Rows>(step: &mut Step<'_, R>, mut range: Range) -> Ruled<Option<Vec<u8>>> {
    while range.from < range.to
        && let Some(entry) = step.scan(&range, 1)?.pop()
    {
        if step.turns == 0 {
            return Ok(Some(entry.0));
        }
        look_at(step, entry.key(), true)?;
        range = range.after(&entry);
    }
    Ok(None)
}

/// Offers the lock to a waiter when nothing keeps it back; takes it out of the queue when its session has ended.
///
/// With `chase`, when holders keep it back, what those wait for is looked at as well: for them this waiter is not in
/// the way, since it waits for them.
fn look_at<R: Rows>(step: &mut Step<'_, R>, key: &str, chase: bool) -> Ruled<()> {
    step.turns = step.turns.saturating_sub(1);
    let Some(waiter) = step.get::<LockTicketRecord>(key)?.filter(LockTicketRecord::waits) else { return Ok(()) };
    let live = match step.get::<SessionRecord>(waiter.session.as_str())? {
        Some(session) => step.is_live(&waiter.session, &session)?,
        None => false,
    };
    if !live {
        step.delete::<LockTicketRecord>(key)?;
        free(step, &waiter.paths);
        return Ok(());
    }
    let most = if chase { OBSTACLES } else { 1 };
    let (in_the_way, all) = obstacles(step, &Request::of(&waiter), everybody(waiter.mode), most)?;
    if in_the_way.is_empty() && all {
        if waiter.look.is_some() {
            return tell(step, key, waiter);
        }
        let (session, lane) = (waiter.session.clone(), waiter.lane.clone());
        offer(step, key, waiter)?;
        return look_at_lane(step, &session, &lane);
    }
    if chase {
        for obstacle in in_the_way {
            if let Obstacle::Holder(_, lock) = obstacle {
                look_at_lane(step, &lock.session, &lock.lane)?;
            }
        }
    }
    Ok(())
}

/// Looks at what a lane waits for.
pub(super) fn look_at_lane<R: Rows>(step: &mut Step<'_, R>, session: &crate::ids::Id, lane: &str) -> Ruled<()> {
    if step.state.counts.lock_waiters == 0 {
        return Ok(());
    }
    for entry in step.scan(&index::waits_of(session.as_str(), lane), limits::WORK_PER_STEP)? {
        look_at(step, entry.key(), false)?;
    }
    Ok(())
}

/// Tells one who takes nothing that its paths are free.
fn tell<R: Rows>(step: &mut Step<'_, R>, key: &str, mut waiter: LockTicketRecord) -> Ruled<()> {
    waiter.look = Some(Look::Free);
    waiter.deadline = Some(step.now + limits::OFFER);
    step.wake(key);
    step.put(key, &waiter)
}

fn offer<R: Rows>(step: &mut Step<'_, R>, key: &str, mut waiter: LockTicketRecord) -> Ruled<()> {
    step.turns = step.turns.saturating_sub(OFFER_TURNS);
    let token: Token = step.next_token()?;
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
