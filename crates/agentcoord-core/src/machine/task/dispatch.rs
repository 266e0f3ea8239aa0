//! Which claim gets which task, and how it takes it up or gives it back.
//!
//! A pending task stands in the queue of all tasks and in that of each of its tags; a waiting claim stands in the line of
//! each tag that it asks for, or of any task. Queues are divided by what the tasks require and lines by what the agents
//! can do, and each part is in order, so the first of a part stands for all of it (indexes `ready` and `want`).
//!
//! Ready tasks and waiting claims do not match each other: whatever makes a task ready hands it in the same step to the
//! longest-waiting claim that matches ([`ready`]), and a new claim takes the best ready task before it waits. Where one
//! step cannot look at all who wait, the task keeps the place that was reached and is due at once ([`hand_over`]).

use super::{expect, free, holder};
use crate::error::{Noun, Policy, Refusal};
use crate::ids::{Id, RequestNo, Ticket};
use crate::limits;
use crate::machine::rows::Rows;
use crate::machine::step::{Acting, Ruled, Step};
use crate::op::{Answer, decode};
use crate::record::{RingRecord, SessionRecord, TaskRecord, TaskTicketRecord};
use crate::table::{Entry, Range, unwords};
use crate::task::{Claim, ClaimRef, ClaimTask, ConfirmTask, TaskChanged, TaskStatus, WithdrawTask, Withdrawn};

/// Waiting claims look for what is due in turn, so many milliseconds apart: the more wait, the more seldom each.
const TURN: u64 = 10;

pub(in crate::machine) fn claim<R: Rows>(step: &mut Step<'_, R>, body: ClaimTask) -> Ruled<Claim> {
    let acting = step.acting()?;
    match &body.id {
        Some(typed) => claim_named(step, &acting, typed, &body),
        None => next(step, acting, body),
    }
}

fn claim_named<R: Rows>(step: &mut Step<'_, R>, acting: &Acting, typed: &str, wish: &ClaimTask) -> Ruled<Claim> {
    let (key, task) = step.resolve::<TaskRecord>(Noun::Task, typed, |t| &t.id)?;
    if let Some(holder) = holder(&task) {
        return Err(Refusal::Held { noun: Noun::Task, id: key, holder }.into());
    }
    expect(&key, task.status, TaskStatus::Pending)?;
    let capabilities = acting.capabilities();
    if let Some(lacking) = task.requires.iter().find(|r| !contains(&capabilities, r)) {
        return Err(Policy::NotCapable.about(lacking).into());
    }
    assign(step, acting, key, task, wish)
}

/// Claims the best task that matches, else waits for one.
pub(super) fn next<R: Rows>(step: &mut Step<'_, R>, acting: Acting, wish: ClaimTask) -> Ruled<Claim> {
    let capabilities = acting.capabilities();
    if let Some((key, task)) = best(step, &wish.tags, &capabilities)? {
        return assign(step, &acting, key, task, &wish);
    }
    if wish.wait == Some(0) {
        return Ok(nothing(step));
    }
    let ticket = Ticket::of(&step.call.client, step.call.request);
    let waiter = TaskTicketRecord {
        seq: step.next_seq(),
        session: acting.id,
        agent: acting.session.agent,
        name: acting.session.name,
        tags: wish.tags,
        capabilities,
        since: step.wall,
        lease: wish.lease,
        deadline: wish.wait.map(|wait| step.now + wait),
        offered: None,
        away: None,
        fallback: wish.fallback,
    };
    step.put(ticket.as_str(), &waiter)?;
    Ok(queued(step, ticket, &waiter))
}

pub(super) fn nothing<R: Rows>(step: &Step<'_, R>) -> Claim {
    Claim::Nothing { pending: u64::try_from(step.state.counts.pending).unwrap_or(0) }
}

/// The answer to a claim that waits. An overdue claim may free a task that matches.
fn queued<R: Rows>(step: &Step<'_, R>, ticket: Ticket, waiter: &TaskTicketRecord) -> Claim {
    let turn = u64::try_from(step.state.counts.task_waiters).unwrap_or(0) * TURN;
    let at = step.state.next_due.max(step.now + turn).min(waiter.deadline.unwrap_or(u64::MAX));
    Claim::Queued { ticket, tick_in: (at < crate::record::NEVER).then(|| at.saturating_sub(step.now)) }
}

