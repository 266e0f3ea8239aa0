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
    Done(Option<String>),
    Failed { reason: String, retry: bool },
    PutBack,
}

impl Word {
    fn of(outcome: Result<Option<String>, Failure>) -> Self {
        match outcome {
            Ok(result) => Self::Done(result),
            Err(failure) => match failure.fate {
                Fate::Retry => Self::Failed { reason: failure.reason().to_owned(), retry: true },
                Fate::Fatal => Self::Failed { reason: failure.reason().to_owned(), retry: false },
                Fate::PutBack => Self::PutBack,
            },
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
    fn take_turn(&self) -> bool {
        self.claims.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < self.most).then_some(n + 1)).is_ok()
    }

    fn give_turn_back(&self) {
        self.claims.fetch_sub(1, Ordering::Relaxed);
    }

    /// The next task; none: this slot has nothing more to do.
    async fn next(&self) -> Result<Option<Task>> {
        loop {
            if *self.phases.borrow() > Phase::Claiming || !self.take_turn() {
                return Ok(None);
            }
            let claimed = tokio::select! {
                biased;
                () = self.until(Phase::Finishing) => Ok(None),
                claimed = task::claim(&self.holder, self.claim.clone()) => claimed,
            };
            if let Ok(Some(task)) = claimed {
                return Ok(Some(task));
            }
            self.give_turn_back();
            match claimed {
                // Nothing to claim, and nothing to wait for; or the session's waits were cancelled.
                Ok(_) => return Ok(None),
                Err(error) if is_away(&error) => self.wait_for_engine(&error).await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn wait_for_engine(&self, error: &Error) {
        tracing::warn!(%error, "the worker tries again");
        tokio::select! {
            () = self.until(Phase::Releasing) => {}
            () = tokio::time::sleep(AWAY) => {}
        }
    }

    /// Says how a task went, and says it again while the engine is away. A refusal is the end of it.
    ///
    /// The next task comes in the same round trip when one is ready and the worker may claim one.
    async fn say(&self, task: &Task, word: &Word) -> Result<(Ending, Option<Task>)> {
        loop {
            let next = self.next_at_once();
            let wants_next = next.is_some();
            let said = match word {
                Word::Done(result) => {
                    task.ended(End::Done(result.clone()), next).await.map(|next| (Ending::Completed, next))
                }
                Word::Failed { reason, retry } => {
                    let end = End::Failed { reason: reason.clone(), retry: *retry };
                    task.ended(end, next).await.map(|next| (Ending::Failed, next))
                }
                Word::PutBack => task.released().await.map(|()| (Ending::Released, None)),
            };
            if wants_next && !matches!(said, Ok((_, Some(_)))) {
                self.give_turn_back();
            }
            match said {
                Err(error) if is_away(&error) && *self.phases.borrow() < Phase::Releasing => {
                    self.wait_for_engine(&error).await;
                }
                said => return said,
            }
        }
    }

    /// The claim that goes with the end of a task; none: no more is claimed.
    fn next_at_once(&self) -> Option<NextTask> {
        let claims = *self.phases.borrow() == Phase::Claiming && self.take_turn();
        claims.then(|| NextTask { wait: Some(0), ..self.claim.clone().into() })
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
            // Whoever is away until the end is told by the withdrawal.
            held.is_settled = !matches!(&ending, Err(error) if is_away(error));
            match ending {
                Ok((ending, next)) => {
                    self.count(ending);
                    ready = next;
                }
                Err(Error::Stale { .. }) => self.count(Ending::Lost),
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
        match self.say(task, &Word::of(outcome)).await {
            // A result that no record takes: no attempt would help.
            Err(Error::Invalid { field, given, allowed }) => {
                let failure = Failure::fatal(Error::Invalid { field, given, allowed });
                self.say(task, &Word::of(Err(failure))).await
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
