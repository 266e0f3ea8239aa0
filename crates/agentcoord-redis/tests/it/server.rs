//! A private redis-server on a free port, killed on drop, and a namespace on it with what is needed to call verbs.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use agentcoord_core::agent::{Register, Registered, SessionKind};
use agentcoord_core::engine::Engine;
use agentcoord_core::ids::{Epoch, Id, RequestNo};
use agentcoord_core::lock::{AcquireLock, LockPath};
use agentcoord_core::op::{Actor, Call, Op, Verb, answer};
use agentcoord_core::time::{Clock, Reading};
use agentcoord_core::{Error, Result};
use agentcoord_redis::{Admission, Deadlines, Meta, RedisEngine, RedisUrl, found, survey};

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    directory: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        // The port is free when we look; another process may be quicker, so try again then.
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let directory = tempfile::tempdir().unwrap();
            let mut server = Self { child: spawn(port, directory.path()), port, directory };
            if server.is_up().await {
                return server;
            }
        }
        panic!("no redis-server could be started: is it installed?");
    }

    /// Kills it and starts it anew on the same port, with the data that it saved, if any.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.port, self.directory.path());
        assert!(self.is_up().await, "it did not come back");
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline && self.child.try_wait().unwrap().is_none() {
            if survey(&self.url(), "any", Deadlines::default()).await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    }

    pub(crate) fn url(&self) -> RedisUrl {
        RedisUrl::parse(&format!("redis://127.0.0.1:{}", self.port)).unwrap()
    }

    pub(crate) async fn connection(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Runs a command given as words.
    pub(crate) async fn run<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.connection().await).await.unwrap()
    }

    /// How often each command was run, scripts' calls included.
    pub(crate) async fn calls(&self) -> u64 {
        let stats: String = self.run(&["INFO", "commandstats"]).await;
        let count = |line: &str| -> Option<u64> {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let ours = name != "fcall" && !["info", "hello", "client|setinfo"].contains(&name);
            ours.then(|| rest.split(',').next()?.parse().ok())?
        };
        stats.lines().filter_map(count).sum()
    }

    /// The digest of everything in the server.
    pub(crate) async fn digest(&self) -> String {
        self.run(&["DEBUG", "DIGEST"]).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(port: u16, directory: &Path) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
        .args(["--appendfsync", "always", "--enable-debug-command", "local"])
        .arg("--dir")
        .arg(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server must be installed to run these tests")
}

/// A boot clock that does not move; the wall clock is the server's.
#[derive(Debug, Default)]
pub(crate) struct Boot(pub(crate) AtomicU64);

impl Clock for Boot {
    fn read(&self) -> Reading {
        Reading { wall: 0, boot_id: "boot".to_owned(), boot: self.0.load(Ordering::SeqCst) }
    }
}

/// One client of one namespace.
pub(crate) struct Desk {
    pub(crate) engine: RedisEngine,
    pub(crate) namespace: String,
    pub(crate) admission: Admission,
    pub(crate) client: Id,
    pub(crate) boot: Arc<Boot>,
    next: AtomicU64,
}

impl Desk {
    /// Founds a namespace and opens it.
    pub(crate) async fn found(server: &Server) -> Self {
        let namespace = format!("ns-{}", Id::random());
        let meta = Meta::new(Epoch(7), Id::random().to_string(), "1", "owner");
        let meta = found(&server.url(), &namespace, &meta, Deadlines::default()).await.unwrap();
        let run_id = survey(&server.url(), &namespace, Deadlines::default()).await.unwrap().run_id;
        let admission = Admission {
            run_id,
            instance: meta.instance,
            epoch: meta.epoch,
            generation: meta.generation,
            owner: meta.owner,
        };
        Self::open(server, &namespace, admission)
    }

    /// Another client of the same namespace.
    pub(crate) fn open(server: &Server, namespace: &str, admission: Admission) -> Self {
        Self::open_at(server.url(), namespace, admission)
    }

    /// The same under another URL of the server.
    pub(crate) fn open_at(url: RedisUrl, namespace: &str, admission: Admission) -> Self {
        let boot = Arc::new(Boot::default());
        // A busy machine must not fail a test that is not about time.
        let deadlines = Deadlines { connect: Duration::from_secs(5), ..Deadlines::default() };
        let engine = RedisEngine::new(url, namespace, admission.clone(), deadlines, boot.clone()).unwrap();
        let (client, next) = (Id::random(), AtomicU64::new(1));
        Self { engine, namespace: namespace.to_owned(), admission, client, boot, next }
    }

    pub(crate) fn call<V: Verb>(&self, actor: &Actor, body: V) -> Call {
        let request = RequestNo(self.next.fetch_add(1, Ordering::SeqCst));
        let (client, actor) = (self.client.clone(), actor.clone());
        Call::encode(&Op { epoch: self.admission.epoch, client, request, actor, fence: None, body }).unwrap()
    }

    pub(crate) async fn send<V: Verb>(&self, actor: &Actor, body: V) -> Result<V::Reply> {
        answer::<V>(&self.engine.step(self.call(actor, body)).await?)
    }

    /// A key of the namespace, given what follows the generation.
    pub(crate) fn key(&self, rest: &str) -> String {
        format!("ac:{{{}}}:1:{rest}", self.namespace)
    }

    pub(crate) async fn register(&self, name: &str) -> (Actor, Registered) {
        let registered = self.send(&Actor::System, register(name)).await.unwrap();
        (Actor::Session(registered.session.clone()), registered)
    }
}

pub(crate) fn register(name: &str) -> Register {
    Register {
        agent: Id::random(),
        session: Id::random(),
        name: name.to_owned(),
        key: String::new(),
        role: "Engineer".to_owned(),
        working_on: None,
        capabilities: Vec::new(),
        host: "host".to_owned(),
        process: None,
        kind: SessionKind::Process,
        ttl: 30_000,
        parent: None,
        resume: false,
        metadata: None,
    }
}

pub(crate) fn acquire(path: &str) -> AcquireLock {
    AcquireLock::new(vec![LockPath::parse(path).unwrap()])
}

/// The reason of an `Unavailable`.
pub(crate) fn unavailable<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Err(Error::Unavailable { reason, .. }) => reason,
        other => panic!("expected Unavailable, not {other:?}"),
    }
}
