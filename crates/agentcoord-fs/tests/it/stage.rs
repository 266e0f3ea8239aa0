//! A store in a directory of its own, and agents on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agentcoord_core::agent::{Register, SessionKind};
use agentcoord_core::engine::Engine;
use agentcoord_core::ids::{Epoch, Id, RequestNo, Ticket};
use agentcoord_core::lock::{AcquireLock, LockPath};
use agentcoord_core::op::{Actor, Call, Op, Verb, answer};
use agentcoord_core::task::{CreateTasks, NewTask};
use agentcoord_core::{Result, limits};
use agentcoord_fs::{Durability, FsEngine, ModeEngine, ModeRow, Namespace, StateDir, SystemClock, Threading};
use tempfile::TempDir;

pub(crate) const EPOCH: Epoch = Epoch(7);
pub(crate) const NAMESPACE: &str = "test";

/// A store on which files serve.
pub(crate) struct Store {
    pub(crate) dir: TempDir,
    pub(crate) namespace: Namespace,
}

impl Store {
    pub(crate) fn new() -> Self {
        let store = Self::without_mode();
        let row = ModeRow::serving(EPOCH, ModeEngine::Files);
        store.namespace.lock_mode().unwrap().write(&row).unwrap();
        store
    }

    /// A store for which no engine was chosen yet.
    pub(crate) fn without_mode() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let namespace = open(dir.path());
        Self { dir, namespace }
    }

    /// The path of one of the namespace's files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("namespaces").join(NAMESPACE).join(name)
    }

    pub(crate) fn engine(&self, threading: Threading) -> Arc<FsEngine> {
        engine(&self.namespace, threading)
    }
}

pub(crate) fn open(dir: &Path) -> Namespace {
    Namespace::open(&StateDir::open(dir).unwrap(), NAMESPACE).unwrap()
}

pub(crate) fn engine(namespace: &Namespace, threading: Threading) -> Arc<FsEngine> {
    let clock = Arc::new(SystemClock::new());
    Arc::new(FsEngine::open(namespace, EPOCH, clock, Durability::Process, threading).unwrap())
}

/// A client of an engine with a session.
pub(crate) struct Agent {
    engine: Arc<dyn Engine>,
    pub(crate) client: Id,
    session: Id,
    requests: AtomicU64,
}

impl Agent {
    pub(crate) async fn register(engine: Arc<dyn Engine>, name: &str) -> Self {
        let agent = Self { engine, client: Id::random(), session: Id::random(), requests: AtomicU64::new(0) };
        let body = Register {
            agent: Id::random(),
            session: agent.session.clone(),
            name: name.to_owned(),
            key: String::new(),
            role: "Tester".into(),
            working_on: None,
            capabilities: Vec::new(),
            host: "here".into(),
            process: None,
            kind: SessionKind::Process,
            ttl: limits::SESSION_TTL,
            parent: None,
            resume: false,
            metadata: None,
        };
        let _registered = agent.run_as(Actor::System, body).await.unwrap();
        agent
    }

    pub(crate) fn call<V: Verb>(&self, actor: Actor, body: V) -> Call {
        let request = RequestNo(self.requests.fetch_add(1, Ordering::Relaxed) + 1);
        Call::encode(&Op { epoch: EPOCH, client: self.client.clone(), request, actor, fence: None, body }).unwrap()
    }

    pub(crate) fn session(&self) -> Actor {
        Actor::Session(self.session.clone())
    }

    pub(crate) async fn run<V: Verb>(&self, body: V) -> Result<V::Reply> {
        self.run_as(self.session(), body).await
    }

    pub(crate) async fn run_as<V: Verb>(&self, actor: Actor, body: V) -> Result<V::Reply> {
        answer::<V>(&self.engine.step(self.call(actor, body)).await?)
    }

    /// The ticket of the request that was made last.
    pub(crate) fn last_ticket(&self) -> Ticket {
        Ticket::of(&self.client, RequestNo(self.requests.load(Ordering::Relaxed)))
    }
}

pub(crate) fn lock(path: &str, wait: Option<u64>) -> AcquireLock {
    AcquireLock { wait, ..AcquireLock::new(vec![LockPath::parse(path).unwrap()]) }
}

pub(crate) fn tasks(titles: impl IntoIterator<Item = String>) -> CreateTasks {
    CreateTasks::new(titles.into_iter().map(NewTask::titled).collect())
}

/// Runs a future on a runtime of its own.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}
