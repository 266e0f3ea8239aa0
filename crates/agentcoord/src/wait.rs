//! Waiting without polling: a request that queues has a ticket in the store; a wake-up, or the next due time, makes it
//! confirm. Nothing a dropped future has left behind stays: it is withdrawn by its request number.

use std::time::Duration;

use agentcoord_core::ids::{RequestNo, Ticket, Token};
use agentcoord_core::lock::{Acquire, AcquireLock, ConfirmLock, LockPath, ReleaseLock, WithdrawLock};
use agentcoord_core::op::{Actor, Verb};
use agentcoord_core::task::{Claim, ClaimTask, ConfirmTask, ReleaseTask, WithdrawTask};
use agentcoord_core::{Error, Result};

use crate::connection::Connection;
use crate::host::Style;
use crate::keeper;
use crate::requests::Unresolved;

/// The slow check behind every wake-up: the longest that a lost one can delay a waiter.
pub(crate) const SAFETY: Duration = Duration::from_secs(5);

/// A verb that may queue.
pub(crate) trait Queues: Verb + Clone {
    type Confirm: Verb<Reply = Self::Reply>;
    fn confirm(ticket: Ticket) -> Self::Confirm;
    /// The ticket and the next due time, when the reply says that the request waits.
    fn queued(reply: &Self::Reply) -> Option<(Ticket, Option<u64>)>;
    fn withdrawal(actor: Actor, request: RequestNo, confirm: Option<RequestNo>) -> Withdrawal;
    /// The paths that are asked for.
    fn paths(&self) -> &[LockPath] {
        &[]
    }
}

impl Queues for AcquireLock {
    type Confirm = ConfirmLock;

    fn confirm(ticket: Ticket) -> ConfirmLock {
        ConfirmLock { ticket }
    }

    fn queued(reply: &Acquire) -> Option<(Ticket, Option<u64>)> {
        match reply {
            Acquire::Queued { ticket, tick_in } => Some((ticket.clone(), *tick_in)),
            Acquire::Granted(_) | Acquire::Contended { .. } | Acquire::Deadlock { .. } | Acquire::Lapsed { .. } => None,
        }
    }

    fn paths(&self) -> &[LockPath] {
        &self.paths
    }

    fn withdrawal(actor: Actor, request: RequestNo, confirm: Option<RequestNo>) -> Withdrawal {
        Withdrawal::Lock(actor, WithdrawLock { request, confirm })
    }
}

impl Queues for ClaimTask {
    type Confirm = ConfirmTask;

    fn confirm(ticket: Ticket) -> ConfirmTask {
        ConfirmTask { ticket }
    }

    fn queued(reply: &Claim) -> Option<(Ticket, Option<u64>)> {
        match reply {
            Claim::Queued { ticket, tick_in } => Some((ticket.clone(), *tick_in)),
            Claim::Claimed(_) | Claim::Nothing { .. } | Claim::Lapsed { .. } => None,
        }
    }

    fn withdrawal(actor: Actor, request: RequestNo, confirm: Option<RequestNo>) -> Withdrawal {
        Withdrawal::Task(actor, WithdrawTask { request, confirm })
    }
}

/// What a dropped future or guard has left behind.
#[derive(Debug)]
pub(crate) enum Withdrawal {
    Lock(Actor, WithdrawLock),
    Task(Actor, WithdrawTask),
    Release(Actor, Token),
    Unclaim(Actor, ReleaseTask),
}

impl Withdrawal {
    pub(crate) async fn run(self, connection: &Connection) -> Result<()> {
        match self {
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

/// A request under way. Dropped before it is settled, it withdraws itself.
struct InFlight<'a, V: Queues> {
    connection: &'a Connection,
    actor: &'a Actor,
    request: Unresolved,
    confirm: Option<Unresolved>,
    settled: bool,
    verb: std::marker::PhantomData<V>,
}

impl<V: Queues> Drop for InFlight<'_, V> {
    fn drop(&mut self) {
        if !self.settled {
            let confirm = self.confirm.as_ref().map(|c| c.number);
            self.connection.withdraw_later(V::withdrawal(self.actor.clone(), self.request.number, confirm));
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
            // Nobody may be left to watch over the one who is in the way.
            Acquire::Contended { .. } if self.evict_dead(&body.paths).await > 0 => self.queue(actor, body).await,
            outcome => Ok(outcome),
        }
    }

    /// One command's share of the keeper's work: ends the first few sessions that are in its way and whose process has
    /// ended. How many it were. Long-lived processes leave that to the keeper.
    async fn evict_dead(&self, paths: &[LockPath]) -> usize {
        if self.host().style() == Style::LongRunning || paths.is_empty() {
            return 0;
        }
        match keeper::evict_dead_holders(self, paths).await {
            Ok(evicted) => evicted,
            Err(error) => {
                // Their time to live ends them too.
                tracing::debug!(%error, "holders could not be looked at");
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
        self.queue(actor, body).await
    }

    async fn queue<V: Queues>(&self, actor: &Actor, body: V) -> Result<V::Reply> {
        let request = self.next_number().await;
        let ticket = Ticket::of(self.client(), request.number);
        let interest = self.news().listen(ticket.as_str());
        let verb = std::marker::PhantomData;
        let mut flight = InFlight::<V> { connection: self, actor, request, confirm: None, settled: false, verb };
        let mut in_the_way = body.paths().to_vec();
        let mut outcome = self.ask(flight.request.number, actor, body).await;
        loop {
            let reply = match outcome {
                Ok(reply) => reply,
                Err(error) => {
                    // A refusal has left nothing behind; otherwise something may have happened and is withdrawn.
                    flight.settled = error.disposition() == agentcoord_core::Disposition::Permanent;
                    return Err(error);
                }
            };
            let Some((ticket, tick_in)) = V::queued(&reply) else {
                flight.settled = true;
                return Ok(reply);
            };
            let heard = !self.hear_tickets().await?;
            // Once, and before the wait: it may make the wait short.
            self.evict_dead(&std::mem::take(&mut in_the_way)).await;
            if heard {
                let pause = tick_in.map_or(SAFETY, |ms| Duration::from_millis(ms.saturating_add(1)).min(SAFETY));
                tokio::select! {
                    () = interest.changed() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
            let confirm = self.next_number().await;
            let number = confirm.number;
            flight.confirm = Some(confirm);
            outcome = self.ask(number, actor, V::confirm(ticket)).await;
        }
    }
}