fn contains(sorted: &[String], word: &str) -> bool {
    sorted.binary_search_by(|other| other.as_str().cmp(word)).is_ok()
}

/// The first ready task that carries any of the tags and requires nothing but the capabilities.
///
/// One seek a tag when nothing that is pending requires anything. Otherwise one more for each combination of these
/// capabilities that is required, or begins one that is; what others could do costs nothing.
fn best<R: Rows>(
    step: &mut Step<'_, R>,
    tags: &[String],
    capabilities: &[String],
) -> Ruled<Option<(String, TaskRecord)>> {
    let any = [String::new()];
    let mut best: Option<(String, String)> = None;
    let mut seeks = limits::SEEKS_PER_STEP;
    for tag in if tags.is_empty() { &any } else { tags } {
        let mut range = Range::under(&["ready", tag]);
        while let Some(entry) = step.scan(&range, 1)?.pop() {
            let [_, _, required, order, key] = entry.parts()[..] else { break };
            let words = unwords(required);
            let beyond = match words.iter().position(|w| !contains(capabilities, w)) {
                None => {
                    let head = (order.to_owned(), key.to_owned());
                    best = Some(best.map_or(head.clone(), |best| best.min(head)));
                    let all_fit = capabilities.is_empty() || step.state.counts.demanding == 0;
                    (!all_fit).then(|| format!("{required}\u{1}"))
                }
                Some(at) => leap(words, at, capabilities),
            };
            let Some(beyond) = beyond else { break };
            range.from = Entry::of(&["ready", tag, &beyond]).0;
            seeks = seeks.checked_sub(1).ok_or(Policy::TooComplex)?;
        }
    }
    let Some((_, key)) = best else { return Ok(None) };
    Ok(step.get::<TaskRecord>(&key)?.map(|task| (key, task)))
}

/// Where the combinations of nothing but these capabilities go on after one whose word number `at` is none of them.
fn leap<'a>(mut words: Vec<&'a str>, at: usize, capabilities: &'a [String]) -> Option<String> {
    words.truncate(at + 1);
    while let Some(word) = words.pop() {
        if let Some(next) = capabilities.iter().find(|c| c.as_str() > word) {
            words.push(next);
            return Some(words.join("\u{1f}"));
        }
    }
    None
}

/// Gives a task to the acting session.
fn assign<R: Rows>(
    step: &mut Step<'_, R>,
    acting: &Acting,
    key: String,
    mut task: TaskRecord,
    wish: &ClaimTask,
) -> Ruled<Claim> {
    let ticket = Ticket::of(&step.call.client, step.call.request);
    take(step, &mut task, &acting.id, &acting.session.agent, &acting.session.name, ticket)?;
    task.deadline = wish.lease.or(task.lease).or(wish.fallback).map(|lease| step.now + lease);
    step.put(&key, &task)?;
    Ok(claimed(step, key, &task))
}

fn take<R: Rows>(
    step: &mut Step<'_, R>,
    task: &mut TaskRecord,
    session: &Id,
    agent: &str,
    name: &str,
    ticket: Ticket,
) -> Ruled<()> {
    task.status = TaskStatus::Claimed;
    task.attempt += 1;
    task.token = Some(step.next_token()?);
    task.session = Some(session.clone());
    task.agent = Some(agent.to_owned());
    task.name = Some(name.to_owned());
    task.ticket = Some(ticket);
    task.claimed_at = Some(step.wall);
    task.note = None;
    task.percent = None;
    task.search = None;
    Ok(())
}

/// The answer to a claim; the task comes along.
fn claimed<R: Rows>(step: &mut Step<'_, R>, key: String, task: &TaskRecord) -> Claim {
    step.handed = Some(key.clone());
    Claim::Claimed(ClaimRef { key, attempt: task.attempt, token: task.token.unwrap_or_default(), handed: None })
}

/// Makes a task ready: the longest-waiting claim that matches gets it at once, else it waits in its queues.
pub(super) fn ready<R: Rows>(step: &mut Step<'_, R>, key: &str, mut task: TaskRecord) -> Ruled<()> {
    task.status = TaskStatus::Pending;
    task.search = None;
    hand_over(step, key, task)
}

