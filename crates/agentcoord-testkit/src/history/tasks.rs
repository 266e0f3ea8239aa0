//! Histories of tasks: one claimer an attempt, one completion a task, and no step of somebody who has lost the claim.
//!
//! Every task is an object of its own. A claim that nobody has heard the outcome of needs no place in the order: what it
//! took goes back when its future is dropped or its session ends, and till then nobody sees it.

use std::collections::{BTreeMap, BTreeSet};

use agentcoord_core::ids::Token;
use agentcoord_core::task::TaskStatus;
use serde::{Deserialize, Serialize};
use todc_utils::specifications::Specification;

use super::linear::{Span, is_linearizable};
use super::told;

/// What a process calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// Asks for any task, for as long as the session lasts, or for a lease that may run out.
    Claim {
        /// Whether the claim has a lease.
        leased: bool,
    },
    /// Ends its claim of a task by completing it.
    Complete(String, Token),
    /// Ends its claim of a task by failing it, to be tried again or not.
    Fail(String, Token, bool),
    /// Ends its claim of a task by putting it back.
    Release(String, Token),
    /// Reads a task.
    Read(String),
    /// Ends the session of a process, by itself or by a kill.
    End(u32),
}

/// What comes of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The task is the caller's.
    Claimed(String, Token),
    /// No task matched in time.
    Nothing,
    /// The task is in this state now.
    Now(TaskStatus),
    /// The claim was over already.
    Stale,
    /// The session has ended.
    Ended,
}

/// A call with what came of it.
pub type Operation = super::Operation<Call, Outcome>;

/// What was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Calls of all processes.
    pub calls: usize,
    /// Those that never heard of an outcome.
    pub unknown: usize,
    /// Tasks that were claimed or read.
    pub tasks: usize,
    /// Claims that got a task.
    pub claimed: usize,
    /// Completions that were acknowledged.
    pub completed: usize,
    /// Calls of somebody who had lost the claim.
    pub stale: usize,
    /// Calls on the task that had most.
    pub longest: usize,
}

/// Judges a history.
///
/// # Errors
/// What is wrong with it, with the calls that show it.
pub fn check(history: &[Operation]) -> Result<Report, String> {
    let mut report = Report { calls: history.len(), ..Report::default() };
    for operation in history {
        match (&operation.call, &operation.returned) {
            (_, None) => report.unknown += 1,
            (_, Some((_, Outcome::Claimed(..)))) => report.claimed += 1,
            (_, Some((_, Outcome::Stale))) => report.stale += 1,
            (Call::Complete(..), Some((_, Outcome::Now(_)))) => report.completed += 1,
            _ => {}
        }
    }
    for (task, history) in tasks(history) {
        completed_once(&history)
            .and_then(|()| has_an_order(&task, &history))
            .map_err(|what| format!("task {task}: {what}"))?;
        report.tasks += 1;
        report.longest = report.longest.max(history.len());
    }
    Ok(report)
}

/// The calls by task. An end belongs to every task that its process has claimed.
fn tasks(history: &[Operation]) -> BTreeMap<String, Vec<&Operation>> {
    let mut tasks: BTreeMap<String, Vec<&Operation>> = BTreeMap::new();
    let mut claimed: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    for operation in history {
        if let Some((_, Outcome::Claimed(key, _))) = &operation.returned {
            claimed.entry(operation.process).or_default().insert(key);
        }
    }
    for operation in history {
        match (&operation.call, &operation.returned) {
            (Call::Claim { .. }, Some((_, Outcome::Claimed(key, _))))
            | (Call::Complete(key, _) | Call::Fail(key, ..) | Call::Release(key, _) | Call::Read(key), _) => {
                tasks.entry(key.clone()).or_default().push(operation);
            }
            (Call::Claim { .. }, _) => {}
            (Call::End(process), _) => {
                for key in claimed.get(process).into_iter().flatten() {
                    tasks.entry((*key).to_owned()).or_default().push(operation);
                }
            }
        }
    }
    tasks
}

/// No two completions of a task are acknowledged.
fn completed_once(history: &[&Operation]) -> Result<(), String> {
    let done = |o: &&&Operation| {
        matches!((&o.call, &o.returned), (Call::Complete(..), Some((_, Outcome::Now(TaskStatus::Completed)))))
    };
    let done: Vec<&Operation> = history.iter().filter(done).copied().collect();
    if done.len() > 1 { Err(format!("completed more than once:\n{}", told(&done))) } else { Ok(()) }
}

