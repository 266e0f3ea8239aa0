//! Waiting without polling: a request that queues has a ticket in the store; a wake-up, or the next due time, makes it
//! confirm. Nothing a dropped future has left behind stays: it is withdrawn by its request number.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agentcoord_core::ids::{RequestNo, Ticket, Token};
use agentcoord_core::lock::{Acquire, AcquireLock, ConfirmLock, LockPath, ReleaseLock, WaitLock, WithdrawLock};
use agentcoord_core::op::{Actor, Verb};
use agentcoord_core::task::{
    Claim, ClaimTask, CompleteTask, ConfirmTask, FailTask, ReleaseTask, TaskChanged, WithdrawTask,
};
use agentcoord_core::{Disposition, Error, Result};

use crate::connection::Connection;
use crate::host::Style;
use crate::keeper;
use crate::requests::Unresolved;

/// The slow check behind every wake-up: the longest that a lost one can delay a waiter.
pub(crate) const SAFETY: Duration = Duration::from_secs(5);
/// The same among many waits of one client.
const SAFETY_OF_MANY: Duration = Duration::from_secs(30);
/// So far apart are the slow checks of one client, unless its waits are too many for that.
const CHECKS_APART: Duration = Duration::from_millis(500);

/// Who may be in the way of a request.
#[derive(Clone, Debug)]
pub(crate) enum InTheWay {
    /// Who holds any of these paths.
    Holders(Vec<LockPath>),
    /// Who has this task, or none named: any task.
    Workers(Option<String>),
}

/// A verb that may queue.
pub(crate) trait Queues: Verb + Clone {
    /// What the wait comes to.
    type Outcome;
    type Confirm: Verb<Reply = Self::Outcome>;
    fn confirm(ticket: Ticket) -> Self::Confirm;
    /// What the first answer says of the wait.
    fn outcome(reply: Self::Reply) -> Self::Outcome;
    /// The ticket and the next due time, when the request waits.
    fn queued(outcome: &Self::Outcome) -> Option<(Ticket, Option<u64>)>;
    /// Takes back a request of this kind.
    fn withdrawal(actor: Actor, left: Left) -> Withdrawal;
    /// Takes back a request whose answer is not known.
    fn undoing(self, actor: Actor, request: Unresolved) -> Withdrawal {
        Self::withdrawal(actor, Left::asked(request))
    }
    fn in_the_way(&self) -> InTheWay;
}

impl Queues for AcquireLock {
    type Outcome = Acquire;
    type Confirm = ConfirmLock;

    fn outcome(reply: Acquire) -> Acquire {
        reply
    }

    fn confirm(ticket: Ticket) -> ConfirmLock {
        ConfirmLock { ticket }
    }

    fn queued(outcome: &Acquire) -> Option<(Ticket, Option<u64>)> {
        match outcome {
            Acquire::Queued { ticket, tick_in } => Some((ticket.clone(), *tick_in)),
            Acquire::Granted(_)
            | Acquire::Contended { .. }
            | Acquire::Deadlock { .. }
            | Acquire::Lapsed { .. }
            | Acquire::Free => None,
        }
    }

    fn in_the_way(&self) -> InTheWay {
        InTheWay::Holders(self.paths.clone())
    }

    fn withdrawal(actor: Actor, left: Left) -> Withdrawal {
        Withdrawal::Lock(actor, left)
    }
}

fn waits(claim: &Claim) -> Option<(Ticket, Option<u64>)> {
    match claim {
        Claim::Queued { ticket, tick_in } => Some((ticket.clone(), *tick_in)),
        Claim::Claimed(_) | Claim::Nothing { .. } | Claim::Lapsed { .. } => None,
    }
}

impl Queues for WaitLock {
    type Outcome = Acquire;
    type Confirm = ConfirmLock;

    fn confirm(ticket: Ticket) -> ConfirmLock {
        ConfirmLock { ticket }
    }

    fn outcome(reply: Acquire) -> Acquire {
        reply
    }

    fn queued(outcome: &Acquire) -> Option<(Ticket, Option<u64>)> {
        AcquireLock::queued(outcome)
    }

    fn in_the_way(&self) -> InTheWay {
        InTheWay::Holders(self.paths.clone())
    }

    fn withdrawal(actor: Actor, left: Left) -> Withdrawal {
        Withdrawal::Lock(actor, left)
    }
}

