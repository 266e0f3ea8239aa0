//! A process' way to the engine that serves the workspace: numbered requests, asked again until their outcome is known.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agentcoord_core::audit::AppendAudit;
use agentcoord_core::engine::{Channel, EngineKind};
use agentcoord_core::error::BoxError;
use agentcoord_core::ids::{Id, RequestNo, Token};
use agentcoord_core::op::{Actor, Call, Op, Verb, answer};
use agentcoord_core::{Disposition, Error, Result, Store};
use agentcoord_fs::ModeEngine;
use tokio::sync::Mutex as AsyncMutex;

use crate::audit::Entry;
use crate::config::Config;
use crate::failover::{come_back, orphans};
use crate::following::Following;
use crate::host::{Host, Opened, Style};
use crate::news::News;
use crate::requests::{Requests, Unresolved};
use crate::wait::Withdrawal;
use crate::withdrawals::Withdrawals;

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
    withdrawals: Withdrawals,
    waits: Arc<()>,
}

impl Shared {
    fn new(host: &Host) -> Self {
        let host = host.clone();
        let requests = Requests::new(move |client, request| host.is_over(client, request));
        Self { requests, withdrawals: Withdrawals::new(), waits: Arc::default() }
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
        let mut patience = connection.patience();
        while let Err(error) = connection.opened().await {
            patience.bear(error).await?;
        }
        connection.share_failover(style).await;
        Ok(connection)
    }

    /// Everybody's share of what is done for the way to Redis and back, and a command's, where no keeper may be. What does not
    /// come about is left to the next one.
    async fn share_failover(&self, style: Style) {
        if let Err(error) = orphans::settle_own(self).await {
            tracing::debug!(%error, "requests that nobody waits for are not settled yet");
        }
        if style == Style::OneShot
            && let Err(error) = come_back::share(self).await
        {
            tracing::debug!(%error, "Redis does not get everything back yet");
        }
    }

    /// A connection that has not looked for the engine yet: to finish a switch in which no engine serves.
    ///
    /// # Errors
    /// `Invalid` for a state directory that cannot be used.
    pub fn unopened(config: Config, style: Style) -> Result<Self> {
        let host = Host::new(config, style)?;
        let shared = Arc::new(Shared::new(&host));
        Ok(Self::with(host, shared, News::default()))
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
        Self::with(self.inner.host.clone(), Arc::new(Shared::new(&self.inner.host)), News::default())
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
        // Boxed, because it is long and seldom, and would be a part of every future that asks for anything.
        let fresh = Arc::new(Box::pin(self.inner.host.open(&self.inner.news)).await?);
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

    /// As [`Connection::run`], for what keeps a session or takes something back: it never waits for other requests.
    pub(crate) async fn keep_up<V: Verb>(&self, actor: &Actor, body: V) -> Result<V::Reply> {
        let number = self.inner.shared.requests.next_for_upkeep().await;
        self.unfenced().ask(number.number, actor, body).await
    }

    /// The same connection for what counts although the lock has ended: what was taken goes back.
    pub(crate) fn unfenced(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), fence: None }
    }

    /// Asks under a given number.
    pub(crate) async fn ask<V: Verb>(&self, number: RequestNo, actor: &Actor, body: V) -> Result<V::Reply> {
        let call = self.call(number, actor, body)?;
        self.answer_to::<V>(call).await
    }

    /// Asks under a number under which this was asked before, without an answer: a refusal now holds for that copy too.
    pub(crate) async fn ask_again<V: Verb>(&self, number: RequestNo, actor: &Actor, body: V) -> Result<V::Reply> {
        let call = Call { again: true, ..self.call(number, actor, body)? };
        self.answer_to::<V>(call).await
    }

    fn call<V: Verb>(&self, number: RequestNo, actor: &Actor, body: V) -> Result<Call> {
        Call::encode(&Op {
            epoch: agentcoord_core::ids::Epoch(0),
            client: self.client().clone(),
            request: number,
            actor: actor.clone(),
            fence: self.fence.filter(|_| is_fenced(V::NAME)),
            body,
        })
    }

    /// What the store answers, asked until it does or patience is over. Once a copy may have happened, only an answer says
    /// otherwise: any other failure leaves the outcome unknown.
    async fn answer_to<V: Verb>(&self, mut call: Call) -> Result<V::Reply> {
        let mut patience = self.patience();
        loop {
            let error = match self.attempt(&call).await {
                Ok(bytes) => match answer::<V>(&bytes) {
                    Err(error @ Error::Corrupt { .. }) => {
                        call.again = true;
                        error
                    }
                    answered => return answered,
                },
                Err(error) => error,
            };
            call.again |= matches!(error, Error::OutcomeUnknown { .. });
            if let Err(error) = patience.bear(error).await {
                let unknown = |error: BoxError| Error::OutcomeUnknown { request: call.request, source: Some(error) };
                return Err(if call.again { unknown(error.into()) } else { error });
            }
        }
    }

    async fn attempt(&self, call: &Call) -> Result<Vec<u8>> {
        let begun = Instant::now();
        let opened = self.opened().await?;
        let outcome = opened.store.engine().step(Call { epoch: opened.epoch, ..call.clone() }).await;
        match &outcome {
            Ok(_) => self.inner.host.has_answered(&opened, call.verb),
            Err(error) => self.has_failed(&opened, error, begun).await,
        }
        outcome
    }

    /// Something that was begun then has failed on this engine. One that is away, or serves no more, is opened anew the next
    /// time, unless somebody has done so already.
    pub(crate) async fn has_failed(&self, failed: &Arc<Opened>, error: &Error, begun: Instant) {
        if error.disposition() == Disposition::Permanent {
            return;
        }
        self.inner.host.has_failed(failed, error, begun);
        let mut opened = self.inner.opened.lock().await;
        if opened.as_ref().is_some_and(|current| Arc::ptr_eq(current, failed)) {
            *opened = None;
        }
    }

    /// How long failures are borne from now on.
    pub(crate) fn patience(&self) -> Patience {
        Patience { give_up: Instant::now() + self.config().patience, has_failed: false }
    }

    /// Whether the host has decided anew since this engine was opened.
    pub(crate) fn has_moved_on(&self, opened: &Opened) -> bool {
        let engine = match opened.serving.engine {
            EngineKind::Redis => ModeEngine::Redis,
            EngineKind::Files | EngineKind::Memory => ModeEngine::Files,
        };
        self.inner.host.namespace().word().is_none_or(|word| !word.serves(opened.epoch, engine))
    }

    pub(crate) async fn next_number(&self) -> Unresolved {
        self.inner.shared.requests.next().await
    }

    /// Counts the waits of this client: each has a clone.
    pub(crate) fn waits(&self) -> &Arc<()> {
        &self.inner.shared.waits
    }

    pub(crate) fn news(&self) -> &News {
        &self.inner.news
    }

    /// The opening of the engine on which this client's tickets are heard already.
    pub(crate) fn heard(&self) -> Option<u64> {
        self.inner.subscribed.try_lock().ok().and_then(|subscribed| *subscribed)
    }

    /// Listens to this client's tickets, and says on which opening of the engine.
    pub(crate) async fn hear_tickets(&self) -> Result<u64> {
        let begun = Instant::now();
        let opened = self.opened().await?;
        let mut subscribed = self.inner.subscribed.lock().await;
        if *subscribed != Some(opened.serial) {
            if let Err(error) = opened.wakes.subscribe(&Channel::Client(self.client().clone())).await {
                self.has_failed(&opened, &error, begun).await;
                return Err(error);
            }
            *subscribed = Some(opened.serial);
        }
        Ok(opened.serial)
    }

    /// Hands over what a dropped future or guard has left behind. Never blocks.
    pub(crate) fn withdraw_later(&self, withdrawal: Withdrawal) {
        self.inner.shared.withdrawals.add(withdrawal);
    }

    /// What is still to be withdrawn.
    pub(crate) fn withdrawals(&self) -> &Withdrawals {
        &self.inner.shared.withdrawals
    }

    /// Withdraws what dropped futures and guards have left behind.
    ///
    /// # Errors
    /// The first failure. What the engine has not answered is kept: it is withdrawn once the engine is back, or ends with
    /// the session.
    ///
    /// # Cancel safety
    /// Cancel-safe: what is not withdrawn yet is kept.
    pub async fn settle(&self) -> Result<()> {
        while let Some(under_way) = self.withdrawals().begin() {
            under_way.run(self).await?;
        }
        Ok(())
    }
}

