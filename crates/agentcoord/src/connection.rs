//! A process' way to the engine that serves the workspace: numbered requests, asked again until their outcome is known.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agentcoord_core::audit::AppendAudit;
use agentcoord_core::engine::{Channel, EngineKind};
use agentcoord_core::error::BoxError;
use agentcoord_core::ids::{Id, RequestNo, Token};
use agentcoord_core::op::{Actor, Call, Op, Verb, answer};
use agentcoord_core::{Disposition, Error, Result, Store};
use agentcoord_fs::ModeEngine;
use tokio::sync::{Mutex as AsyncMutex, Notify, watch};

use crate::audit::Entry;
use crate::config::Config;
use crate::failover::{come_back, orphans};
use crate::following::Following;
use crate::host::{Host, Opened, Style};
use crate::news::News;
use crate::requests::{Requests, Unresolved};
use crate::wait::Withdrawal;

/// Pause between two tries while the engine is away.
const RETRY: Duration = Duration::from_millis(50);

/// A connection of this process to its workspace. Clones share it.
#[derive(Clone, Debug)]
pub struct Connection {
    inner: Arc<Inner>,
    /// The lock under which it writes.
    fence: Option<Token>,
}

#[derive(Debug)]
struct Inner {
    host: Host,
    shared: Arc<Shared>,
    news: News,
    /// The engine as it was opened last; replaced when the epoch or the connection has changed.
    opened: AsyncMutex<Option<Arc<Opened>>>,
    subscribed: AsyncMutex<Option<u64>>,
}

/// What all connections of one client share, whatever runtime they live on.
#[derive(Debug)]
struct Shared {
    requests: Requests,
    withdrawals: Mutex<Vec<Withdrawal>>,
    withdrawn: Notify,
    /// Withdrawals that are not over yet.
    outstanding: watch::Sender<usize>,
}

impl Shared {
    fn new() -> Self {
        Self {
            requests: Requests::new(),
            withdrawals: Mutex::default(),
            withdrawn: Notify::new(),
            outstanding: watch::Sender::new(0),
        }
    }
}

impl Connection {
    /// Opens a workspace: finds out which engine serves it, or decides it when nobody has yet.
    ///
    /// # Errors
    /// `Unavailable` when the engine that serves the workspace cannot be reached; `Refused` when it is not the one that
    /// `config.backend` demands; `Invalid` for a state directory that cannot be used.
    pub async fn open(config: Config, style: Style) -> Result<Self> {
        let connection = Self::unopened(config, style)?;
        let begun = Instant::now();
        while let Err(error) = connection.opened().await {
            connection.recover(error, begun).await?;
        }
        if style == Style::OneShot {
            connection.share_failover().await;
        }
        Ok(connection)
    }

    /// A command's share of what a keeper does for the way to Redis and back. What does not come about is left to the next one.
    async fn share_failover(&self) {
        if let Err(error) = orphans::settle_predecessor(self).await {
            tracing::debug!(%error, "the requests of a dead process are not settled yet");
        }
        if let Err(error) = come_back::share(self).await {
            tracing::debug!(%error, "Redis does not get everything back yet");
        }
    }

    /// A connection that has not looked for the engine yet: to finish a switch in which no engine serves.
    ///
    /// # Errors
    /// `Invalid` for a state directory that cannot be used.
    pub fn unopened(config: Config, style: Style) -> Result<Self> {
        Ok(Self::with(Host::new(config, style)?, Arc::new(Shared::new()), News::default()))
    }

    /// A connection of the same client for another runtime: same numbers, own link to the engine.
    pub(crate) fn sibling(&self) -> Self {
        Self::with(self.inner.host.clone(), Arc::clone(&self.inner.shared), self.inner.news.clone())
    }

    fn with(host: Host, shared: Arc<Shared>, news: News) -> Self {
        let inner = Inner { host, shared, news, opened: AsyncMutex::default(), subscribed: AsyncMutex::default() };
        Self { inner: Arc::new(inner), fence: None }
    }

    /// The same connection for writes under a lock: once the lock has ended, tasks, threads, approvals and audit entries
    /// that are written through it are refused as stale. Locks and sessions are not concerned, and what was begun can
    /// still be withdrawn.
    #[must_use]
    pub fn under(&self, lock: Token) -> Self {
        Self { inner: Arc::clone(&self.inner), fence: Some(lock) }
    }

    /// Another client of the same workspace, with a link of its own.
    pub(crate) fn stranger(&self) -> Self {
        Self::with(self.inner.host.clone(), Arc::new(Shared::new()), News::default())
    }

    pub(crate) fn host(&self) -> &Host {
        &self.inner.host
    }