impl Queues for ClaimTask {
    type Outcome = Claim;
    type Confirm = ConfirmTask;

    fn confirm(ticket: Ticket) -> ConfirmTask {
        ConfirmTask { ticket }
    }

    fn outcome(reply: Claim) -> Claim {
        reply
    }

    fn queued(outcome: &Claim) -> Option<(Ticket, Option<u64>)> {
        waits(outcome)
    }

    fn in_the_way(&self) -> InTheWay {
        InTheWay::Workers(self.id.clone())
    }

    fn withdrawal(actor: Actor, left: Left) -> Withdrawal {
        Withdrawal::Task(actor, left)
    }
}

/// The end of a task, which may claim the next one.
macro_rules! ends_and_claims {
    ($verb:ty, $undoing:ident) => {
        impl Queues for $verb {
            type Outcome = Claim;
            type Confirm = ConfirmTask;

            fn confirm(ticket: Ticket) -> ConfirmTask {
                ConfirmTask { ticket }
            }

            fn outcome(reply: TaskChanged) -> Claim {
                reply.next.unwrap_or(Claim::Nothing { pending: 0 })
            }

            fn queued(outcome: &Claim) -> Option<(Ticket, Option<u64>)> {
                waits(outcome)
            }

            fn in_the_way(&self) -> InTheWay {
                InTheWay::Workers(None)
            }

            fn withdrawal(actor: Actor, left: Left) -> Withdrawal {
                Withdrawal::Task(actor, left)
            }

            fn undoing(self, actor: Actor, request: Unresolved) -> Withdrawal {
                Withdrawal::$undoing(actor, Box::new(self), request)
            }
        }
    };
}
ends_and_claims!(CompleteTask, Next);
ends_and_claims!(FailTask, NextAfterFailure);

/// A request to be taken back, by its number.
#[derive(Debug)]
pub(crate) struct Left {
    request: RequestNo,
    confirm: Option<RequestNo>,
    /// Keeps the answer in the store until then: what was granted by an answer that was lost is known by it only.
    _unresolved: Option<Unresolved>,
}

impl Left {
    fn asked(request: Unresolved) -> Self {
        Self { request: request.number, confirm: None, _unresolved: Some(request) }
    }

    fn waiting(request: RequestNo, confirm: Option<Unresolved>) -> Self {
        Self { request, confirm: confirm.as_ref().map(|confirm| confirm.number), _unresolved: confirm }
    }
}

/// What a dropped future or guard has left behind.
#[derive(Debug)]
pub(crate) enum Withdrawal {
    Lock(Actor, Left),
    Task(Actor, Left),
    Release(Actor, Token),
    Unclaim(Actor, ReleaseTask),
    /// A claim that goes with the end of a task: the end stands, the claim does not.
    Next(Actor, Box<CompleteTask>, Unresolved),
    NextAfterFailure(Actor, Box<FailTask>, Unresolved),
}

impl Withdrawal {
    pub(crate) async fn run(&self, connection: &Connection) -> Result<()> {
        match self {
            Self::Next(actor, end, request) => undo_claim(connection, actor, end.as_ref(), request).await,
            Self::NextAfterFailure(actor, end, request) => undo_claim(connection, actor, end.as_ref(), request).await,
            Self::Lock(actor, left) => {
                let body = WithdrawLock { request: left.request, confirm: left.confirm };
                connection.keep_up(actor, body).await.map(drop)
            }
            Self::Task(actor, left) => withdraw_claim(connection, actor, left.request, left.confirm).await,
            Self::Release(actor, token) => {
                match connection.keep_up(actor, ReleaseLock { token: *token, paths: Vec::new() }).await {
                    // Already gone: released, expired, or ended with its session.
                    Ok(_) | Err(Error::Stale { .. }) => Ok(()),
                    Err(error) => Err(error),
                }
            }
            Self::Unclaim(actor, body) => match connection.keep_up(actor, body.clone()).await {
                // Already over: cancelled, expired, or ended with its session.
                Ok(_) | Err(Error::Stale { .. }) => Ok(()),
                Err(error) => Err(error),
            },
        }
    }
}

