//! Which claim gets which task, and how it takes it up or gives it back.
//!
//! Ready tasks and waiting claims never match each other: whatever makes a task ready hands it in the same step to the
//! longest-waiting claim that matches ([`ready`]), and a new claim takes the best ready task before it waits.

use super::{expect, free, holder};
use crate::error::{Noun, Policy, Refusal};
use crate::ids::{Id, RequestNo, Ticket};
use crate::limits;
use crate::machine::rows::Rows;
use crate::machine::step::{Acting, Ruled, Step};
use crate::op::{Answer, decode};
use crate::record::{RingRecord, SessionRecord, TaskRecord, TaskTicketRecord, unwords};
use crate::table::{Entry, Range};
use crate::task::{Claim, ClaimRef, ClaimTask, ConfirmTask, TaskStatus, WithdrawTask, Withdrawn};

pub(in crate::machine) fn claim<R: Rows>(step: &mut Step<'_, R>, body: ClaimTask) -> Ruled<Claim> {
    let acting = step.acting()?;
    let ticket = Ticket::of(&step.call.client, step.call.request);
    let mut capabilities = step.agent_of(&acting)?.capabilities;
    capabilities.sort();
    if let Some(typed) = &body.id {
        let (key, task) = step.resolve::<TaskRecord>(Noun::Task, typed, |t| &t.id)?;
        if let Some(holder) = holder(&task) {
            return Err(Refusal::Held { noun: Noun::Task, id: key, holder }.into());
        }
        expect(&key, task.status, TaskStatus::Pending)?;
        if !task.requires.iter().all(|r| capabilities.contains(r)) {
            return Err(Policy::NotCapable.into());
        }
        return assign(step, acting, key, task, ticket, body.lease);
    }
    if let Some(key) = best(step, &body.tags, &capabilities)?
        && let Some(task) = step.get::<TaskRecord>(&key)?
    {
        return assign(step, acting, key, task, ticket, body.lease);
    }
    if body.wait == Some(0) {
        return Ok(Claim::Nothing { pending: u64::try_from(step.state.counts.pending).unwrap_or(0) });
    }
    let waiter = TaskTicketRecord {
        seq: step.next_seq(),
        session: acting.id,
        agent: acting.session.agent,
        name: acting.session.name,
        tags: body.tags,
        capabilities,
        since: step.wall,
        lease: body.lease,
        deadline: body.wait.map(|wait| step.now + wait),
        offered: None,
    };
    step.put(ticket.as_str(), &waiter)?;
    Ok(Claim::Queued { ticket, tick_in: tick_in(step, &waiter) })
}

/// Milliseconds until the next due item: an overdue claim may free a task that matches.
fn tick_in<R: Rows>(step: &Step<'_, R>, waiter: &TaskTicketRecord) -> Option<u64> {
    let at = waiter.deadline.unwrap_or(u64::MAX).min(step.state.next_due);
    (at < crate::record::NEVER).then(|| at.saturating_sub(step.now))
}

/// The first ready task that carries any of the tags and requires nothing but the capabilities.
///
/// One seek a kind of ready task, whatever their number; the best of the heads wins.
fn best<R: Rows>(step: &mut Step<'_, R>, tags: &[String], capabilities: &[String]) -> Ruled<Option<String>> {
    let heads = heads(step, "ready", |kind| {
        let (carried, required) = unwords(kind);
        matches(tags, capabilities, &carried, &required)
    })?;
    Ok(heads.into_iter().min().map(|(_, key)| key))
}

/// The longest-waiting claim that matches a task.
fn longest_waiting<R: Rows>(step: &mut Step<'_, R>, task: &TaskRecord) -> Ruled<Option<String>> {
    let carried: Vec<&str> = task.tags.iter().map(String::as_str).collect();
    let required: Vec<&str> = task.requires.iter().map(String::as_str).collect();
    let heads = heads(step, "want", |selector| {
        let (tags, capabilities) = unwords(selector);
        let owned = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<_>>();
        matches(&owned(tags), &owned(capabilities), &carried, &required)
    })?;
    Ok(heads.into_iter().min().map(|(_, key)| key))
}