    /// The configuration it was opened with.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.inner.host.config()
    }

    /// The Redis that is asked for, without its secrets.
    #[must_use]
    pub fn shown_redis_url(&self) -> String {
        self.inner.host.shown_url()
    }

    /// The namespace it works in.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.inner.host.namespace().name()
    }

    /// The random id of this process as a client.
    #[must_use]
    pub fn client(&self) -> &Id {
        self.inner.shared.requests.client()
    }

    /// The engine that serves now, opened.
    pub async fn opened(&self) -> Result<Arc<Opened>> {
        let mut opened = self.inner.opened.lock().await;
        if let Some(opened) = opened.as_ref().filter(|opened| !self.has_moved_on(opened)) {
            return Ok(Arc::clone(opened));
        }
        let fresh = Arc::new(self.inner.host.open(&self.inner.news).await?);
        *opened = Some(Arc::clone(&fresh));
        Ok(fresh)
    }

    /// The six components for reads, on whichever engine serves when they are read.
    pub async fn store(&self) -> Result<Store> {
        let opened = self.opened().await?;
        Ok(Store::new(Arc::new(Following::new(self.clone(), &opened))))
    }

    /// Moves the workspace to another engine, with everything in it, while agents work, and puts that into the audit log.
    /// `by` is who asks for it, as `human:<name>`. A workspace moved to files by hand stays there until it is moved back.
    ///
    /// # Errors
    /// `Unavailable` when an engine cannot be reached, and then nothing has moved; `Refused` when Redis holds what is not
    /// ours, or, for a workspace on Redis alone, while a session lives.
    pub async fn switch(&self, to: agentcoord_core::engine::EngineKind, by: &str) -> Result<crate::decide::Switched> {
        *self.inner.opened.lock().await = None;
        let asker = by.to_owned();
        let done = self.inner.host.apart(move |host| async move { host.switch(to, &asker).await }).await?;
        self.note_return(&done, by, "moved by hand").await;
        Ok(done)
    }

    /// Goes back to Redis with everything, because of `reason`.
    ///
    /// # Errors
    /// `Unavailable`: the files serve on.
    pub(crate) async fn come_back(&self, reason: &str) -> Result<crate::decide::Switched> {
        let done = self.inner.host.apart(|host| async move { host.come_back().await }).await?;
        self.note_return(&done, "system", reason).await;
        Ok(done)
    }

    /// Puts a return into the audit log. A take-over leaves its entry itself, in the step that completes it.
    async fn note_return(&self, done: &crate::decide::Switched, by: &str, reason: &str) {
        if done.from == done.to || done.to != EngineKind::Redis {
            return;
        }
        let context = format!("{} to {}, epoch {}", done.from.word(), done.to.word(), done.epoch);
        let reason = format!("{reason}, with {} records", done.records);
        let noted = match Entry::new(by, "engine_switch", context, reason).encode() {
            Ok(entry) => self.run(&Actor::System, AppendAudit { entry }).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            // It has happened; to say that it failed would be wrong.
            tracing::warn!(%error, "the switch of the engine could not be put into the audit log");
        }
    }

    /// Runs one mutation and returns its outcome; asks again under the same number while the outcome is unknown, and
    /// waits out short absences of the engine.
    ///
    /// # Errors
    /// Those of the verb. `Unavailable`: it did not happen. `OutcomeUnknown`: even asking again gave no answer in time.
    ///
    /// # Cancel safety
    /// Dropped before the answer, the mutation may or may not happen.
    pub async fn run<V: Verb>(&self, actor: &Actor, body: V) -> Result<V::Reply> {
        let number = self.inner.shared.requests.next().await;
        self.ask(number.number, actor, body).await
    }

    /// Asks under a given number.
    pub(crate) async fn ask<V: Verb>(&self, number: RequestNo, actor: &Actor, body: V) -> Result<V::Reply> {
        let op = Op {
            epoch: agentcoord_core::ids::Epoch(0),
            client: self.client().clone(),
            request: number,
            actor: actor.clone(),
            fence: self.fence.filter(|_| is_fenced(V::NAME)),
            body,
        };
        let mut call = Call::encode(&op)?;
        let give_up = Instant::now() + self.config().patience;
        let (mut unknown, mut failures) = (false, 0);
        loop {
            let begun = Instant::now();
            let error = match self.opened().await {
                Ok(opened) => {
                    call.epoch = opened.epoch;
                    match opened.store.engine().step(call.clone()).await {
                        Ok(bytes) => {
                            self.inner.host.has_answered(&opened, call.verb);
                            return answer::<V>(&bytes);
                        }
                        Err(
                            error @ (Error::Unavailable { .. } | Error::OutcomeUnknown { .. } | Error::Fenced { .. }),
                        ) => {
                            self.inner.host.has_failed(&opened, &error, begun);
                            self.reopen(&opened).await;
                            error
                        }
                        Err(error) => return Err(error),
                    }
                }
                Err(error @ Error::Unavailable { .. }) => error,
                Err(error) => return Err(error),
            };
            unknown |= matches!(error, Error::OutcomeUnknown { .. });
            call.again = unknown;
            if Instant::now() >= give_up {
                // One attempt may have happened: a later "refused" does not make that undone.
                let cause = |e: Error| -> Option<BoxError> { Some(Box::new(e)) };
                return Err(if unknown {
                    Error::OutcomeUnknown { request: number, source: cause(error) }
                } else {
                    error
                });
            }
            // After the first failure the engine is looked at anew, at once.
            failures += usize::from(!matches!(error, Error::Fenced { .. }));
            if failures > 1 {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Whether the host has decided anew since this engine was opened.
    pub(crate) fn has_moved_on(&self, opened: &Opened) -> bool {
        let engine = match opened.serving.engine {
            EngineKind::Redis => ModeEngine::Redis,
            EngineKind::Files | EngineKind::Memory => ModeEngine::Files,
        };
        self.inner.host.namespace().word().is_none_or(|word| !word.serves(opened.epoch, engine))
    }

    /// Makes ready for another try at a read that has failed: forgets the engine, and waits a little.
    ///
    /// # Errors
    /// The failure itself, when it is of another kind, or the engine has been away since `begun` for too long.
    pub(crate) async fn recover(&self, error: Error, begun: Instant) -> Result<()> {
        if error.disposition() != Disposition::Unavailable || begun.elapsed() >= self.config().patience {
            return Err(error);
        }
        let failed = self.inner.opened.lock().await.take();
        if let Some(failed) = &failed {
            self.inner.host.has_failed(failed, &error, begun);
        } else if !matches!(error, Error::Fenced { .. }) {
            tokio::time::sleep(RETRY).await;
        }
        Ok(())
    }

    /// Forgets an engine that has failed, unless somebody has replaced it already.
    async fn reopen(&self, failed: &Arc<Opened>) {
        let mut opened = self.inner.opened.lock().await;
        if opened.as_ref().is_some_and(|current| Arc::ptr_eq(current, failed)) {
            *opened = None;
        }
    }

    pub(crate) async fn next_number(&self) -> Unresolved {
        self.inner.shared.requests.next().await
    }

    pub(crate) fn news(&self) -> &News {
        &self.inner.news
    }

    /// Listens to this client's tickets. True when that has just begun on this engine: news may have been missed.
    pub(crate) async fn hear_tickets(&self) -> Result<bool> {
        let opened = self.opened().await?;
        let mut subscribed = self.inner.subscribed.lock().await;
        if *subscribed == Some(opened.serial) {
            return Ok(false);
        }
        opened.wakes.subscribe(&Channel::Client(self.client().clone())).await?;
        *subscribed = Some(opened.serial);
        Ok(true)
    }

    /// Hands over what a dropped future or guard has left behind. Never blocks.
    pub(crate) fn withdraw_later(&self, withdrawal: Withdrawal) {
        self.inner.shared.outstanding.send_modify(|n| *n += 1);
        self.inner.shared.withdrawals.lock().unwrap_or_else(PoisonError::into_inner).push(withdrawal);
        self.inner.shared.withdrawn.notify_one();
    }

    /// Resolves when there is something to withdraw.
    pub(crate) async fn withdrawals(&self) {
        self.inner.shared.withdrawn.notified().await;
    }

    /// Withdraws what dropped futures and guards have left behind.
    ///
    /// # Errors
    /// The first failure; what was not withdrawn then ends with the session.
    pub async fn settle(&self) -> Result<()> {
        loop {
            let next = self.inner.shared.withdrawals.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(withdrawal) = next else { return Ok(()) };
            let outcome = withdrawal.run(self).await;
            self.inner.shared.outstanding.send_modify(|n| *n -= 1);
            if outcome.is_err() {
                // The others have their turn, but not before whatever else is to be done.
                self.inner.shared.withdrawn.notify_one();
                return outcome;
            }
        }
    }

    /// Resolves when nothing that was dropped is still to be withdrawn.
    pub(crate) async fn all_withdrawn(&self) {
        let mut outstanding = self.inner.shared.outstanding.subscribe();
        // It fails only without a sender, and this connection has one.
        drop(outstanding.wait_for(|n| *n == 0).await);
    }
}

/// Whether a verb is refused when it is asked under a lock that has ended.
fn is_fenced(verb: &str) -> bool {
    let about_leases = verb.starts_with("lock/") || verb.starts_with("agent/");
    let upkeep = verb.ends_with("/withdraw") || verb == "audit/seal";
    !about_leases && !upkeep
}
