//! Rules of the task queue: the life of a task. Who gets which task is [`dispatch`]'s, what comes after a lost attempt
//! [`retry`]'s, and who waits for whom [`dependency`]'s.

mod dependency;
mod dispatch;
mod retry;

use crate::engine::KEEPER;
use crate::error::{Noun, Policy, Refusal};
use crate::limits;
use crate::machine::rows::Rows;
use crate::machine::step::{Ruled, Step, Stop};
use crate::record::{KeyRecord, TaskRecord};
use crate::task::{
    CancelTask, CompleteTask, CreateTasks, Created, CreatedTask, ExtendTask, NewTask, NextTask, ProgressTask,
    ReleaseTask, StartTask, TaskChanged, TaskStatus,
};
pub(super) use dependency::{announce_more, link_more};
pub(super) use dispatch::{claim, confirm, drop_ticket, give_up, withdraw};
use dispatch::{hand_over, miss, ready, wait_on};
pub(super) use retry::{crash, fail, redrive};

pub(super) fn create<R: Rows>(step: &mut Step<'_, R>, body: CreateTasks) -> Ruled<Created> {
    let created_by = step.principal()?;
    let mut items = Vec::with_capacity(body.tasks.len());
    // Dependencies that are linked, and so known to exist, before the answer.
    let mut links = limits::WORK_PER_STEP;
    for task in body.tasks {
        items.push(create_one(step, task, &created_by, &mut links)?);
    }
    Ok(Created { items })
}

fn create_one<R: Rows>(
    step: &mut Step<'_, R>,
    new: NewTask,
    created_by: &str,
    links: &mut usize,
) -> Ruled<CreatedTask> {
    let idempotency = new.key.as_deref().map(KeyRecord::of_task);
    if let Some(known) = step.known(idempotency.as_deref(), &new.digest)? {
        return Ok(CreatedTask { key: known.key, duplicate: true });
    }
    let key = step.free_key::<TaskRecord>(&new.id, |t| &t.id)?;
    let mut task = TaskRecord {
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
        has_dependencies: (!new.depends_on.is_empty()).then_some(true),
        completed_at: None,
        error: None,
        note: None,
        percent: None,
        backoff: new.backoff,
        not_before: new.not_before,
        retry_at: None,
        setbacks: None,
        waits_for: None,
        lost: None,
        session: None,
        agent: None,
        name: None,
        token: None,
        ticket: None,
        claimed_at: None,
        deadline: None,
        offer: None,
        search: None,
    };
    if let Some(idempotency) = idempotency {
        let expires_at = step.wall + limits::KEY_TTL;
        step.put(&idempotency, &KeyRecord { key: key.clone(), digest: new.digest, expires_at })?;
    }
    dependency::link(step, &key, &mut task, &new.depends_on, links)?;
    enqueue(step, &key, task)?;
    Ok(CreatedTask { key, duplicate: false })
}

/// Puts a task where it belongs: behind what it depends on, its start time or its pause, else into its queue.
fn enqueue<R: Rows>(step: &mut Step<'_, R>, key: &str, mut task: TaskRecord) -> Ruled<TaskStatus> {
    let too_early = task.not_before.filter(|at| *at > step.wall);
    task.retry_at = task.retry_at.filter(|at| *at > step.now && too_early.is_none());
    task.status = match (task.waits_for, too_early, task.retry_at) {
        (Some(_), _, _) => TaskStatus::Blocked,
        (None, None, None) => {
            ready(step, key, task)?;
            return Ok(TaskStatus::Pending);
        }
        (None, too_early, retry_at) => {
            // It sleeps until the next thing that it knew to be due.
            let sooner = too_early.is_some_and(|at| at < step.state.next_calendar)
                || retry_at.is_some_and(|at| at < step.state.next_due);
            if sooner {
                step.wake(KEEPER);
            }
            TaskStatus::Scheduled
        }
    };
    step.put(key, &task)?;
    Ok(task.status)
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
    Err(wrong_state(key, actual, expected.word()))
}

fn wrong_state(key: &str, actual: TaskStatus, expected: &str) -> Stop {
    let (actual, expected) = (actual.word().to_owned(), expected.to_owned());
    Refusal::WrongState { noun: Noun::Task, id: key.to_owned(), actual, expected }.into()
}

fn changed(key: String, status: TaskStatus) -> TaskChanged {
    TaskChanged { key, status, next: None }
}

