//! The rule that forgets: final records go, oldest first, with everything that belongs to them alone.

use crate::error::Policy;
use crate::history::{PruneHistory, Pruned};
use crate::limits;
use crate::machine::rows::Rows;
use crate::machine::step::{Ruled, Step};
use crate::op::Actor;
use crate::record::{
    AgentRecord, AnnouncementRecord, ApprovalRecord, DependencyRecord, KeyRecord, MessageRecord, SessionRecord,
    SetbackRecord, TaskRecord, ThreadRecord,
};
use crate::table::{Range, Table, index};

/// Tables with final records.
const NOUNS: [Table; 4] = [Table::Task, Table::Thread, Table::Approval, Table::Session];

pub(super) fn prune<R: Rows>(step: &mut Step<'_, R>, body: PruneHistory) -> Ruled<Pruned> {
    if matches!(step.call.actor, Actor::Session(_)) {
        return Err(Policy::HumansOnly.into());
    }
    let old = step.wall.saturating_sub(body.older_than);
    let mut pruned = Pruned::default();
    // Records and texts that this step may still delete.
    let mut room = limits::WORK_PER_STEP;
    for table in NOUNS {
        for entry in step.scan(&index::finals(table), limits::WORK_PER_STEP + 1)? {
            let [_, _, at, key] = entry.parts()[..] else { continue };
            let is_old = at.parse::<u64>().is_ok_and(|at| at <= old);
            if !is_old && step.state.counts.finals(table) <= body.keep {
                break;
            }
            if room == 0 || !forget(step, table, key, &mut room, &mut pruned)? {
                pruned.more = true;
                return Ok(pruned);
            }
        }
    }
    Ok(pruned)
}

/// Forgets a record. False: there was no room for all that belongs to it, and the record itself stays.
fn forget<R: Rows>(
    step: &mut Step<'_, R>,
    table: Table,
    key: &str,
    room: &mut usize,
    pruned: &mut Pruned,
) -> Ruled<bool> {
    match table {
        Table::Task => {
            if !forget_task(step, key, room)? {
                return Ok(false);
            }
            pruned.tasks += 1;
        }
        Table::Thread => {
            if !forget_thread(step, key, room)? {
                return Ok(false);
            }
            pruned.threads += 1;
        }
        Table::Approval => {
            forget_approval(step, key, room)?;
            pruned.approvals += 1;
        }
        _ => {
            pruned.agents += u64::from(forget_session(step, key, room)?);
            pruned.sessions += 1;
        }
    }
    Ok(true)
}

/// Takes room for so many deletions.
fn spend(room: &mut usize, deletions: usize) {
    *room = room.saturating_sub(deletions);
}

/// What the task waited for and why its attempts came to nothing goes first. Its idempotency key stays for its own time: a
/// repeat of what was done and is forgotten does not do it again.
fn forget_task<R: Rows>(step: &mut Step<'_, R>, key: &str, room: &mut usize) -> Ruled<bool> {
    let Some(mut task) = step.get::<TaskRecord>(key)? else { return Ok(true) };
    if step.get::<AnnouncementRecord>(key)?.is_some() {
        // Some that wait for it have not been told yet how it ended.
        return Ok(false);
    }
    for entry in step.scan(&index::needs(key), *room)? {
        step.delete::<DependencyRecord>(entry.key())?;
        spend(room, 1);
    }
    let mut setbacks = task.setbacks.unwrap_or(0);
    while setbacks > 0 && *room > 0 {
        step.delete::<SetbackRecord>(&SetbackRecord::key(key, setbacks))?;
        setbacks -= 1;
        spend(room, 1);
    }
    if *room == 0 {
        task.setbacks = (setbacks > 0).then_some(setbacks);
        step.put(key, &task)?;
        return Ok(false);
    }
    let texts = [(task.has_description, "description"), (task.has_payload, "payload"), (task.has_result, "result")];
    for (_, field) in texts.into_iter().filter(|(has, _)| *has == Some(true)) {
        step.delete_blob("task", &task.id, field);
        spend(room, 1);
    }
    spend(room, 1);
    step.delete::<TaskRecord>(key)?;
    Ok(true)
}

/// Messages go first, newest first, and the thread counts those that are left.
fn forget_thread<R: Rows>(step: &mut Step<'_, R>, key: &str, room: &mut usize) -> Ruled<bool> {
    let Some(mut thread) = step.get::<ThreadRecord>(key)? else { return Ok(true) };
    while thread.count > 0 && *room > 0 {
        let message = MessageRecord::key(key, thread.count);
        if let Some(record) = step.get::<MessageRecord>(&message)? {
            step.delete_blob("message", &record.id, "text");
            step.delete::<MessageRecord>(&message)?;
        }
        thread.count -= 1;
        spend(room, 2);
    }
    if *room == 0 {
        step.put(key, &thread)?;
        return Ok(false);
    }
    spend(room, 1);
    step.delete::<ThreadRecord>(key)?;
    Ok(true)
}

fn forget_approval<R: Rows>(step: &mut Step<'_, R>, key: &str, room: &mut usize) -> Ruled<()> {
    let Some(approval) = step.get::<ApprovalRecord>(key)? else { return Ok(()) };
    for (_, field) in [(approval.has_payload, "payload"), (approval.has_diff, "diff")]
        .into_iter()
        .filter(|(has, _)| *has == Some(true))
    {
        step.delete_blob("approval", &approval.id, field);
        spend(room, 1);
    }
    forget_key(step, approval.key.as_deref(), key, room)?;
    spend(room, 1);
    step.delete::<ApprovalRecord>(key)
}

/// Forgets the idempotency key of an approval if it still names it. Nobody can take up a verdict that is forgotten, so a repeat
/// of the request asks people again.
fn forget_key<R: Rows>(step: &mut Step<'_, R>, idempotency: Option<&str>, key: &str, room: &mut usize) -> Ruled<()> {
    let Some(idempotency) = idempotency.map(|k| format!("approval/{k}")) else { return Ok(()) };
    if step.get::<KeyRecord>(&idempotency)?.is_some_and(|known| known.key == key) {
        spend(room, 1);
        step.delete::<KeyRecord>(&idempotency)?;
    }
    Ok(())
}

/// Forgets a session, and its agent when that was its last. Whether the agent went too.
fn forget_session<R: Rows>(step: &mut Step<'_, R>, key: &str, room: &mut usize) -> Ruled<bool> {
    let Some(session) = step.get::<SessionRecord>(key)? else { return Ok(false) };
    spend(room, 1);
    step.delete::<SessionRecord>(key)?;
    let agent = session.agent;
    let is_last = step.get::<AgentRecord>(&agent)?.is_some_and(|record| record.session.as_str() == key);
    if !is_last || !step.scan(&Range::under(&["live", &agent]), 1)?.is_empty() {
        return Ok(false);
    }
    spend(room, 1);
    step.delete::<AgentRecord>(&agent)?;
    Ok(true)
}
