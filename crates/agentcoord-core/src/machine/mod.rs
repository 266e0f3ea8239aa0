//! The pure rules: synchronous functions over a small row port, without I/O and without clocks.
//!
//! The same rules stand in `lua/` for Redis. This dialect runs in the memory engine and in the file engine and is the
//! oracle of the differential test.

pub mod rows;

mod agent;
mod approval;
mod audit;
mod board;
mod history;
mod lock;
mod request;
mod step;
mod task;

use crate::error::{Refusal, Result};
use crate::op::{Answer, Call, Verb, decode, encode};
use crate::record::{ClientRecord, RingRecord};
use crate::table::Table;
use crate::time::Reading;
use crate::{
    agent as a, approval as p, audit as u, board as b, history as h, limits, lock as l, request as q, task as t,
};

pub(crate) use lock::overlapping;
use rows::Rows;
pub use step::Stepped;
use step::{Ruled, Step, Stop};

/// Runs one call as one step. The caller owns the transaction: commit it when this returns `Ok`, else roll back.
///
/// A refusal is an answer too, and then nothing was written.
pub fn run<R: Rows>(rows: &mut R, call: &Call, reading: &Reading) -> Result<Stepped> {
    macro_rules! verbs {
        ($($verb:ty => $rule:path),+ $(,)?) => {
            match call.verb {
                $(<$verb>::NAME => step::<$verb, R>(rows, call, reading, $rule),)+
                other => Err(crate::error::Error::unavailable(format!("this version knows no verb {other}"))),
            }
        };
    }
    verbs! {
        a::Register => agent::register,
        a::Heartbeat => agent::heartbeat,
        a::UpdateAgent => agent::update,
        a::Deregister => agent::deregister,
        a::EvictAgent => agent::evict,
        a::Tick => agent::tick,
        l::AcquireLock => lock::acquire,
        l::WaitLock => lock::wait,
        l::ConfirmLock => lock::confirm,
        l::RenewLock => lock::renew,
        l::ReleaseLock => lock::release,
        l::WithdrawLock => lock::withdraw,
        l::RevokeLock => lock::revoke,
        t::CreateTasks => task::create,
        t::ClaimTask => task::claim,
        t::ConfirmTask => task::confirm,
        t::WithdrawTask => task::withdraw,
        t::StartTask => task::start,
        t::ProgressTask => task::progress,
        t::ExtendTask => task::extend,
        t::CompleteTask => task::complete,
        t::FailTask => task::fail,
        t::ReleaseTask => task::release,
        t::CancelTask => task::cancel,
        t::RedriveTask => task::redrive,
        b::OpenThread => board::open,
        b::PostMessage => board::post,
        b::UpdateThread => board::update,
        b::ReadInbox => board::read,
        p::RequestApproval => approval::request,
        p::CastVote => approval::vote,
        p::CancelApproval => approval::cancel,
        p::ConsumeApproval => approval::consume,
        u::AppendAudit => audit::append,
        u::SealAudit => audit::seal,
        h::PruneHistory => history::prune,
        q::VoidRequest => request::void,
    }
}

/// The frame around a verb: replay, reaping, rule, commit.
fn step<V: Verb, R: Rows>(
    rows: &mut R,
    call: &Call,
    reading: &Reading,
    rule: impl FnOnce(&mut Step<'_, R>, V) -> Ruled<V::Reply>,
) -> Result<Stepped> {
    let framed = || -> Ruled<Stepped> {
        let mut step = Step::begin(rows, call, reading)?;
        if let Some(answer) = step.replay()? {
            return Ok(Stepped { answer, wakes: Vec::new() });
        }
        reap(&mut step, limits::REAP_PER_STEP)?;
        lock::check_fence(&mut step)?;
        let body: V = decode(&call.body, V::NAME)?;
        let reply = rule(&mut step, body)?;
        lock::hand_over(&mut step)?;
        step.commit(|csn| encode(&Answer::Done { csn, reply }))
    };
    match framed() {
        Ok(stepped) => Ok(stepped),
        Err(Stop::Refused(refusal)) => {
            let of_replay = matches!(refusal, Refusal::TooOld { .. } | Refusal::Reused { .. });
            let answer = encode(&Answer::<V::Reply>::Refused(refusal))?;
            if call.again && !of_replay {
                settled(rows, call, reading, answer)
            } else {
                Ok(Stepped { answer, wakes: Vec::new() })
            }
        }
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Makes a refusal final: an earlier copy of the request that is still on its way gets it too.
fn settled<R: Rows>(rows: &mut R, call: &Call, reading: &Reading, answer: Vec<u8>) -> Result<Stepped> {
    match Step::begin(rows, call, reading).and_then(|step| step.commit(|_| Ok(answer))) {
        Ok(stepped) => Ok(stepped),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Refused(refusal)) => Err(refusal.into()),
    }
}

/// Settles at most `limit` due items, and passes on the locks that this has freed.
fn reap<R: Rows>(step: &mut Step<'_, R>, limit: usize) -> Ruled<()> {
    for entry in step.due(limit)? {
        // What a step has changed makes its scans longer: it leaves the rest to later ones.
        if step.changed() >= limits::WORK_PER_STEP {
            break;
        }
        let [_, _, table, key] = entry.parts()[..] else { continue };
        let Some(table) = Table::parse(table).filter(|_| step.stands(&entry)) else { continue };
        step.settle();
        match table {
            Table::Session => agent::look_at(step, key)?,
            Table::Lock => lock::overdue(step, key)?,
            Table::LockTicket => lock::give_up(step, key)?,
            Table::Handover => lock::resume(step, key)?,
            Table::Task => task::overdue(step, key)?,
            Table::TaskTicket => task::give_up(step, key)?,
            Table::Approval => approval::expire(step, key)?,
            Table::Client => forget(step, key)?,
            Table::Key => step.delete::<crate::record::KeyRecord>(key)?,
            Table::Link => task::link_more(step, key)?,
            Table::Announcement => task::announce_more(step, key)?,
            Table::Agent
            | Table::Pulse
            | Table::Setback
            | Table::Dependency
            | Table::Thread
            | Table::Message
            | Table::Audit
            | Table::Seal
            | Table::Ring
            | Table::Inbox => {}
        }
    }
    lock::hand_over(step)
}

/// Drops the replay slots of a client that has been silent.
fn forget<R: Rows>(step: &mut Step<'_, R>, client: &str) -> Ruled<()> {
    for slot in 0..limits::REPLAY_WINDOW {
        let key = format!("{client}/{slot}");
        if step.get::<RingRecord>(&key)?.is_some() {
            step.delete::<RingRecord>(&key)?;
        }
    }
    step.delete::<ClientRecord>(client)
}
