//! Rules of the task queue: priority first, then first in first out; one claimer an attempt.
//!
//! Ready tasks and waiting claims never match each other: whatever makes a task ready hands it in the same step to the
//! longest-waiting claim that matches ([`ready`]), and a new claim takes the best ready task before it waits.

use crate::error::{Noun, Policy, Refusal};
use crate::ids::{Id, RequestNo, Ticket};
use crate::limits;
use crate::machine::rows::Rows;
use crate::machine::step::{Acting, Ruled, Step};
use crate::op::{Answer, decode};
use crate::record::{KeyRecord, RingRecord, SessionRecord, TaskRecord, TaskTicketRecord, unwords};
use crate::table::{Entry, Range};
use crate::task::{
    Claim, ClaimRef, ClaimTask, CompleteTask, ConfirmTask, CreateTasks, Created, CreatedTask, ExtendTask, FailTask,
    NewTask, ProgressTask, ReleaseTask, StartTask, TaskChanged, TaskStatus, WithdrawTask, Withdrawn,
};

pub(super) fn create<R: Rows>(step: &mut Step<'_, R>, body: CreateTasks) -> Ruled<Created> {
    let created_by = step.principal()?;
    let mut items = Vec::with_capacity(body.tasks.len());
    for task in body.tasks {
        items.push(create_one(step, task, &created_by)?);
    }
    Ok(Created { items })
}

fn create_one<R: Rows>(step: &mut Step<'_, R>, new: NewTask, created_by: &str) -> Ruled<CreatedTask> {
    let idempotency = new.key.as_ref().map(|k| format!("task/{k}"));
    if let Some(known) = idempotency.as_ref().map(|k| step.get::<KeyRecord>(k)).transpose()?.flatten() {
        if known.digest != new.digest {
            return Err(Policy::KeyReused.into());
        }
        return Ok(CreatedTask { key: known.key, duplicate: true });
    }
    let key = step.free_key::<TaskRecord>(&new.id, |t| &t.id)?;
    let task = TaskRecord {
        id: new.id,
        title: new.title,
        status: TaskStatus::Pending,
        priority: new.priority,
        seq: step.next_seq(),
        tags: new.tags,
        requires: new.requires,
        attempt: 0,
        max_attempts: new.max_attempts,
        crashes: 0,
        created_by: created_by.to_owned(),
        created_at: step.wall,
        lease: new.lease,
        key: new.key,
        has_description: new.has_description.then_some(true),
        has_payload: new.has_payload.then_some(true),
        has_result: None,
        completed_at: None,
        error: None,
        note: None,
        percent: None,
        session: None,
        agent: None,
        name: None,
        token: None,
        ticket: None,
        claimed_at: None,
        deadline: None,
        offer: None,
    };
    if let Some(idempotency) = idempotency {
        let expires_at = step.wall + limits::KEY_TTL;
        step.put(&idempotency, &KeyRecord { key: key.clone(), digest: new.digest, expires_at })?;
    }
    ready(step, &key, task)?;
    Ok(CreatedTask { key, duplicate: false })
}

