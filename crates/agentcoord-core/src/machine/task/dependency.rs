//! Dependencies: a task waits until all that it depends on is completed.
//!
//! Each is a record whose state follows the state of the task that is waited for; the dependent counts those that are
//! not done, and is released when none is left. One step does that for at most [`limits::LINKS_PER_STEP`] of them. What
//! is left over is kept in records, and any later step goes on with it: an announcement brings all
//! dependencies on a task into the state that fits the task as it stands then, however often that has changed since.

use super::enqueue;
use crate::engine::KEEPER;
use crate::error::Noun;
use crate::limits;
use crate::machine::rows::Rows;
use crate::machine::step::{Ruled, Step};
use crate::record::{AnnouncementRecord, DependencyRecord, LinkRecord, TaskRecord};
use crate::table::index;
use crate::task::{DependencyState, TaskStatus};

/// Links a new task to tasks that exist: at most `links` of them now, the others in later steps.
pub(super) fn link<R: Rows>(
    step: &mut Step<'_, R>,
    key: &str,
    task: &mut TaskRecord,
    depends_on: &[String],
    links: &mut usize,
) -> Ruled<()> {
    let (now, later) = depends_on.split_at(depends_on.len().min(*links));
    *links -= now.len();
    for id in now {
        let (dependency, record) = step.resolve::<TaskRecord>(Noun::Task, id, |t| &t.id)?;
        add(step, key, task, dependency, DependencyState::of(record.status))?;
    }
    for (part, ids) in later.chunks(limits::LINK_RUN).enumerate() {
        let record = LinkRecord { task: key.to_owned(), ids: ids.to_vec(), since: step.now };
        step.put(&LinkRecord::key(key, part), &record)?;
        step.wake(KEEPER);
    }
    adjust(&mut task.waits_for, later.len() as i64);
    Ok(())
}

/// Goes on with linking a new task. It counts what is not linked yet as open.
pub(in crate::machine) fn link_more<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    if step.links == 0 {
        return Ok(());
    }
    let Some(mut record) = step.get::<LinkRecord>(key)? else { return Ok(()) };
    let Some(mut task) = step.get::<TaskRecord>(&record.task)? else { return step.delete::<LinkRecord>(key) };
    let later = record.ids.split_off(record.ids.len().min(step.links));
    step.links -= record.ids.len();
    adjust(&mut task.waits_for, -(record.ids.len() as i64));
    for id in record.ids {
        // One that is younger could wait for this very task.
        let found = step.find::<TaskRecord>(&id, |t| &t.id)?.filter(|(_, found)| found.seq < task.seq);
        let (dependency, state) = match found {
            Some((dependency, found)) => (dependency, DependencyState::of(found.status)),
            None => (id, DependencyState::Lost),
        };
        add(step, &record.task, &mut task, dependency, state)?;
    }
    if later.is_empty() {
        step.delete::<LinkRecord>(key)?;
    } else {
        step.put(key, &LinkRecord { task: record.task.clone(), ids: later, since: step.now })?;
    }
    go_on(step, &record.task, task)
}

/// Adds a dependency, unless the list has named it before.
fn add<R: Rows>(
    step: &mut Step<'_, R>,
    key: &str,
    task: &mut TaskRecord,
    dependency: String,
    state: DependencyState,
) -> Ruled<()> {
    let edge = DependencyRecord::key(&dependency, key);
    if step.get::<DependencyRecord>(&edge)?.is_none() {
        step.put(&edge, &DependencyRecord { dependency, dependent: key.to_owned(), state })?;
        count(task, state, 1);
    }
    Ok(())
}

/// Tells those that depend on a task how it stands now: as many as a step may, the others in later steps.
pub(super) fn announce<R: Rows>(step: &mut Step<'_, R>, key: &str, status: TaskStatus) -> Ruled<()> {
    if step.state.counts.dependencies == 0 {
        return Ok(());
    }
    let to = DependencyState::of(status);
    // A completed task is never redriven, so nothing leaves `Done`.
    for from in [DependencyState::Open, DependencyState::Lost] {
        if from == to {
            continue;
        }
        let page = step.scan(&index::dependents(key, from), step.links)?;
        let all = page.len() < step.links;
        step.links -= page.len();
        for entry in page {
            change(step, entry.key(), to)?;
        }
        if !all {
            step.wake(KEEPER);
            return step.put(key, &AnnouncementRecord { since: step.now });
        }
    }
    Ok(())
}

/// Goes on with what an earlier step has left.
pub(in crate::machine) fn announce_more<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    if step.links == 0 {
        return Ok(());
    }
    step.delete::<AnnouncementRecord>(key)?;
    match step.get::<TaskRecord>(key)? {
        Some(task) => announce(step, key, task.status),
        None => Ok(()),
    }
}

/// Brings a dependency into another state, and its dependent along.
fn change<R: Rows>(step: &mut Step<'_, R>, edge: &str, to: DependencyState) -> Ruled<()> {
    let Some(mut dependency) = step.get::<DependencyRecord>(edge)? else { return Ok(()) };
    let from = std::mem::replace(&mut dependency.state, to);
    step.put(edge, &dependency)?;
    let key = dependency.dependent;
    let Some(mut task) = step.get::<TaskRecord>(&key)? else { return Ok(()) };
    count(&mut task, from, -1);
    count(&mut task, to, 1);
    go_on(step, &key, task)
}

/// Puts a dependent; releases it when it was blocked and waits for nothing any more.
fn go_on<R: Rows>(step: &mut Step<'_, R>, key: &str, task: TaskRecord) -> Ruled<()> {
    if task.status == TaskStatus::Blocked && task.waits_for.is_none() {
        return enqueue(step, key, task).map(drop);
    }
    step.put(key, &task)
}

/// Counts a dependency of a task in (1) or out (-1).
fn count(task: &mut TaskRecord, state: DependencyState, by: i64) {
    if state != DependencyState::Done {
        adjust(&mut task.waits_for, by);
    }
    if state == DependencyState::Lost {
        adjust(&mut task.lost, by);
    }
}

/// Moves a number that is absent when it is zero.
fn adjust(number: &mut Option<u32>, by: i64) {
    let moved = i64::from(number.unwrap_or(0)) + by;
    *number = u32::try_from(moved).ok().filter(|n| *n > 0);
}