/// A part of a line: claims of agents that can do the same. The first of them stands for it.
struct Part {
    seq: String,
    ticket: String,
    range: Range,
}

impl Part {
    fn of<R: Rows>(step: &mut Step<'_, R>, range: Range) -> Ruled<Option<Self>> {
        let Some(first) = step.scan(&range, 1)?.pop() else { return Ok(None) };
        let [_, _, _, seq, ticket] = first.parts()[..] else { return Ok(None) };
        Ok(Some(Self { seq: seq.to_owned(), ticket: ticket.to_owned(), range }))
    }
}

/// Hands a pending task over, from where an earlier step has left off.
pub(super) fn hand_over<R: Rows>(step: &mut Step<'_, R>, key: &str, mut task: TaskRecord) -> Ruled<()> {
    let from = task.search.take().unwrap_or_default();
    if step.state.counts.task_waiters > 0 {
        let (mut parts, mut reached) = parts_of_lines(step, &task, &from)?;
        let oldest = |parts: &[Part]| {
            (0..parts.len()).min_by(|a, b| {
                let place = |at: &usize| (&parts[*at].seq, &parts[*at].ticket);
                place(a).cmp(&place(b))
            })
        };
        while let Some(part) = oldest(&parts).map(|at| parts.swap_remove(at)) {
            if let Some(waiter) = live(step, &part.ticket)? {
                offer(step, key, &mut task, part.ticket, waiter)?;
                reached = None;
                break;
            }
            if step.turns == 0 {
                reached = Some(from);
                break;
            }
            step.turns -= 1;
            drop_ticket(step, &part.ticket)?;
            parts.extend(Part::of(step, part.range)?);
        }
        task.search = reached;
    }
    step.put(key, &task)
}

/// The parts of the lines in which claims wait that match a task, and where to go on when a step cannot look at all.
fn parts_of_lines<R: Rows>(
    step: &mut Step<'_, R>,
    task: &TaskRecord,
    from: &str,
) -> Ruled<(Vec<Part>, Option<String>)> {
    let mut parts = Vec::new();
    for tag in std::iter::once("").chain(task.tags.iter().map(String::as_str)) {
        if step.deserted.contains(tag) {
            continue;
        }
        // Who waits in a line stands in its part of those who need not be able to do anything, too.
        let everybody = Range::under(&["want", tag, ""]);
        let mut range = everybody.clone();
        if !task.requires.is_empty() {
            range = Range { from: range.to, to: Range::under(&["want", tag]).to };
        }
        range.from = range.from.max(from.as_bytes().to_vec());
        while range.from < range.to {
            if step.seeks == 0 {
                return Ok((parts, Some(String::from_utf8_lossy(&range.from).into_owned())));
            }
            step.seeks -= 1;
            let Some(first) = step.scan(&range, 1)?.pop() else {
                if range == everybody {
                    step.deserted.insert(tag.to_owned());
                }
                break;
            };
            let [_, _, capabilities, seq, ticket] = first.parts()[..] else { break };
            let part = Range::under(&["want", tag, capabilities]);
            range.from.clone_from(&part.to);
            let words = unwords(capabilities);
            if task.requires.iter().all(|r| words.contains(&r.as_str())) {
                parts.push(Part { seq: seq.to_owned(), ticket: ticket.to_owned(), range: part });
            }
        }
    }
    Ok((parts, None))
}

/// A waiting claim, if its session lives.
fn live<R: Rows>(step: &mut Step<'_, R>, ticket: &str) -> Ruled<Option<TaskTicketRecord>> {
    let Some(waiter) = step.get::<TaskTicketRecord>(ticket)? else { return Ok(None) };
    let Some(session) = step.get::<SessionRecord>(waiter.session.as_str())? else { return Ok(None) };
    Ok(step.is_live(&waiter.session, &session)?.then_some(waiter))
}

fn offer<R: Rows>(
    step: &mut Step<'_, R>,
    key: &str,
    task: &mut TaskRecord,
    ticket: String,
    mut waiter: TaskTicketRecord,
) -> Ruled<()> {
    take(step, task, &waiter.session, &waiter.agent, &waiter.name, Ticket::from(ticket.clone()))?;
    task.offer = Some(step.now + limits::OFFER);
    waiter.offered = Some(key.to_owned());
    step.put(&ticket, &waiter)?;
    step.wake(ticket);
    Ok(())
}

