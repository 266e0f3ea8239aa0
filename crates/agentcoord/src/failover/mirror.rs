//! Redis with a host behind it: every answer is in this process' journal, together with everything that it may have seen,
//! before it is given to anybody; and it is given only while the mode says that Redis serves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agentcoord_core::engine::{Engine, EngineKind, Feed, Follower};
use agentcoord_core::ids::{Csn, Epoch, Id, RequestNo};
use agentcoord_core::mode::ModeEngine;
use agentcoord_core::op::Call;
use agentcoord_core::record::{Event, State};
use agentcoord_core::replica::{Gap, Logged, Told};
use agentcoord_core::table::{Entry, Range, Table};
use agentcoord_core::time::Reading;
use agentcoord_core::{Error, Result, waypoint};
use agentcoord_fs::Journal;
use agentcoord_fs::journal::Noted;
use agentcoord_redis::{RedisEngine, RedisFeed, RedisFollower, Stepped};
use async_trait::async_trait;
use tokio::sync::{Mutex, Notify};

use crate::failover::replicate;
use crate::host::Host;

/// Events that are read at once.
pub(crate) const PAGE: usize = 256;
/// How long an answer waits for those before it, which are mostly on their way to other tasks of this process.
const MOMENT: Duration = Duration::from_millis(2);
/// Pause between two looks whether the replica lags.
const BREATH: Duration = Duration::from_millis(200);

/// The engine of a namespace on Redis that this host may take over.
pub(crate) struct Mirror {
    redis: Arc<RedisEngine>,
    host: Host,
    journal: Journal,
    /// Rung when the journal has got further.
    further: Notify,
    /// Held by the task that brings the replica further, when there is one.
    relief: Arc<Mutex<()>>,
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("redis", &self.redis).finish_non_exhaustive()
    }
}

impl Mirror {
    /// The journal must have begun the engine's epoch.
    pub(crate) fn new(redis: Arc<RedisEngine>, host: Host, journal: Journal) -> Self {
        Self { redis, host, journal, further: Notify::new(), relief: Arc::default() }
    }

    /// Looks at the mode word: before a request is sent, and after its answer was written down.
    fn serving(&self) -> Result<()> {
        let epoch = self.epoch();
        if self.host.namespace().word().is_some_and(|word| word.serves(epoch, ModeEngine::Redis)) {
            return Ok(());
        }
        Err(Error::Fenced { epoch, reason: "the engine of this workspace is another one by now".to_owned() })
    }

    /// Writes down what was told, and answers when it may be acted on.
    async fn keep<T>(&self, answered: Option<(&Id, RequestNo)>, told: Told<T>) -> Result<T> {
        let epoch = self.epoch();
        let Told { answer, after, events } = told;
        let last = events.last().map_or(after, |logged| logged.csn);
        match self.journal.note(epoch, answered, Told { answer: (), after, events })? {
            Noted::Kept => self.further.notify_waiters(),
            Noted::Early(_) => self.reach(last).await?,
            Noted::Over => self.serving()?,
        }
        waypoint::reached("request/noted");
        self.journal.sync(epoch)?;
        self.serving()?;
        waypoint::reached("request/confirmed");
        self.relieve();
        Ok(answer)
    }

    /// When much waits in the journal, brings the replica further beside the caller: nobody else may be there to do it.
    fn relieve(&self) {
        if !self.journal.holds_much() {
            return;
        }
        let Ok(turn) = Arc::clone(&self.relief).try_lock_owned() else { return };
        let (host, redis, known) = (self.host.clone(), Arc::clone(&self.redis), self.known());
        tokio::spawn(async move {
            if let Err(error) = replicate::up_to(&host, &redis, known).await {
                tracing::debug!(%error, "the replica lags");
            }
            tokio::time::sleep(BREATH).await;
            drop(turn);
        });
    }

    /// Resolves when the journal has everything up to here.
    async fn reach(&self, last: Csn) -> Result<()> {
        let deadline = tokio::time::Instant::now() + MOMENT;
        loop {
            let further = self.further.notified();
            if self.known() >= last {
                return Ok(());
            }
            if tokio::time::timeout_at(deadline, further).await.is_err() {
                break;
            }
        }
        self.catch_up_to(last).await
    }

    /// Reads the log, in which this event must be.
    async fn catch_up_to(&self, last: Csn) -> Result<()> {
        self.catch_up().await?;
        if self.known() >= last { Ok(()) } else { Err(self.has_lost()) }
    }

    /// Redis lacks what it has told, or what it has counted. Waiting does not bring it back.
    fn has_lost(&self) -> Error {
        self.host.suspicion().has_lost(self.epoch());
        Error::unavailable("Redis has lost changes that it had acknowledged")
    }

    /// Reads the log up to its end.
    async fn catch_up(&self) -> Result<()> {
        loop {
            let after = self.journal.known(self.epoch());
            let events = self.redis.log(after, PAGE).await?;
            let is_all = events.len() < PAGE;
            self.note_log(after, events)?;
            if is_all {
                return Ok(());
            }
        }
    }

