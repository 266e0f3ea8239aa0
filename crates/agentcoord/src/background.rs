//! The thread behind a session: heartbeats and withdrawals, on a runtime and a link of its own.
//!
//! An agent that blocks its executor for minutes keeps its locks, because nothing here runs on its executor. The thread
//! says only "this process lives"; progress is what the agent itself does.

use std::thread::JoinHandle;
use std::time::Duration;

use agentcoord_core::agent::{Deregister, Heartbeat};
use agentcoord_core::engine::end_of;
use agentcoord_core::op::Actor;
use agentcoord_core::{Error, Result};
use agentcoord_fs::watch::SessionLock;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::failover::come_back::look_every;
use crate::failover::orphans;
use crate::keeper;

/// What the owner tells the thread.
enum Order {
    /// End the session, withdraw what is left, and answer.
    Close(oneshot::Sender<Result<()>>),
    /// The owner is gone: end the session as well as time allows.
    Abandon,
}

/// The owner's end of the thread.
#[derive(Debug)]
pub(crate) struct Background {
    orders: mpsc::UnboundedSender<Order>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts the thread for a session. `lost` becomes true when the session has ended or may have ended.
    /// `signs` say to others that this process lives, and end with the thread.
    pub(crate) fn start(
        connection: &Connection,
        actor: Actor,
        lost: watch::Sender<bool>,
        signs: Option<SessionLock>,
    ) -> Result<Self> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let link = connection.sibling();
        let seat = keeper::join(connection);
        let thread = std::thread::Builder::new()
            .name("agentcoord".into())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                match runtime {
                    Ok(runtime) => runtime.block_on(live(&link, &actor, &lost, inbox)),
                    Err(_) => drop(lost.send(true)),
                }
                drop((signs, seat));
            })
            .map_err(|e| Error::backend("the heartbeat thread cannot be started", e))?;
        Ok(Self { orders, thread: Some(thread) })
    }

    /// Ends the session and waits until it has ended.
    pub(crate) async fn close(mut self) -> Result<()> {
        let (done, answer) = oneshot::channel();
        let asked = self.orders.send(Order::Close(done));
        let outcome = match asked {
            Ok(()) => answer.await.unwrap_or(Ok(())),
            Err(_) => Ok(()), // The thread has ended by itself: so has the session.
        };
        drop(self.thread.take());
        outcome
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.thread.is_some() {
            drop(self.orders.send(Order::Abandon));
        }
    }
}

async fn live(
    link: &Connection,
    actor: &Actor,
    lost: &watch::Sender<bool>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let ttl = link.config().session_ttl;
    let mut believed_until = Instant::now() + ttl;
    // Soon, because with the first one it begins to listen; sessions of short commands never do.
    let mut next_beat = Instant::now() + ttl / 30;
    let news = link.news().listen(&topic(link, actor));
    let mut switches = link.host().switches();
    let look_every = look_every(link.config().return_after);
    let mut next_look = Instant::now() + look_every;
    loop {
        tokio::select! {
            order = orders.recv() => {
                let outcome = end(link, actor).await;
                if let Some(Order::Close(done)) = order {
                    drop(done.send(outcome));
                }
                lost.send_replace(true);
                return;
            }
            () = link.withdrawals().ready() => {
                if let Err(error) = link.settle().await {
                    tracing::debug!(%error, "what was dropped is withdrawn later");
                    // It finds out when the engine is back.
                    next_beat = next_beat.min(soon(ttl));
                }
            }
            // Somebody has ended the session: the next heartbeat hears it.
            () = news.changed() => next_beat = Instant::now(),
            // Another engine serves: it hears at once that this process lives, and tells it what concerns it.
            _ = switches.changed() => next_beat = Instant::now(),
            () = tokio::time::sleep_until(next_look) => {
                share_failover(link).await;
                next_look = Instant::now() + look_every;
            }
            () = tokio::time::sleep_until(next_beat) => {
                // Listens first: an end that comes earlier is heard by the heartbeat, a later one by the news.
                if let Err(error) = link.hear_tickets().await {
                    tracing::debug!(%error, "the end of the session will be heard by heartbeats only");
                }
                let sent = Instant::now();
                match link.keep_up(actor, Heartbeat { progress: false }).await {
                    Ok(_) => {
                        believed_until = sent + ttl;
                        next_beat = sent + ttl / 3;
                        link.withdrawals().try_again();
                    }
                    Err(Error::Stale { .. }) => {
                        lost.send_replace(true);
                        return;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "heartbeat failed");
                        next_beat = soon(ttl);
                    }
                }
                if Instant::now() >= believed_until {
                    lost.send_replace(true);
                }
            }
        }
    }
}

/// A session's share of what is done for the way to Redis and back, whoever is the keeper.
async fn share_failover(link: &Connection) {
    if let Err(error) = link.host().withdraw_complaint().await {
        tracing::debug!(%error, "a return to Redis may have to wait for this process");
    }
    if let Err(error) = orphans::settle_own(link).await {
        tracing::debug!(%error, "requests that nobody waits for are not settled yet");
    }
}

/// When the engine is tried again that was away.
fn soon(ttl: Duration) -> Instant {
    Instant::now() + (ttl / 10).min(Duration::from_millis(500))
}

/// Where the end of the session is told.
fn topic(link: &Connection, actor: &Actor) -> String {
    match actor {
        Actor::Session(session) => end_of(session.as_str(), link.client()),
        Actor::Human(_) | Actor::System => String::new(),
    }
}

async fn end(link: &Connection, actor: &Actor) -> Result<()> {
    let settled = link.settle().await;
    match link.keep_up(actor, Deregister { reason: None }).await {
        Ok(_) | Err(Error::Stale { .. }) => settled,
        Err(error) => Err(error),
    }
}
