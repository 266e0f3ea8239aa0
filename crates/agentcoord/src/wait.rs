//! Waiting without polling: a request that queues has a ticket in the store; a wake-up, or the next due time, makes it
//! confirm. Nothing a dropped future has left behind stays: it is withdrawn by its request number.

use std::time::Duration;

use agentcoord_core::approval::{ApprovalRef, ApprovalStatus, ConsumeApproval};
use agentcoord_core::engine::Channel;
use agentcoord_core::ids::{RequestNo, Ticket, Token};
use agentcoord_core::lock::{Acquire, AcquireLock, ConfirmLock, LockPath, ReleaseLock, WaitLock, WithdrawLock};
use agentcoord_core::op::{Actor, Verb};
use agentcoord_core::task::{Claim, ClaimTask, ConfirmTask, ReleaseTask, WithdrawTask};
use agentcoord_core::{Error, Result};
use tokio::time::Instant;

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
    type Confirm: Verb<Reply = Self::Reply>;
    fn confirm(ticket: Ticket) -> Self::Confirm;
    /// The ticket and the next due time, when the reply says that the request waits.
    fn queued(reply: &Self::Reply) -> Option<(Ticket, Option<u64>)>;
    fn withdrawal(actor: Actor, request: RequestNo, confirm: Option<RequestNo>) -> Withdrawal;
    fn in_the_way(&self) -> InTheWay;
}

impl Queues for AcquireLock {
    type Confirm = ConfirmLock;

    fn confirm(ticket: Ticket) -> ConfirmLock {
        ConfirmLock { ticket }
    }

    fn queued(reply: &Acquire) -> Option<(Ticket, Option<u64>)> {
        match reply {
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

    fn withdrawal(actor: Actor, request: RequestNo, confirm: Option<RequestNo>) -> Withdrawal {
        Withdrawal::Lock(actor, WithdrawLock { request, confirm })
    }
}

impl Queues for WaitLock {
    type Confirm = ConfirmLock;

    fn confirm(ticket: Ticket) -> ConfirmLock {
        ConfirmLock { ticket }
    }

    fn queued(reply: &Acquire) -> Option<(Ticket, Option<u64>)> {
        AcquireLock::queued(reply)
    }

    fn in_the_way(&self) -> InTheWay {
        InTheWay::Holders(self.paths.clone())
    }

    fn withdrawal(actor: Actor, request: RequestNo, confirm: Option<RequestNo>) -> Withdrawal {
        AcquireLock::withdrawal(actor, request, confirm)
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

    fn in_the_way(&self) -> InTheWay {
        InTheWay::Workers(self.id.clone())
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

    async fn queue<V: Queues>(&self, actor: &Actor, body: V) -> Result<V::Reply> {
        let request = self.next_number().await;
        let ticket = Ticket::of(self.client(), request.number);
        let interest = self.news().listen(ticket.as_str());
        let verb = std::marker::PhantomData;
        let mut flight = InFlight::<V> { connection: self, actor, request, confirm: None, settled: false, verb };
        let in_the_way = body.in_the_way();
        let mut keeping = self.host().style() == Style::OneShot;
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
            // A command looks before it waits. Others do when no news came: the keeper may be stopped, or not there.
            if keeping {
                self.evict_dead(&in_the_way).await;
            }
            keeping = false;
            if heard {
                let pause = tick_in.map_or(SAFETY, |ms| Duration::from_millis(ms.saturating_add(1)).min(SAFETY));
                tokio::select! {
                    () = interest.changed() => {}
                    () = tokio::time::sleep(pause) => keeping = matches!(in_the_way, InTheWay::Holders(_)),
                }
            }
            let confirm = self.next_number().await;
            let number = confirm.number;
            flight.confirm = Some(confirm);
            outcome = self.ask(number, actor, V::confirm(ticket)).await;
        }
    }

    /// Waits for the verdict on an approval, at most until `deadline`, and consumes it when it is a yes.
    ///
    /// Still `Pending` in the answer means that the deadline came first.
    ///
    /// # Errors
    /// As [`Connection::run`].
    ///
    /// # Cancel safety
    /// The approval stays; ask again. A yes that was consumed by a dropped call is answered as consumed before.
    pub async fn verdict(&self, actor: &Actor, key: &str, deadline: Option<Instant>) -> Result<ApprovalRef> {
        let channel = Channel::Approval(key.to_owned());
        let interest = self.news().listen(&format!("approval/{key}"));
        let mut heard = None;
        loop {
            let answer = self.run(actor, ConsumeApproval { approval: key.to_owned() }).await?;
            if answer.status != ApprovalStatus::Pending || deadline.is_some_and(|at| at <= Instant::now()) {
                // The answer is the caller's, whatever becomes of the subscription: to hear more is of no harm.
                if heard.is_some()
                    && interest.is_alone()
                    && let Ok(opened) = self.opened().await
                {
                    drop(opened.wakes.unsubscribe(&channel).await);
                }
                return Ok(answer);
            }
            let opened = self.opened().await?;
            if heard != Some(opened.serial) {
                opened.wakes.subscribe(&channel).await?;
                heard = Some(opened.serial);
                continue; // It may have been decided before we listened.
            }
            let pause = Instant::now() + SAFETY;
            tokio::select! {
                () = interest.changed() => {}
                () = tokio::time::sleep_until(deadline.map_or(pause, |at| at.min(pause))) => {}
            }
        }
    }
}