pub(super) fn claim<R: Rows>(step: &mut Step<'_, R>, body: ClaimTask) -> Ruled<Claim> {
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
fn ready<R: Rows>(step: &mut Step<'_, R>, key: &str, mut task: TaskRecord) -> Ruled<()> {
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

/// Takes a claim away from whoever has it; the task keeps its place in the order.
fn free(task: &mut TaskRecord) {
    task.session = None;
    task.agent = None;
    task.name = None;
    task.token = None;
    task.ticket = None;
    task.claimed_at = None;
    task.deadline = None;
    task.offer = None;
}

pub(super) fn confirm<R: Rows>(step: &mut Step<'_, R>, body: ConfirmTask) -> Ruled<Claim> {
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

pub(super) fn withdraw<R: Rows>(step: &mut Step<'_, R>, body: WithdrawTask) -> Ruled<Withdrawn> {
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

/// The task, if this very claim of the acting session still holds it.
fn owned<R: Rows>(step: &mut Step<'_, R>, typed: &str, token: crate::ids::Token) -> Ruled<(String, TaskRecord)> {
    let acting = step.acting()?;
    let (key, task) = step.resolve::<TaskRecord>(Noun::Task, typed, |t| &t.id)?;
    if task.token != Some(token) || task.session.as_ref() != Some(&acting.id) {
        return Err(Refusal::Stale { noun: Noun::Task, id: key, owner: holder(&task), current: task.token }.into());
    }
    Ok((key, task))
}

/// Who has a task. A finished one keeps the name of whoever had it last, but nobody has it.
fn holder(task: &TaskRecord) -> Option<String> {
    task.session.as_ref().and(task.name.clone())
}

fn expect(key: &str, actual: TaskStatus, expected: TaskStatus) -> Ruled<()> {
    if actual == expected {
        return Ok(());
    }
    let (actual, expected) = (actual.word().to_owned(), expected.word().to_owned());
    Err(Refusal::WrongState { noun: Noun::Task, id: key.to_owned(), actual, expected }.into())
}

fn changed(key: String, task: &TaskRecord) -> TaskChanged {
    TaskChanged { key, status: task.status }
}

pub(super) fn start<R: Rows>(step: &mut Step<'_, R>, body: StartTask) -> Ruled<TaskChanged> {
    let (key, mut task) = owned(step, &body.key, body.token)?;
    task.status = TaskStatus::InProgress;
    step.put(&key, &task)?;
    Ok(changed(key, &task))
}

pub(super) fn progress<R: Rows>(step: &mut Step<'_, R>, body: ProgressTask) -> Ruled<TaskChanged> {
    let (key, mut task) = owned(step, &body.key, body.token)?;
    task.status = TaskStatus::InProgress;
    task.note = body.note.or(task.note);
    task.percent = body.percent.or(task.percent);
    step.put(&key, &task)?;
    Ok(changed(key, &task))
}

pub(super) fn extend<R: Rows>(step: &mut Step<'_, R>, body: ExtendTask) -> Ruled<TaskChanged> {
    let (key, mut task) = owned(step, &body.key, body.token)?;
    task.deadline = Some(step.now + body.lease);
    step.put(&key, &task)?;
    Ok(changed(key, &task))
}

pub(super) fn complete<R: Rows>(step: &mut Step<'_, R>, body: CompleteTask) -> Ruled<TaskChanged> {
    let (key, mut task) = owned(step, &body.key, body.token)?;
    if task.id != body.id {
        return Err(Refusal::NotFound { noun: Noun::Task, id: body.id.as_str().to_owned() }.into());
    }
    finish(step, &mut task, TaskStatus::Completed);
    task.has_result = body.has_result.then_some(true);
    step.put(&key, &task)?;
    Ok(changed(key, &task))
}

/// Brings a task to a final state. Who had it last stays readable; nobody holds it.
fn finish<R: Rows>(step: &Step<'_, R>, task: &mut TaskRecord, status: TaskStatus) {
    let (name, agent) = (task.name.take(), task.agent.take());
    free(task);
    task.name = name;
    task.agent = agent;
    task.status = status;
    task.completed_at = Some(step.wall);
}

pub(super) fn fail<R: Rows>(step: &mut Step<'_, R>, body: FailTask) -> Ruled<TaskChanged> {
    let (key, mut task) = owned(step, &body.key, body.token)?;
    task.error = Some(body.reason);
    if body.retry && task.attempt < task.max_attempts {
        free(&mut task);
        ready(step, &key, task)?;
        return Ok(TaskChanged { key, status: TaskStatus::Pending });
    }
    let status = if body.retry { TaskStatus::Dead } else { TaskStatus::Failed };
    finish(step, &mut task, status);
    step.put(&key, &task)?;
    Ok(changed(key, &task))
}

pub(super) fn release<R: Rows>(step: &mut Step<'_, R>, body: ReleaseTask) -> Ruled<TaskChanged> {
    let (key, mut task) = owned(step, &body.key, body.token)?;
    free(&mut task);
    task.attempt = task.attempt.saturating_sub(1);
    ready(step, &key, task)?;
    Ok(TaskChanged { key, status: TaskStatus::Pending })
}

/// A claim's deadline or offer has passed.
pub(super) fn overdue<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    let Some(task) = step.get::<TaskRecord>(key)? else { return Ok(()) };
    if task.offer.is_some()
        && let Some(ticket) = &task.ticket
        && let Some(mut waiter) = step.get::<TaskTicketRecord>(ticket.as_str())?
    {
        // It did not confirm in time: back to the end of the line, so that others come first.
        waiter.offered = None;
        waiter.seq = step.next_seq();
        let ticket = ticket.clone();
        step.put(ticket.as_str(), &waiter)?;
    }
    crash(step, key)
}

/// A task has lost its worker: back to its place in the queue, or dead when that happened too often.
///
/// A handed-over task that nobody confirmed has not lost anybody: its attempt does not count.
pub(super) fn crash<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    let Some(mut task) = step.get::<TaskRecord>(key)? else { return Ok(()) };
    if task.offer.is_some() {
        free(&mut task);
        task.attempt = task.attempt.saturating_sub(1);
        return ready(step, key, task);
    }
    task.crashes += 1;
    task.attempt = task.attempt.saturating_sub(1);
    if task.crashes < limits::MAX_CRASHES {
        free(&mut task);
        return ready(step, key, task);
    }
    task.error = Some(format!("lost {} workers", task.crashes));
    finish(step, &mut task, TaskStatus::Dead);
    step.put(key, &task)
}

/// A claim has waited long enough.
pub(super) fn give_up<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    step.wake(key);
    drop_ticket(step, key)
}

/// Takes a claim out of the line.
pub(super) fn drop_ticket<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    if step.get::<TaskTicketRecord>(key)?.is_some() {
        step.delete::<TaskTicketRecord>(key)?;
    }
    Ok(())
}