/// The answer to whoever has finished with a task, with the claim of the next one when that is asked for.
fn finished<R: Rows>(
    step: &mut Step<'_, R>,
    key: String,
    status: TaskStatus,
    wish: Option<NextTask>,
) -> Ruled<TaskChanged> {
    let next = match wish {
        Some(wish) => {
            let acting = step.acting()?;
            Some(match dispatch::next(step, acting, wish.into()) {
                // Refusing it would undo the end of this one.
                Err(Stop::Refused(Refusal::Policy { policy: Policy::TooComplex, .. })) => dispatch::nothing(step),
                next => next?,
            })
        }
        None => None,
    };
    Ok(TaskChanged { key, status, next })
}

pub(super) fn start<R: Rows>(step: &mut Step<'_, R>, body: StartTask) -> Ruled<TaskChanged> {
    let (key, mut task) = owned(step, &body.key, body.token)?;
    task.status = TaskStatus::InProgress;
    step.put(&key, &task)?;
    Ok(changed(key, task.status))
}

pub(super) fn progress<R: Rows>(step: &mut Step<'_, R>, body: ProgressTask) -> Ruled<TaskChanged> {
    let (key, mut task) = owned(step, &body.key, body.token)?;
    task.status = TaskStatus::InProgress;
    task.note = body.note.or(task.note);
    task.percent = body.percent.or(task.percent);
    step.put(&key, &task)?;
    Ok(changed(key, task.status))
}

pub(super) fn extend<R: Rows>(step: &mut Step<'_, R>, body: ExtendTask) -> Ruled<TaskChanged> {
    let (key, mut task) = owned(step, &body.key, body.token)?;
    task.deadline = Some(step.now + body.lease);
    step.put(&key, &task)?;
    Ok(changed(key, task.status))
}

pub(super) fn complete<R: Rows>(step: &mut Step<'_, R>, body: CompleteTask) -> Ruled<TaskChanged> {
    let (key, mut task) = owned(step, &body.key, body.token)?;
    if task.id != body.id {
        return Err(Refusal::NotFound { noun: Noun::Task, id: body.id.as_str().to_owned() }.into());
    }
    task.has_result = body.has_result.then_some(true);
    finish(step, &key, task, TaskStatus::Completed)?;
    finished(step, key, TaskStatus::Completed, body.next)
}

pub(super) fn cancel<R: Rows>(step: &mut Step<'_, R>, body: CancelTask) -> Ruled<TaskChanged> {
    let by = step.principal()?;
    let (key, mut task) = step.resolve::<TaskRecord>(Noun::Task, &body.key, |t| &t.id)?;
    if task.status.is_final() {
        return Err(wrong_state(&key, task.status, "blocked, scheduled, pending, claimed or in_progress"));
    }
    task.error = Some(match body.reason {
        Some(reason) => format!("cancelled by {by}: {reason}"),
        None => format!("cancelled by {by}"),
    });
    let (ticket, offered) = (task.ticket.clone(), task.offer.is_some());
    finish(step, &key, task, TaskStatus::Cancelled)?;
    match ticket {
        Some(ticket) if offered => wait_on(step, ticket.as_str())?,
        // The holder listens to the ticket that its claim came from.
        Some(ticket) => step.wake(ticket.as_str()),
        None => {}
    }
    Ok(changed(key, TaskStatus::Cancelled))
}

/// Brings a task to a final state. Who had it last stays readable; nobody holds it, and nothing more is due for it.
fn finish<R: Rows>(step: &mut Step<'_, R>, key: &str, mut task: TaskRecord, status: TaskStatus) -> Ruled<()> {
    let (name, agent) = (task.name.take(), task.agent.take());
    free(&mut task);
    task.name = name;
    task.agent = agent;
    task.search = None;
    task.retry_at = None;
    task.status = status;
    task.completed_at = Some(step.wall);
    step.put(key, &task)?;
    dependency::announce(step, key, status)
}

pub(super) fn release<R: Rows>(step: &mut Step<'_, R>, body: ReleaseTask) -> Ruled<TaskChanged> {
    let (key, mut task) = owned(step, &body.key, body.token)?;
    free(&mut task);
    task.attempt = task.attempt.saturating_sub(1);
    ready(step, &key, task)?;
    Ok(changed(key, TaskStatus::Pending))
}

/// The time of a task has come: of a claim's deadline or offer to pass, of a scheduled one to begin, or of one that has
/// not been shown to all waiting claims to go on.
pub(super) fn overdue<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    let Some(task) = step.get::<TaskRecord>(key)? else { return Ok(()) };
    if task.search.is_some() {
        return hand_over(step, key, task);
    }
    if task.status == TaskStatus::Scheduled {
        return enqueue(step, key, task).map(drop);
    }
    match task.ticket {
        Some(ticket) if task.offer.is_some() => miss(step, ticket.as_str())?,
        // The holder listens to the ticket that its claim came from.
        Some(ticket) => step.wake(ticket.as_str()),
        None => {}
    }
    crash(step, key, "its lease ended")
}