async fn withdraw_claim(
    connection: &Connection,
    actor: &Actor,
    request: RequestNo,
    confirm: Option<RequestNo>,
) -> Result<()> {
    connection.keep_up(actor, WithdrawTask { request, confirm }).await.map(drop)
}

/// Makes sure that a task has ended under this number or never will, and withdraws the claim that went with it.
async fn undo_claim<V: Verb + Clone>(
    connection: &Connection,
    actor: &Actor,
    end: &V,
    request: &Unresolved,
) -> Result<()> {
    match connection.ask_again(request.number, actor, end.clone()).await {
        Ok(_) => withdraw_claim(connection, actor, request.number, None).await,
        // It was refused as a whole: nothing is claimed.
        Err(error) if error.disposition() == Disposition::Permanent => Ok(()),
        Err(error) => Err(error),
    }
}

/// How long a wait sleeps without news when its client has so many.
fn safety_of(waits: usize) -> Duration {
    let turns = u32::try_from(waits).unwrap_or(u32::MAX);
    CHECKS_APART.saturating_mul(turns).clamp(SAFETY, SAFETY_OF_MANY)
}

/// How far a request has come.
#[derive(Debug)]
enum Stage<V> {
    /// Its answer is not known.
    Asked(V, Unresolved),
    /// It waits under its ticket, which stays whatever else is asked; so do the answers of confirms, unless one is lost.
    Waiting(RequestNo, Option<Unresolved>),
    Settled,
}

/// A request under way. Dropped before it is settled, it withdraws itself.
struct InFlight<'a, V: Queues> {
    connection: &'a Connection,
    actor: &'a Actor,
    stage: Stage<V>,
    _counted: Arc<()>,
}

impl<V: Queues> Drop for InFlight<'_, V> {
    fn drop(&mut self) {
        let actor = self.actor.clone();
        self.connection.withdraw_later(match std::mem::replace(&mut self.stage, Stage::Settled) {
            Stage::Asked(body, request) => body.undoing(actor, request),
            Stage::Waiting(request, confirm) => V::withdrawal(actor, Left::waiting(request, confirm)),
            Stage::Settled => return,
        });
    }
}

impl Connection {
    /// Takes locks; waits in the queue as long as `body.wait` allows.
    ///
    /// # Errors
    /// As [`Connection::run`].
    ///
    /// # Cancel safety
    /// Cancel-safe: dropped, it leaves the queue or gives the grant back.
    pub async fn acquire(&self, actor: &Actor, body: AcquireLock) -> Result<Acquire> {
        match self.queue(actor, body.clone()).await? {
            Acquire::Contended { .. } if self.share_keeping(&body).await > 0 => self.queue(actor, body).await,
            outcome => Ok(outcome),
        }
    }

    /// Waits until locks could be had, as long as `body.wait` allows, and takes nothing: [`Acquire::Free`].
    ///
    /// # Errors
    /// As [`Connection::run`].
    ///
    /// # Cancel safety
    /// Cancel-safe: dropped, it leaves.
    pub async fn wait_free(&self, actor: &Actor, body: WaitLock) -> Result<Acquire> {
        let give_up = body.wait.map(|wait| Instant::now() + Duration::from_millis(wait));
        let mut body = body;
        loop {
            let outcome = match self.queue(actor, body.clone()).await? {
                Acquire::Contended { .. } if self.share_keeping(&body).await > 0 => {
                    self.queue(actor, body.clone()).await?
                }
                outcome => outcome,
            };
            let left = give_up.map(|at| at.saturating_duration_since(Instant::now()));
            match outcome {
                // The answer came while this process was stopped: what it said may not be true any more.
                Acquire::Lapsed { .. } if left.is_none_or(|left| !left.is_zero()) => {
                    body.wait = left.map(crate::client::millis);
                }
                outcome => return Ok(outcome),
            }
        }
    }

    /// One command's share of the keeper's work, because nobody else may be there to do it. Long-lived processes leave
    /// that to the keeper. How many sessions it has ended.
    async fn share_keeping<V: Queues>(&self, body: &V) -> usize {
        if self.host().style() == Style::LongRunning { 0 } else { self.evict_dead(&body.in_the_way()).await }
    }

    /// Ends the first few sessions that are in the way and whose process has ended. How many it were.
    async fn evict_dead(&self, in_the_way: &InTheWay) -> usize {
        match keeper::evict_dead(self, in_the_way).await {
            Ok(evicted) => evicted,
            Err(error) => {
                // Their time to live ends them too.
                tracing::debug!(%error, "those in the way could not be looked at");
                0
            }
        }
    }

