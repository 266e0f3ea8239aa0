//! Which engine serves the workspace: one decision for the whole host, read from the mode row and word, never taken by
//! a process alone. With `decide` this is the composition root: the only place that names both engines.

mod redis;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use agentcoord_core::engine::{Engine, EngineKind, Feed, Wakes};
use agentcoord_core::ids::{Epoch, Id, RequestNo};
use agentcoord_core::replica::Gap;
use agentcoord_core::script::Script;
use agentcoord_core::time::Clock;
use agentcoord_core::{Error, Result, Store};
use agentcoord_fs::{
    FsEngine, FsFeed, FsWakes, Journal, ModeEngine, ModeRow, ModeWatch, Namespace, Phase, StateDir, SystemClock,
    Threading,
};
use agentcoord_redis::RedisEngine;
use tokio::sync::watch;

use crate::config::{BackendChoice, Config};
use crate::failover::suspicion::Suspicion;
use crate::failover::take_over::{complainant, complaining_process};
use crate::news::News;

/// How long this process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One command: no threads unless something waits.
    OneShot,
    /// An agent.
    LongRunning,
}

/// What serves the workspace, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// The engine.
    pub engine: EngineKind,
    /// The epoch of the decision.
    pub epoch: Epoch,
    /// True when Redis was asked for, or has served before, and files serve.
    pub degraded: bool,
    /// True when Redis serves and may be lost without loss: files would take over with everything.
    pub protected: bool,
    /// Why files serve instead of Redis.
    pub reason: Option<String>,
    /// Who has moved the workspace to files by hand; it stays there until somebody moves it back.
    pub by_hand: Option<String>,
    /// The Redis URL without its secrets, when Redis serves or was asked for.
    pub redis: Option<String>,
}

/// An engine that has been opened, with its source of wake-ups.
#[derive(Debug)]
pub struct Opened {
    /// The six components.
    pub store: Store,
    /// What serves, for people.
    pub serving: Serving,
    pub(crate) epoch: Epoch,
    pub(crate) wakes: Arc<dyn Wakes>,
    pub(crate) feed: Arc<dyn Feed>,
    /// Redis itself, when everything that it answers is kept on this host.
    pub(crate) mirrored: Option<Arc<RedisEngine>>,
    /// Tells one opening from the next.
    pub(crate) serial: u64,
}

/// The name of this machine.
#[must_use]
pub fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A workspace's place on this host. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    style: Style,
    state_dir: StateDir,
    namespace: Namespace,
    clock: Arc<dyn Clock>,
    serial: AtomicU64,
    suspicion: Suspicion,
    /// As whom this process complains about Redis.
    complainant: String,
    journal: Mutex<Option<Journal>>,
    switches: Switches,
}

/// Tells those who wait that another engine serves. The thread that listens begins with the first who asks.
#[derive(Debug, Default)]
struct Switches {
    changed: watch::Sender<u64>,
    thread: OnceLock<Option<ModeWatch>>,
}