fn matches(tags: &[String], capabilities: &[String], carried: &[&str], required: &[&str]) -> bool {
    let any_tag = tags.is_empty() || tags.iter().any(|t| carried.contains(&t.as_str()));
    any_tag && required.iter().all(|r| capabilities.iter().any(|c| c == r))
}

/// The first entry of every group of an index `name\0group\0order\0key` whose group fits: (order, key).
fn heads<R: Rows>(step: &mut Step<'_, R>, name: &str, fits: impl Fn(&str) -> bool) -> Ruled<Vec<(String, String)>> {
    let mut range = Range::under(&[name]);
    let mut heads = Vec::new();
    while let Some(entry) = step.scan(&range, 1)?.pop() {
        let [_, group, order, key] = entry.parts()[..] else { break };
        if fits(group) {
            heads.push((order.to_owned(), key.to_owned()));
        }
        range.from = Entry::of(&[name, &format!("{group}\u{1}")]).0;
    }
    Ok(heads)
}

/// Gives a task to a session.
fn assign<R: Rows>(
    step: &mut Step<'_, R>,
    acting: Acting,
    key: String,
    mut task: TaskRecord,
    ticket: Ticket,
    lease: Option<u64>,
) -> Ruled<Claim> {
    take(step, &mut task, acting.id, acting.session.agent, acting.session.name, ticket)?;
    task.deadline = lease.or(task.lease).map(|lease| step.now + lease);
    step.put(&key, &task)?;
    claimed(&key, &task)
}

fn take<R: Rows>(
    step: &mut Step<'_, R>,
    task: &mut TaskRecord,
    session: Id,
    agent: String,
    name: String,
    ticket: Ticket,
) -> Ruled<()> {
    task.status = TaskStatus::Claimed;
    task.attempt += 1;
    task.token = Some(step.next_token()?);
    task.session = Some(session);
    task.agent = Some(agent);
    task.name = Some(name);
    task.ticket = Some(ticket);
    task.claimed_at = Some(step.wall);
    task.note = None;
    task.percent = None;
    Ok(())
}

fn claimed(key: &str, task: &TaskRecord) -> Ruled<Claim> {
    let token = task.token.unwrap_or_default();
    Ok(Claim::Claimed(ClaimRef { key: key.to_owned(), attempt: task.attempt, token }))
}

/// Makes a task ready: the longest-waiting claim that matches gets it at once, else it waits in its queue.
pub(super) fn ready<R: Rows>(step: &mut Step<'_, R>, key: &str, mut task: TaskRecord) -> Ruled<()> {
    task.status = TaskStatus::Pending;
    while let Some(ticket) = longest_waiting(step, &task)? {
        let Some(mut waiter) = step.get::<TaskTicketRecord>(&ticket)? else { break };
        let live = match step.get::<SessionRecord>(waiter.session.as_str())? {
            Some(session) => step.is_live(&waiter.session, &session)?,
            None => false,
        };
        if !live {
            step.delete::<TaskTicketRecord>(&ticket)?;
            continue;
        }
        let (session, agent, name) = (waiter.session.clone(), waiter.agent.clone(), waiter.name.clone());
        take(step, &mut task, session, agent, name, Ticket::from(ticket.clone()))?;
        task.offer = Some(step.now + limits::OFFER);
        waiter.offered = Some(key.to_owned());
        step.put(&ticket, &waiter)?;
        step.wake(ticket);
        break;
    }
    step.put(key, &task)
}

