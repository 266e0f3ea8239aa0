//! Which engine serves the workspace: one decision for the whole host, read from the mode row and word, never taken by
//! a process alone. With `decide` this is the composition root: the only place that names both engines.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agentcoord_core::engine::{Engine, EngineKind, Feed, Wakes};
use agentcoord_core::ids::Epoch;
use agentcoord_core::time::Clock;
use agentcoord_core::{Error, Result, Store};
use agentcoord_fs::{
    FsEngine, FsFeed, FsWakes, ModeEngine, ModeRow, Namespace, Phase, StateDir, SystemClock, Threading,
};

use crate::config::{BackendChoice, Config};
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
        Ok(Self { inner: Arc::new(Inner { config, style, state_dir, namespace, clock, serial: AtomicU64::new(0) }) })
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

    /// Opens the engine that serves; its wake-ups go to `news`.
    pub(crate) async fn open(&self, news: &News) -> Result<Opened> {
        let row = self.decided().await?;
        match row.engine {
            ModeEngine::Files => self.open_files(&row, news),
            ModeEngine::Redis => self.open_redis(row, news).await,
        }
    }

    /// The decision in force, without a lock when nothing is to be done about it.
    async fn decided(&self) -> Result<ModeRow> {
        let word = self.namespace().word();
        match self.namespace().row()? {
            Some(row) if row.phase == Phase::Serving && word == Some(row.word()) => Ok(row),
            _ => self.decide().await,
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
        Ok(self.opened(engine, wakes, Arc::new(feed), row.epoch, asked))
    }

    pub(crate) fn opened(
        &self,
        engine: Arc<dyn Engine>,
        wakes: Arc<dyn Wakes>,
        feed: Arc<dyn Feed>,
        epoch: Epoch,
        degraded: bool,
    ) -> Opened {
        let kind = engine.kind();
        let redis = (degraded || kind == EngineKind::Redis).then(|| self.shown_url());
        Opened {
            store: Store::new(engine),
            serving: Serving { engine: kind, epoch, degraded, redis },
            epoch,
            wakes,
            feed,
            serial: self.inner.serial.fetch_add(1, Ordering::Relaxed),
        }
    }
}