/// A claim has not taken up its task in time. It stands in no line until it asks again, and then at the end: a waiter
/// that sleeps keeps no task from others.
pub(super) fn miss<R: Rows>(step: &mut Step<'_, R>, ticket: &str) -> Ruled<()> {
    let Some(mut waiter) = step.get::<TaskTicketRecord>(ticket)? else { return Ok(()) };
    waiter.offered = None;
    waiter.away = Some(true);
    waiter.seq = step.next_seq();
    step.put(ticket, &waiter)
}

pub(in crate::machine) fn confirm<R: Rows>(step: &mut Step<'_, R>, body: ConfirmTask) -> Ruled<Claim> {
    let acting = step.acting()?;
    let ticket = body.ticket;
    let Some(mut waiter) = step.get::<TaskTicketRecord>(ticket.as_str())?.filter(|w| w.session == acting.id) else {
        return Ok(Claim::Lapsed { ticket });
    };
    if waiter.is_in_line() {
        return Ok(queued(step, ticket, &waiter));
    }
    let offered = match &waiter.offered {
        Some(key) => step.get::<TaskRecord>(key)?.map(|task| (key.clone(), task)),
        None => None,
    };
    let offered = offered.filter(|(_, task)| task.ticket.as_ref() == Some(&ticket));
    let (key, mut task) = match offered {
        Some(offered) => offered,
        // What was offered has gone elsewhere. Tasks that became ready meanwhile were not handed to this claim.
        None => match best(step, &waiter.tags, &waiter.capabilities)? {
            Some((key, mut task)) => {
                take(step, &mut task, &waiter.session, &waiter.agent, &waiter.name, ticket.clone())?;
                (key, task)
            }
            None => {
                waiter.offered = None;
                waiter.away = None;
                step.put(ticket.as_str(), &waiter)?;
                return Ok(queued(step, ticket, &waiter));
            }
        },
    };
    step.delete::<TaskTicketRecord>(ticket.as_str())?;
    task.offer = None;
    task.deadline = waiter.lease.or(task.lease).or(waiter.fallback).map(|lease| step.now + lease);
    task.claimed_at = Some(step.wall);
    step.put(&key, &task)?;
    Ok(claimed(step, key, &task))
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

/// The task that a request was answered with; a request that has not arrived yet is made void.
fn key_of<R: Rows>(step: &mut Step<'_, R>, client: &Id, request: RequestNo) -> Ruled<Option<String>> {
    let slot = step.get::<RingRecord>(&RingRecord::key(client, request))?;
    match slot {
        Some(slot) if slot.request == request && !slot.answer.is_empty() => Ok(match answered(&slot.answer) {
            Some(Claim::Claimed(claim)) => Some(claim.key),
            _ => None,
        }),
        Some(slot) if slot.request >= request => Ok(None),
        _ => {
            step.put_slot(request, &RingRecord { request, digest: String::new(), answer: Vec::new() })?;
            Ok(None)
        }
    }
}

/// The claim in the answer of a verb that claims. Answers of other verbs cannot be read as such.
fn answered(answer: &[u8]) -> Option<Claim> {
    if let Ok(Answer::Done { reply, .. }) = decode::<Answer<Claim>>(answer, "replay slot") {
        return Some(reply);
    }
    match decode::<Answer<TaskChanged>>(answer, "replay slot") {
        Ok(Answer::Done { reply, .. }) => reply.next,
        _ => None,
    }
}

/// A claim has waited long enough.
pub(in crate::machine) fn give_up<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    step.wake(key);
    drop_ticket(step, key)
}

/// Takes a claim out of its lines.
pub(in crate::machine) fn drop_ticket<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    if step.get::<TaskTicketRecord>(key)?.is_some() {
        step.delete::<TaskTicketRecord>(key)?;
    }
    Ok(())
}

/// Lets a claim whose offer was called off ask again; it keeps its place in the line.
pub(super) fn wait_on<R: Rows>(step: &mut Step<'_, R>, ticket: &str) -> Ruled<()> {
    let Some(mut waiter) = step.get::<TaskTicketRecord>(ticket)? else { return Ok(()) };
    waiter.offered = None;
    waiter.away = Some(true);
    step.put(ticket, &waiter)?;
    step.wake(ticket);
    Ok(())
}