pub(in crate::machine) fn confirm<R: Rows>(step: &mut Step<'_, R>, body: ConfirmTask) -> Ruled<Claim> {
    let acting = step.acting()?;
    let ticket = body.ticket;
    let Some(waiter) = step.get::<TaskTicketRecord>(ticket.as_str())?.filter(|w| w.session == acting.id) else {
        return Ok(Claim::Lapsed { ticket });
    };
    let Some(key) = waiter.offered.clone() else {
        let tick_in = tick_in(step, &waiter);
        return Ok(Claim::Queued { ticket, tick_in });
    };
    step.delete::<TaskTicketRecord>(ticket.as_str())?;
    let Some(mut task) = step.get::<TaskRecord>(&key)?.filter(|t| t.ticket.as_ref() == Some(&ticket)) else {
        return Ok(Claim::Lapsed { ticket });
    };
    task.offer = None;
    task.deadline = waiter.lease.or(task.lease).map(|lease| step.now + lease);
    task.claimed_at = Some(step.wall);
    step.put(&key, &task)?;
    claimed(&key, &task)
}

pub(in crate::machine) fn withdraw<R: Rows>(step: &mut Step<'_, R>, body: WithdrawTask) -> Ruled<Withdrawn> {
    let client = step.call.client.clone();
    let ticket = Ticket::of(&client, body.request);
    let mut back = None;
    for request in body.confirm.into_iter().chain([body.request]) {
        if let Some(key) = key_of(step, &client, request)? {
            back = give_back(step, &key, &ticket)?.or(back);
        }
    }
    if let Some(waiter) = step.get::<TaskTicketRecord>(ticket.as_str())? {
        step.delete::<TaskTicketRecord>(ticket.as_str())?;
        if let Some(key) = waiter.offered {
            back = give_back(step, &key, &ticket)?.or(back);
        }
    }
    Ok(Withdrawn { key: back })
}

/// Puts a task back that was claimed under this ticket, as if it had not been claimed.
fn give_back<R: Rows>(step: &mut Step<'_, R>, key: &str, ticket: &Ticket) -> Ruled<Option<String>> {
    let Some(mut task) = step.get::<TaskRecord>(key)?.filter(|t| t.ticket.as_ref() == Some(ticket)) else {
        return Ok(None);
    };
    free(&mut task);
    task.attempt = task.attempt.saturating_sub(1);
    ready(step, key, task)?;
    Ok(Some(key.to_owned()))
}

/// The task that a claim or confirm was answered with; a request that has not arrived yet is made void.
fn key_of<R: Rows>(step: &mut Step<'_, R>, client: &Id, request: RequestNo) -> Ruled<Option<String>> {
    let slot = step.get::<RingRecord>(&RingRecord::key(client, request))?;
    match slot {
        Some(slot) if slot.request == request && !slot.answer.is_empty() => {
            // The answer of another verb cannot be read as this one's, and names no task.
            Ok(match decode::<Answer<Claim>>(&slot.answer, "replay slot") {
                Ok(Answer::Done { reply: Claim::Claimed(claim), .. }) => Some(claim.key),
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

/// A claim has waited long enough.
pub(in crate::machine) fn give_up<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    step.wake(key);
    drop_ticket(step, key)
}

/// Takes a claim out of the line.
pub(in crate::machine) fn drop_ticket<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    if step.get::<TaskTicketRecord>(key)?.is_some() {
        step.delete::<TaskTicketRecord>(key)?;
    }
    Ok(())
}

/// Puts a claim that did not take up its task in time to the end of the line, so that others come first.
pub(super) fn line_up_again<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    let Some(mut waiter) = step.get::<TaskTicketRecord>(key)? else { return Ok(()) };
    waiter.offered = None;
    waiter.seq = step.next_seq();
    step.put(key, &waiter)
}

/// Goes on with a claim whose offer was called off: it gets a ready task that matches, else it keeps its place in the line.
pub(super) fn wait_on<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    let Some(mut waiter) = step.get::<TaskTicketRecord>(key)? else { return Ok(()) };
    waiter.offered = None;
    step.put(key, &waiter)?;
    if let Some(key) = best(step, &waiter.tags, &waiter.capabilities)?
        && let Some(task) = step.get::<TaskRecord>(&key)?
    {
        ready(step, &key, task)?;
    }
    Ok(())
}