/// For how long an engine may be away.
#[derive(Debug)]
pub(crate) struct Patience {
    give_up: Instant,
    has_failed: bool,
}

impl Patience {
    /// Makes ready for another try. After the first failure that is at once, because the engine is looked at anew.
    ///
    /// # Errors
    /// The failure itself, when another try would not help, or the engine has been away for too long.
    pub(crate) async fn bear(&mut self, error: Error) -> Result<()> {
        if error.disposition() == Disposition::Permanent || Instant::now() >= self.give_up {
            return Err(error);
        }
        if std::mem::replace(&mut self.has_failed, true) {
            tokio::time::sleep(RETRY).await;
        }
        Ok(())
    }
}

/// Whether a verb is refused when it is asked under a lock that has ended.
fn is_fenced(verb: &str) -> bool {
    let about_leases = verb.starts_with("lock/") || verb.starts_with("agent/");
    let upkeep = verb.ends_with("/withdraw") || verb == "audit/seal";
    !about_leases && !upkeep
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BackendChoice;

    fn fenced() -> Error {
        Error::Fenced { epoch: agentcoord_core::ids::Epoch(1), reason: "another epoch".to_owned() }
    }

    #[tokio::test]
    async fn an_engine_that_was_opened_after_a_failure_is_kept() -> Result<()> {
        let dir = tempfile::tempdir().map_err(|e| Error::backend("no directory", e))?;
        let mut config = Config::new(dir.path(), dir.path().join("state"));
        config.backend = BackendChoice::Files;
        let connection = Connection::open(config, Style::OneShot).await?;
        let failed = connection.opened().await?;
        connection.has_failed(&failed, &fenced(), Instant::now()).await;
        let fresh = connection.opened().await?;
        assert!(!Arc::ptr_eq(&failed, &fresh));
        connection.has_failed(&failed, &fenced(), Instant::now()).await;
        assert!(Arc::ptr_eq(&fresh, &connection.opened().await?));
        Ok(())
    }

    #[tokio::test]
    async fn another_epoch_is_borne_and_not_spun_on() {
        let begun = Instant::now();
        let mut patience = Patience { give_up: begun + Duration::from_secs(60), has_failed: false };
        assert!(patience.bear(fenced()).await.is_ok());
        assert!(patience.bear(fenced()).await.is_ok());
        assert!(begun.elapsed() >= RETRY);
        let refused = Error::Refused { policy: "engine_is_files", reason: String::new() };
        assert!(matches!(patience.bear(refused).await, Err(Error::Refused { .. })));
        patience.give_up = begun;
        assert!(matches!(patience.bear(fenced()).await, Err(Error::Fenced { .. })));
    }
}
