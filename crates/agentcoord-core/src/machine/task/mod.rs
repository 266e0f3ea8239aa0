//! Rules of the task queue: the life of a task. Who gets which task is [`dispatch`]'s.

mod dispatch;

use crate::error::{Noun, Policy, Refusal};
use crate::limits;
use crate::machine::rows::Rows;
use crate::machine::step::{Ruled, Step};
use crate::record::{KeyRecord, TaskRecord};
use crate::task::{
    CompleteTask, CreateTasks, Created, CreatedTask, ExtendTask, FailTask, NewTask, ProgressTask, ReleaseTask,
    StartTask, TaskChanged, TaskStatus,
};
pub(super) use dispatch::{claim, confirm, drop_ticket, give_up, withdraw};
use dispatch::{line_up_again, ready};

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
    if let (Some(_), Some(ticket)) = (task.offer, &task.ticket) {
        line_up_again(step, ticket.as_str())?;
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