    /// Claims a task; waits as long as `body.wait` allows.
    ///
    /// # Errors
    /// As [`Connection::run`].
    ///
    /// # Cancel safety
    /// Cancel-safe: dropped, it leaves the line or puts the task back.
    pub async fn claim(&self, actor: &Actor, body: ClaimTask) -> Result<Claim> {
        match self.queue(actor, body.clone()).await {
            Ok(Claim::Nothing { .. }) | Err(Error::Held { .. }) if self.share_keeping(&body).await > 0 => {
                self.queue(actor, body).await
            }
            outcome => outcome,
        }
    }

    /// Ends a task and claims the next one in the same step; waits for that as long as `end.next` allows.
    ///
    /// # Errors
    /// As [`Connection::run`].
    ///
    /// # Cancel safety
    /// Cancel-safe: dropped, the task ends all the same, and the claim leaves the line or puts its task back.
    pub(crate) async fn end_and_claim<V>(&self, actor: &Actor, end: V) -> Result<Claim>
    where
        V: Queues<Outcome = Claim>,
    {
        self.queue(actor, end).await
    }

    async fn queue<V: Queues>(&self, actor: &Actor, body: V) -> Result<V::Outcome> {
        let request = self.next_number().await;
        let number = request.number;
        let ticket = Ticket::of(self.client(), number);
        let interest = self.news().listen(ticket.as_str());
        let in_the_way = body.in_the_way();
        // News that come before this client listens are missed.
        let mut heard_on = self.heard();
        let (mut switches, mut deaf) = (None, None);
        let mut keeping = self.host().style() == Style::OneShot;
        let stage = Stage::Asked(body.clone(), request);
        let mut flight = InFlight { connection: self, actor, stage, _counted: Arc::clone(self.waits()) };
        let mut outcome = self.ask(number, actor, body).await.map(V::outcome);
        loop {
            let reply = match outcome {
                Ok(reply) => reply,
                Err(error) => {
                    // What was refused has left nothing behind; what waits, or may have happened, is withdrawn.
                    let is_refused = error.disposition() == Disposition::Permanent;
                    if is_refused && matches!(flight.stage, Stage::Asked(..)) {
                        flight.stage = Stage::Settled;
                    }
                    return Err(error);
                }
            };
            let Some((ticket, tick_in)) = V::queued(&reply) else {
                flight.stage = Stage::Settled;
                return Ok(reply);
            };
            flight.stage = Stage::Waiting(number, None);
            let switches = switches.get_or_insert_with(|| self.host().switches());
            let heard = match self.hear_tickets().await {
                Ok(opening) => {
                    deaf = None;
                    heard_on.replace(opening) == Some(opening)
                }
                // Without wake-ups for a moment: the next look also finds out which engine serves.
                Err(error) => {
                    deaf.get_or_insert_with(|| self.patience()).bear(error).await?;
                    false
                }
            };
            // A command looks before it waits. Others do when no news came: the keeper may be stopped, or not there.
            if keeping {
                self.evict_dead(&in_the_way).await;
            }
            keeping = false;
            if heard {
                let safety = safety_of(Arc::strong_count(self.waits()) - 1);
                let pause = tick_in.map_or(safety, |ms| Duration::from_millis(ms.saturating_add(1)).min(safety));
                tokio::select! {
                    () = interest.changed() => {}
                    // Another engine serves: the ticket is there too.
                    _ = switches.changed() => {}
                    () = tokio::time::sleep(pause) => keeping = matches!(in_the_way, InTheWay::Holders(_)),
                }
            }
            let confirm = self.next_number().await;
            let confirm_number = confirm.number;
            flight.stage = Stage::Waiting(number, Some(confirm));
            outcome = self.ask(confirm_number, actor, V::confirm(ticket)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_waits_of_one_client_look_more_seldom() {
        assert_eq!([1, 10].map(safety_of), [SAFETY; 2]);
        assert_eq!(safety_of(32), Duration::from_secs(16));
        assert_eq!([60, 5_000, usize::MAX].map(safety_of), [SAFETY_OF_MANY; 3]);
    }
}