    /// Writes down a page of the log.
    fn note_log(&self, after: Csn, events: Vec<Logged>) -> Result<()> {
        without_gap(after, &events)?;
        if self.journal.note(self.epoch(), None, Told { answer: (), after, events })? == Noted::Over {
            return self.serving();
        }
        self.further.notify_waiters();
        self.relieve();
        Ok(())
    }

    fn known(&self) -> Csn {
        self.journal.known(self.epoch())
    }

    /// A read, which may have seen what its host does not know yet.
    async fn seen<T>(&self, told: Result<Told<T>>) -> Result<T> {
        let told = told?;
        let is_all = told.events.len() < PAGE;
        without_gap(told.after, &told.events)?;
        let answer = self.keep(None, told).await?;
        if !is_all {
            self.catch_up().await?;
            self.serving()?;
        }
        Ok(answer)
    }
}

/// Refuses a log that has lost its beginning: what this host has not seen cannot be kept.
fn without_gap(after: Csn, events: &[Logged]) -> Result<()> {
    match events.first() {
        Some(first) if first.csn.0 > after.0 + 1 => {
            let gap = Gap { from: Csn(after.0 + 1), to: Csn(first.csn.0 - 1) };
            let reason = format!("Redis has dropped changes after {after} that this host has not seen");
            Err(Error::Unavailable { reason, source: Some(gap.into()) })
        }
        _ => Ok(()),
    }
}

#[async_trait]
impl Engine for Mirror {
    fn kind(&self) -> EngineKind {
        EngineKind::Redis
    }

    fn epoch(&self) -> Epoch {
        self.redis.epoch()
    }

    async fn step(&self, call: Call) -> Result<Vec<u8>> {
        self.serving()?;
        self.journal.intend(call.epoch, &call.client, call.request, &call.blobs)?;
        waypoint::reached("request/intended");
        loop {
            let known = self.known();
            match self.redis.step_told(&call, Some(known)).await? {
                Stepped::Done(told) => {
                    waypoint::reached("request/answered");
                    // It was executed, whatever becomes of it: whether it counts is found by asking again.
                    let request = call.request;
                    let unknown = |error: Error| Error::OutcomeUnknown { request, source: Some(error.into()) };
                    return self.keep(Some((&call.client, request)), told).await.map_err(unknown);
                }
                Stepped::Behind => self.catch_up_to(Csn(known.0 + 1)).await?,
                Stepped::Lost => return Err(self.has_lost()),
            }
        }
    }

    async fn fetch(&self, table: Table, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        self.serving()?;
        self.seen(self.redis.fetch_told(table, keys, Some(self.known())).await).await
    }

    async fn blobs(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        self.serving()?;
        self.seen(self.redis.blobs_told(names, Some(self.known())).await).await
    }

    async fn scan(&self, range: &Range, limit: usize) -> Result<Vec<Entry>> {
        self.serving()?;
        self.seen(self.redis.scan_told(range, limit, Some(self.known())).await).await
    }

    async fn state(&self) -> Result<(State, Reading)> {
        self.serving()?;
        self.seen(self.redis.state_told(Some(self.known())).await).await
    }

    async fn events(&self, after: Csn, limit: usize) -> Result<Vec<Event>> {
        self.serving()?;
        let logged = self.redis.log(after, limit).await?;
        if let Some(last) = logged.last() {
            self.catch_up_to(last.csn).await?;
        }
        self.serving()?;
        logged.iter().map(Logged::event).collect()
    }
}

/// The log of events, told only as far as this host keeps it: what is told is never taken back.
pub(crate) struct MirrorFeed {
    mirror: Arc<Mirror>,
    feed: RedisFeed,
}

impl fmt::Debug for MirrorFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MirrorFeed").field("feed", &self.feed).finish_non_exhaustive()
    }
}

impl MirrorFeed {
    pub(crate) fn new(mirror: Arc<Mirror>, feed: RedisFeed) -> Self {
        Self { mirror, feed }
    }
}

#[async_trait]
impl Feed for MirrorFeed {
    async fn follow(&self) -> Result<Box<dyn Follower>> {
        Ok(Box::new(MirrorFollower { mirror: Arc::clone(&self.mirror), tail: self.feed.tail().await? }))
    }
}

#[derive(Debug)]
struct MirrorFollower {
    mirror: Arc<Mirror>,
    tail: RedisFollower,
}

#[async_trait]
impl Follower for MirrorFollower {
    async fn next(&mut self, after: Csn, limit: usize) -> Result<Vec<Event>> {
        let logged = self.tail.log(after, limit).await?;
        if let Some(last) = logged.last() {
            if self.mirror.known() < last.csn {
                self.mirror.catch_up_to(last.csn).await?;
            }
            self.mirror.serving()?;
        }
        logged.iter().map(Logged::event).collect()
    }
}
