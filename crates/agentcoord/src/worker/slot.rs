//! One slot of a worker: a claim at a time, from the claim to the last word about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agentcoord_core::task::{ClaimTask, NextTask};
use agentcoord_core::{Error, Result};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::failure::Fate;
use super::{Failure, Worked};
use crate::client::Holder;
use crate::next::End;
use crate::task::{self, Task};

/// Pause before a call is made again that failed because the engine is away.
const AWAY: Duration = Duration::from_millis(500);

/// How far the worker is; it only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Claiming,
    /// What runs is finished, and no more is claimed.
    Finishing,
    /// What runs is dropped and put back.
    Releasing,
}

impl Phase {
    /// Goes forward to a phase. Whether that changed anything.
    pub(super) fn advance(&mut self, to: Self) -> bool {
        let forward = *self < to;
        *self = (*self).max(to);
        forward
    }
}

/// How a claim has ended.
enum Ending {
    Completed,
    Failed,
    Released,
    Lost,
}

/// The last word about a claim.
enum Word {
    End(End),
    PutBack,
}

impl Word {
    fn of(task: &Task, outcome: Result<Option<String>, Failure>) -> Self {
        let failure = match outcome {
            Ok(result) => return Self::End(End::Done(result)),
            Err(failure) => failure,
        };
        let reason = failure.reason().to_owned();
        match failure.fate {
            Fate::Retry => Self::End(End::Failed { reason, retry: true }),
            Fate::Fatal => Self::End(End::Failed { reason, retry: false }),
            Fate::PutBack => {
                // The record keeps no reason of what counts as no attempt.
                tracing::info!(task = task.id(), reason, "a task is put back");
                Self::PutBack
            }
        }
    }

    fn ending(&self) -> Ending {
        match self {
            Self::End(End::Done(_)) => Ending::Completed,
            Self::End(End::Failed { .. }) => Ending::Failed,
            Self::PutBack => Ending::Released,
        }
    }
}

/// The right to claim one more task. It goes back unless it is used.
struct Turn<'a>(Option<&'a AtomicU64>);

