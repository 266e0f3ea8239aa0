//! Waiting without polling: a request that queues has a ticket in the store; a wake-up, or the next due time, makes it
//! confirm. Nothing a dropped future has left behind stays: it is withdrawn by its request number.

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
    fn withdrawal(self, actor: Actor, request: Unresolved, confirm: Option<RequestNo>) -> Withdrawal;
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

    fn withdrawal(self, actor: Actor, request: Unresolved, confirm: Option<RequestNo>) -> Withdrawal {
        Withdrawal::Lock(actor, WithdrawLock { request: request.number, confirm })
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

    fn withdrawal(self, actor: Actor, request: Unresolved, confirm: Option<RequestNo>) -> Withdrawal {
        Withdrawal::Lock(actor, WithdrawLock { request: request.number, confirm })
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

    fn withdrawal(self, actor: Actor, request: Unresolved, confirm: Option<RequestNo>) -> Withdrawal {
        Withdrawal::Task(actor, WithdrawTask { request: request.number, confirm })
    }
}

/// The end of a task, which may claim the next one.
macro_rules! ends_and_claims {
    ($verb:ty, $withdrawal:ident) => {
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

            fn withdrawal(self, actor: Actor, request: Unresolved, confirm: Option<RequestNo>) -> Withdrawal {
                Withdrawal::$withdrawal(actor, Box::new(self), request, confirm)
            }
        }
    };
}
ends_and_claims!(CompleteTask, Next);
ends_and_claims!(FailTask, NextAfterFailure);

/// What a dropped future or guard has left behind.
#[derive(Debug)]
pub(crate) enum Withdrawal {
    Lock(Actor, WithdrawLock),
    Task(Actor, WithdrawTask),
    Release(Actor, Token),
    Unclaim(Actor, ReleaseTask),
    /// A claim that goes with the end of a task: the end stands, the claim does not.
    Next(Actor, Box<CompleteTask>, Unresolved, Option<RequestNo>),
    NextAfterFailure(Actor, Box<FailTask>, Unresolved, Option<RequestNo>),
}

impl Withdrawal {
    pub(crate) async fn run(self, connection: &Connection) -> Result<()> {
        match self {
            Self::Next(actor, end, request, confirm) => undo_claim(connection, &actor, *end, &request, confirm).await,
            Self::NextAfterFailure(actor, end, request, confirm) => {
                undo_claim(connection, &actor, *end, &request, confirm).await
            }
            Self::Lock(actor, body) => connection.run(&actor, body).await.map(drop),
            Self::Task(actor, body) => connection.run(&actor, body).await.map(drop),
            Self::Release(actor, token) => {
                match connection.run(&actor, ReleaseLock { token, paths: Vec::new() }).await {
                    // Already gone: released, expired, or ended with its session.
                    Ok(_) | Err(Error::Stale { .. }) => Ok(()),
                    Err(error) => Err(error),
                }
            }
            Self::Unclaim(actor, body) => match connection.run(&actor, body).await {
                // Already over: cancelled, expired, or ended with its session.
                Ok(_) | Err(Error::Stale { .. }) => Ok(()),
                Err(error) => Err(error),
            },
        }
    }
}

/// Makes sure that a task has ended under this number, and withdraws the claim that went with it.
async fn undo_claim<V: Verb>(
    connection: &Connection,
    actor: &Actor,
    end: V,
    request: &Unresolved,
    confirm: Option<RequestNo>,
) -> Result<()> {
    match connection.ask(request.number, actor, end).await {
        Ok(_) => connection.run(actor, WithdrawTask { request: request.number, confirm }).await.map(drop),
        // It was refused as a whole: nothing is claimed.
        Err(error) if error.disposition() == Disposition::Permanent => Ok(()),
        Err(error) => Err(error),
    }
}

/// A request under way. Dropped before it is settled, it withdraws itself.
struct InFlight<'a, V: Queues> {
    connection: &'a Connection,
    actor: &'a Actor,
    /// What was asked and under which number; none when it is settled.
    asked: Option<(V, Unresolved)>,
    confirm: Option<Unresolved>,
}

impl<V: Queues> Drop for InFlight<'_, V> {
    fn drop(&mut self) {
        if let Some((body, request)) = self.asked.take() {
            let confirm = self.confirm.as_ref().map(|c| c.number);
            self.connection.withdraw_later(body.withdrawal(self.actor.clone(), request, confirm));
        }
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
        let (mut switches, mut deaf_since) = (None, None);
        let mut keeping = self.host().style() == Style::OneShot;
        let mut flight = InFlight { connection: self, actor, asked: Some((body.clone(), request)), confirm: None };
        let mut outcome = self.ask(number, actor, body).await.map(V::outcome);
        loop {
            let reply = match outcome {
                Ok(reply) => reply,
                Err(error) => {
                    // A refusal has left nothing behind; otherwise something may have happened and is withdrawn.
                    if error.disposition() == Disposition::Permanent {
                        flight.asked = None;
                    }
                    return Err(error);
                }
            };
            let Some((ticket, tick_in)) = V::queued(&reply) else {
                flight.asked = None;
                return Ok(reply);
            };
            let switches = switches.get_or_insert_with(|| self.host().switches());
            let heard = match self.hear_tickets().await {
                Ok(began) => {
                    deaf_since = None;
                    !began
                }
                // Without wake-ups for a moment: the next look also finds out which engine serves.
                Err(error) => {
                    self.recover(error, *deaf_since.get_or_insert_with(Instant::now)).await?;
                    false
                }
            };
            // A command looks before it waits. Others do when no news came: the keeper may be stopped, or not there.
            if keeping {
                self.evict_dead(&in_the_way).await;
            }
            keeping = false;
            if heard {
                let pause = tick_in.map_or(SAFETY, |ms| Duration::from_millis(ms.saturating_add(1)).min(SAFETY));
                tokio::select! {
                    () = interest.changed() => {}
                    // Another engine serves: the ticket is there too.
                    _ = switches.changed() => {}
                    () = tokio::time::sleep(pause) => keeping = matches!(in_the_way, InTheWay::Holders(_)),
                }
            }
            let confirm = self.next_number().await;
            let number = confirm.number;
            flight.confirm = Some(confirm);
            outcome = self.ask(number, actor, V::confirm(ticket)).await;
        }
    }
}