impl Host {
    pub(crate) fn new(config: Config, style: Style) -> Result<Self> {
        let state_dir = StateDir::open(&config.state_dir)?;
        let name = match &config.namespace {
            Some(name) => name.clone(),
            None => state_dir.own_namespace()?,
        };
        let namespace = Namespace::open(&state_dir, &name)?;
        let clock = Arc::new(SystemClock::new());
        let inner = Inner {
            config,
            style,
            state_dir,
            namespace,
            clock,
            serial: AtomicU64::new(0),
            suspicion: Suspicion::default(),
            complainant: complainant(),
            journal: Mutex::default(),
            switches: Switches::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(crate) fn suspicion(&self) -> &Suspicion {
        &self.inner.suspicion
    }

    pub(crate) fn complainant(&self) -> &str {
        &self.inner.complainant
    }

    /// This process' journal; opened by the first who needs it.
    pub(crate) fn journal(&self) -> Result<Journal> {
        let mut journal = self.inner.journal.lock().unwrap_or_else(PoisonError::into_inner);
        match &*journal {
            Some(journal) => Ok(journal.clone()),
            None => Ok(journal.insert(self.namespace().open_journal(self.config().durability)?).clone()),
        }
    }

    pub(crate) fn journal_if_open(&self) -> Option<Journal> {
        self.inner.journal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nobody asks for the outcome of a request any more. If its answer has not come, the journal must not wait for it.
    pub(crate) fn is_over(&self, client: &Id, request: RequestNo) {
        if let Some(journal) = self.journal_if_open() {
            journal.give_up(client, request);
        }
    }

    /// Tells when another engine or epoch serves.
    pub(crate) fn switches(&self) -> watch::Receiver<u64> {
        let switches = &self.inner.switches;
        switches.thread.get_or_init(|| {
            let changed = switches.changed.clone();
            let started = ModeWatch::start(self.namespace(), move || changed.send_modify(|n| *n += 1));
            // Without it those who wait look again after a while.
            started.inspect_err(|error| tracing::debug!(%error, "switches of the engine are noticed late")).ok()
        });
        switches.changed.subscribe()
    }

    pub(crate) fn style(&self) -> Style {
        self.inner.style
    }

    pub(crate) fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn state_dir(&self) -> &StateDir {
        &self.inner.state_dir
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.inner.namespace
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.inner.clock)
    }

    /// A call on Redis has failed that was begun then.
    pub(crate) fn has_failed(&self, opened: &Opened, error: &Error, begun: Instant) {
        let is_away = matches!(error, Error::Unavailable { .. } | Error::OutcomeUnknown { .. });
        if is_away && opened.serving.engine == EngineKind::Redis {
            self.suspicion().raise(opened.epoch, begun);
            if let Some(gap) = Gap::behind(error) {
                self.suspicion().misses(opened.epoch, gap);
            }
        }
    }

    /// A step on Redis has an answer. What gives things back says little: it runs on a server that takes nothing new.
    pub(crate) fn has_answered(&self, opened: &Opened, verb: &str) {
        let is_write = Script::of(verb).is_some_and(|script| !script.allow_oom);
        if is_write && opened.serving.engine == EngineKind::Redis && self.suspicion().is_raised(opened.epoch) {
            self.suspicion().drop_it(opened.epoch);
        }
    }

    /// Opens the engine that serves; its wake-ups go to `news`.
    pub(crate) async fn open(&self, news: &News) -> Result<Opened> {
        let row = self.decided().await?;
        match row.engine {
            ModeEngine::Files => self.open_files(&row, news),
            ModeEngine::Redis => self.open_redis(row, news).await,
        }
    }

    /// Runs what decides about the engine on a thread and a runtime of its own. It may hold the mode lock across waits, and an
    /// agent that blocks its executor, or does not poll a future that it has, must not hold up the whole host.
    pub(crate) async fn apart<T, F>(&self, work: impl FnOnce(Self) -> F + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>>,
    {
        let (done, answer) = tokio::sync::oneshot::channel();
        let host = self.clone();
        let thread = std::thread::Builder::new().name("agentcoord-decide".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let outcome = match runtime {
                Ok(runtime) => runtime.block_on(work(host)),
                Err(error) => Err(Error::backend("no runtime to decide about the engine", error)),
            };
            // Whoever asked may have gone; what was decided holds.
            drop(done.send(outcome));
        });
        drop(thread.map_err(|error| Error::backend("no thread to decide about the engine", error))?);
        answer.await.unwrap_or_else(|_| Err(Error::unavailable("the decision about the engine was cut off")))
    }

    /// The decision in force, without a lock when nothing is to be done about it. A switch that somebody has left half done
    /// is completed.
    pub(crate) async fn decided(&self) -> Result<ModeRow> {
        let word = self.namespace().word();
        match self.namespace().row()? {
            Some(row) if row.phase == Phase::Serving && word == Some(row.word()) => Ok(row),
            _ => self.apart(|host| async move { host.decide().await }).await,
        }
    }

    pub(crate) fn open_files(&self, row: &ModeRow, news: &News) -> Result<Opened> {
        let config = self.config();
        if config.backend == BackendChoice::Redis {
            return Err(Error::Refused {
                policy: "engine_is_files",
                reason: "this workspace works on files; `agentcoord store use redis` moves it to Redis".to_owned(),
            });
        }
        let threading = match self.inner.style {
            Style::OneShot => Threading::Direct,
            Style::LongRunning => Threading::Threaded,
        };
        let engine = FsEngine::open(self.namespace(), row.epoch, self.clock(), config.durability, threading)?;
        let wakes = news.source(EngineKind::Files, row.epoch, |sink| FsWakes::new(self.namespace(), sink))?;
        let asked = config.backend == BackendChoice::Auto && (config.redis_url.is_some() || row.instance.is_some());
        let engine: Arc<dyn Engine> = Arc::new(engine);
        let feed = FsFeed::new(self.namespace(), Arc::clone(&engine));
        let serving = Serving {
            engine: EngineKind::Files,
            epoch: row.epoch,
            degraded: asked,
            protected: false,
            reason: row.reason.clone().filter(|_| asked),
            by_hand: row.complainant.clone().filter(|who| asked && complaining_process(who).is_none()),
            redis: asked.then(|| self.shown_url()),
        };
        Ok(self.opened(engine, wakes, Arc::new(feed), serving, None))
    }

    pub(crate) fn opened(
        &self,
        engine: Arc<dyn Engine>,
        wakes: Arc<dyn Wakes>,
        feed: Arc<dyn Feed>,
        serving: Serving,
        mirrored: Option<Arc<RedisEngine>>,
    ) -> Opened {
        Opened {
            store: Store::new(engine),
            epoch: serving.epoch,
            serving,
            wakes,
            feed,
            mirrored,
            serial: self.inner.serial.fetch_add(1, Ordering::Relaxed),
        }
    }
}