impl Turn<'_> {
    fn used(mut self) {
        self.0 = None;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(claims) = self.0 {
            claims.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What all slots of a worker share.
pub(super) struct Shared<H> {
    holder: Holder,
    claim: ClaimTask,
    most: u64,
    phases: watch::Receiver<Phase>,
    handler: Arc<H>,
    claims: AtomicU64,
    endings: [AtomicU64; 4],
}

impl<H> Shared<H> {
    pub(super) fn new(holder: Holder, claim: ClaimTask, most: u64, phases: watch::Receiver<Phase>, handler: H) -> Self {
        let handler = Arc::new(handler);
        Self { holder, claim, most, phases, handler, claims: AtomicU64::new(0), endings: Default::default() }
    }

    pub(super) fn worked(&self) -> Worked {
        let [completed, failed, released, lost] = [0, 1, 2, 3].map(|n: usize| self.endings[n].load(Ordering::Relaxed));
        Worked { completed, failed, released, lost }
    }

    /// Resolves when the worker has come to a phase or beyond.
    async fn until(&self, phase: Phase) {
        let mut phases = self.phases.clone();
        // A worker that is gone has no further phase.
        if phases.wait_for(|now| *now >= phase).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether one more task may be claimed; counts it.
    fn turn(&self) -> Option<Turn<'_>> {
        let count = |n| (n < self.most).then_some(n + 1);
        let is_claiming = *self.phases.borrow() == Phase::Claiming;
        let is_mine = is_claiming && self.claims.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_ok();
        is_mine.then(|| Turn(Some(&self.claims)))
    }

    /// The next task; none: this slot has nothing more to do.
    async fn next(&self) -> Result<Option<Task>> {
        while let Some(turn) = self.turn() {
            let claimed = tokio::select! {
                biased;
                () = self.until(Phase::Finishing) => Ok(None),
                claimed = task::claim(&self.holder, self.claim.clone()) => claimed,
            };
            match claimed {
                Ok(Some(task)) => {
                    turn.used();
                    return Ok(Some(task));
                }
                // Nothing to claim, and nothing to wait for; or the session's waits were cancelled.
                Ok(None) => return Ok(None),
                Err(error) if is_away(&error) => {
                    drop(turn);
                    self.wait_for_engine(&error).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn wait_for_engine(&self, error: &Error) {
        tracing::warn!(%error, "the worker tries again");
        tokio::select! {
            () = self.until(Phase::Releasing) => {}
            () = tokio::time::sleep(AWAY) => {}
        }
    }

    /// Says how a task went, and says it again while the engine is away. A refusal is the end of it.
    async fn say(&self, task: &Task, word: &Word) -> Result<(Ending, Option<Task>)> {
        let mut may_be_heard = false;
        loop {
            let said = match word {
                Word::End(end) => self.end(task, end).await,
                Word::PutBack => task.release().await.map(|()| None),
            };
            match said {
                Ok(next) => return Ok((word.ending(), next)),
                Err(Error::Stale { .. }) if may_be_heard && task.has_ended().await? => {
                    return Ok((word.ending(), None));
                }
                Err(error) if is_away(&error) && *self.phases.borrow() < Phase::Releasing => {
                    may_be_heard |= matches!(error, Error::OutcomeUnknown { .. });
                    self.wait_for_engine(&error).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends a task. The next one comes in the same round trip when one is ready and the worker may claim one.
    async fn end(&self, task: &Task, end: &End) -> Result<Option<Task>> {
        let turn = self.turn();
        let ClaimTask { tags, lease, .. } = &self.claim;
        let next = turn.as_ref().map(|_| NextTask { tags: tags.clone(), lease: *lease, wait: Some(0) });
        let claim = task.end(end.clone(), next).await?;
        let (Some(turn), Some(claim)) = (turn, claim) else { return Ok(None) };
        match Task::read(self.holder.clone(), claim).await {
            Ok(next) => {
                turn.used();
                Ok(Some(next))
            }
            Err(error) => {
                tracing::warn!(%error, "the next task cannot be read and goes back");
                Ok(None)
            }
        }
    }

    fn count(&self, ending: Ending) {
        self.endings[ending as usize].fetch_add(1, Ordering::Relaxed);
    }
}

impl<H, F, T> Shared<H>
where
    H: Fn(Arc<Task>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
    T: Serialize + 'static,
{
    /// Claims and works until there is nothing more to do.
    pub(super) async fn work(self: Arc<Self>) -> Result<()> {
        let mut ready = None;
        loop {
            let task = match ready.take() {
                Some(task) => task,
                None => match self.next().await? {
                    Some(task) => task,
                    None => return Ok(()),
                },
            };
            let mut held = Held { task: Arc::new(task), is_settled: false };
            let ending = self.perform(&held.task).await;
            held.is_settled = matches!(&ending, Ok(_) | Err(Error::Stale { .. }));
            match ending {
                Ok((ending, next)) => {
                    self.count(ending);
                    ready = next;
                }
                Err(Error::Stale { .. }) => self.count(Ending::Lost),
                // Whoever is away until the end is told by the withdrawal.
                Err(error) if is_away(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs the handler, and says how it went. The next task, when it came along.
    async fn perform(&self, task: &Arc<Task>) -> Result<(Ending, Option<Task>)> {
        // Alone in its set: dropped with it, and dropped before the task is put back.
        let mut running = JoinSet::new();
        let (handler, its) = (Arc::clone(&self.handler), Arc::clone(task));
        running.spawn(async move { handler(its).await.and_then(|value| result_of(&value)) });
        let outcome = tokio::select! {
            ended = running.join_next() => match ended {
                Some(Ok(outcome)) => outcome,
                Some(Err(error)) if error.is_panic() => Err(Failure::panicked(&*error.into_panic())),
                // The runtime is shutting down.
                _ => Err(Failure::put_back("the handler was cancelled")),
            },
            () = task.lost_later() => {
                running.shutdown().await;
                return Ok((Ending::Lost, None));
            }
            () = self.until(Phase::Releasing) => {
                running.shutdown().await;
                Err(Failure::put_back("the worker ends"))
            }
        };
        match self.say(task, &Word::of(task, outcome)).await {
            // A result that no record takes: no attempt would help.
            Err(Error::Invalid { field, given, allowed }) => {
                let failure = Failure::fatal(Error::Invalid { field, given, allowed });
                self.say(task, &Word::of(task, Err(failure))).await
            }
            said => said,
        }
    }
}

/// A handler's value as JSON text; `null` is no result.
fn result_of(value: &impl Serialize) -> Result<Option<String>, Failure> {
    let text = serde_json::to_string(value).map_err(|e| Failure::fatal(format!("the result is no JSON: {e}")))?;
    Ok((text != "null").then_some(text))
}

/// A claim that goes back when its slot is dropped before the last word.
struct Held {
    task: Arc<Task>,
    is_settled: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_settled {
            self.task.release_later();
        }
    }
}

/// The engine may be back in a moment.
fn is_away(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. } | Error::OutcomeUnknown { .. })
}