/// One order of all calls explains every outcome.
fn has_an_order(task: &str, history: &[&Operation]) -> Result<(), String> {
    let mut spans = Vec::new();
    for operation in history {
        let (process, returned) = (operation.process, operation.returned.as_ref());
        let (to, outcome) = (returned.map(|(at, _)| *at), returned.map(|(_, outcome)| outcome));
        let step = match (&operation.call, outcome) {
            (Call::Claim { leased }, Some(Outcome::Claimed(_, token))) => {
                if *leased {
                    let step = Step::MayFinish(process, *token, TaskStatus::Pending);
                    spans.push(Span { from: operation.invoked, to: None, step });
                }
                Step::Claim(process, *token)
            }
            (Call::Claim { .. }, _) => continue,
            (
                Call::Complete(_, token) | Call::Fail(_, token, _) | Call::Release(_, token),
                Some(Outcome::Now(status)),
            ) => Step::Finish(process, *token, *status),
            (Call::Complete(_, token) | Call::Fail(_, token, _) | Call::Release(_, token), Some(_)) => {
                Step::Gone(process, *token)
            }
            (Call::Complete(_, token), None) => Step::MayFinish(process, *token, TaskStatus::Completed),
            (Call::Fail(_, token, true) | Call::Release(_, token), None) => {
                Step::MayFinish(process, *token, TaskStatus::Pending)
            }
            (Call::Fail(_, token, false), None) => Step::MayFinish(process, *token, TaskStatus::Failed),
            (Call::Read(_), Some(Outcome::Now(status))) => Step::Read(*status),
            (Call::Read(_), _) => continue,
            (Call::End(process), _) => Step::End(*process),
        };
        spans.push(Span { from: operation.invoked, to, step });
    }
    if is_linearizable::<Task>(&spans) {
        return Ok(());
    }
    Err(format!("no order explains what was seen of {task}:\n{}", told(history)))
}

#[derive(Clone, Debug)]
enum Step {
    Claim(u32, Token),
    /// The claim ends, and the task is in this state.
    Finish(u32, Token, TaskStatus),
    /// As `Finish` if the claim lasts; else nothing.
    MayFinish(u32, Token, TaskStatus),
    /// The claim is over.
    Gone(u32, Token),
    Read(TaskStatus),
    End(u32),
}

/// A task, as it should be.
struct Task;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    /// In words, since it is part of what the search remembers.
    status: &'static str,
    claim: Option<(u32, Token)>,
    newest: Option<Token>,
    ended: BTreeSet<u32>,
}

impl State {
    fn finish(&mut self, claim: (u32, Token), status: TaskStatus) -> bool {
        let lasts = self.claim == Some(claim);
        if lasts {
            self.claim = None;
            self.status = status.word();
        }
        lasts
    }
}

impl Specification for Task {
    type State = State;
    type Operation = Step;

    fn init() -> State {
        State { status: TaskStatus::Pending.word(), claim: None, newest: None, ended: BTreeSet::new() }
    }

    fn apply(step: &Step, state: &State) -> (bool, State) {
        let mut next = state.clone();
        let pending = TaskStatus::Pending.word();
        // The pause of a scheduled task ends by itself.
        let waits = state.status == pending || state.status == TaskStatus::Scheduled.word();
        let allowed = match step {
            Step::Claim(process, token) => {
                next.claim = Some((*process, *token));
                next.newest = Some(*token);
                next.status = TaskStatus::Claimed.word();
                waits && state.newest < Some(*token) && !state.ended.contains(process)
            }
            Step::Finish(process, token, status) => next.finish((*process, *token), *status),
            Step::MayFinish(process, token, status) => {
                next.finish((*process, *token), *status);
                true
            }
            Step::Gone(process, token) => state.claim != Some((*process, *token)),
            // It can have been lost by workers that nobody heard of, until it was given up.
            Step::Read(TaskStatus::Dead) => waits || state.status == TaskStatus::Dead.word(),
            Step::Read(status) => state.status == status.word(),
            Step::End(process) => {
                next.ended.insert(*process);
                if state.claim.is_some_and(|(claimer, _)| claimer == *process) {
                    next.claim = None;
                    next.status = pending;
                }
                true
            }
        };
        (allowed, next)
    }
}
