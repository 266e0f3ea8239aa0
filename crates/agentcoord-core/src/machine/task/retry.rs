//! Attempts that came to nothing: each leaves a record of why; the task rests and is tried again, or is dead until
//! somebody redrives it.

use super::{changed, dependency, enqueue, finish, finished, free, owned, ready, wrong_state};
use crate::error::Noun;
use crate::limits;
use crate::machine::audit;
use crate::machine::rows::Rows;
use crate::machine::step::{Ruled, Step};
use crate::record::{SetbackRecord, TaskRecord};
use crate::task::{FailTask, RedriveTask, TaskChanged, TaskStatus};

pub(in crate::machine) fn fail<R: Rows>(step: &mut Step<'_, R>, body: FailTask) -> Ruled<TaskChanged> {
    let (key, mut task) = owned(step, &body.key, body.token)?;
    note(step, &key, &mut task, &body.reason, false)?;
    task.error = Some(body.reason);
    if body.retry && task.attempt < task.max_attempts {
        let pause = task.backoff.unwrap_or_default().pause(task.attempt, body.chance);
        free(&mut task);
        task.retry_at = Some(step.now + pause);
        let status = enqueue(step, &key, task)?;
        return finished(step, key, status, body.next);
    }
    let status = if body.retry { TaskStatus::Dead } else { TaskStatus::Failed };
    finish(step, &key, task, status)?;
    audit::record(step, body.audit)?;
    finished(step, key, status, body.next)
}

/// Keeps why an attempt came to nothing.
fn note<R: Rows>(step: &mut Step<'_, R>, key: &str, task: &mut TaskRecord, reason: &str, crashed: bool) -> Ruled<()> {
    let number = task.setbacks.unwrap_or(0) + 1;
    task.setbacks = Some(number);
    let setback = SetbackRecord {
        at: step.wall,
        attempt: task.attempt,
        reason: reason.to_owned(),
        crashed: crashed.then_some(true),
        agent: task.agent.clone(),
        name: task.name.clone(),
    };
    step.put(&SetbackRecord::key(key, number), &setback)
}

/// A task has lost its worker: back to its place in the queue at once, or dead when that happened too often.
///
/// A handed-over task that nobody confirmed has not lost anybody: its attempt does not count.
pub(in crate::machine) fn crash<R: Rows>(step: &mut Step<'_, R>, key: &str, why: &str) -> Ruled<()> {
    let Some(mut task) = step.get::<TaskRecord>(key)? else { return Ok(()) };
    if task.offer.is_none() {
        note(step, key, &mut task, why, true)?;
        task.crashes += 1;
    }
    task.attempt = task.attempt.saturating_sub(1);
    if task.offer.is_some() || task.crashes < limits::MAX_CRASHES {
        free(&mut task);
        return ready(step, key, task);
    }
    task.error = Some(format!("lost {} workers", task.crashes));
    finish(step, key, task, TaskStatus::Dead)
}

pub(in crate::machine) fn redrive<R: Rows>(step: &mut Step<'_, R>, body: RedriveTask) -> Ruled<TaskChanged> {
    step.principal()?;
    let (key, mut task) = step.resolve::<TaskRecord>(Noun::Task, &body.key, |t| &t.id)?;
    if !matches!(task.status, TaskStatus::Failed | TaskStatus::Cancelled | TaskStatus::Dead) {
        return Err(wrong_state(&key, task.status, "failed, cancelled or dead"));
    }
    free(&mut task);
    task.attempt = 0;
    task.crashes = 0;
    task.completed_at = None;
    task.error = None;
    task.note = None;
    task.percent = None;
    let status = enqueue(step, &key, task)?;
    dependency::announce(step, &key, status)?;
    Ok(changed(key, status))
}
