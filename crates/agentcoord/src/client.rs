//! The handle that an agent holds.

use std::future::IntoFuture;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use agentcoord_core::agent::{Register, Registered, SessionKind, UpdateAgent};
use agentcoord_core::ids::Id;
use agentcoord_core::op::{Actor, Verb};
use agentcoord_core::{Error, Result, Store};
use tokio::sync::watch;

use crate::approver::Approvers;
use crate::background::Background;
use crate::config::{BackendChoice, Config};
use crate::connection::Connection;
use crate::host::Style;
use crate::workspace::Workspace;

/// A boxed future, as builders return it.
pub(crate) type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// An agent's session: locks, tasks, board, approvals and audit, in one line each.
///
/// A thread of its own keeps the session alive, whatever the agent's executor does. Dropping the client ends the
/// session as well as time allows; [`CoordinationClient::close`] waits for it.
///
/// ```no_run
/// # async fn example() -> agentcoord::Result<()> {
/// use agentcoord::CoordinationClient;
///
/// let coord = CoordinationClient::session("Engineer", "Agent-1").working_on("Building features").await?;
/// let lock = coord.lock_file("backend/main.py").intent("Add /health endpoint").await?;
/// // Safe to edit here.
/// lock.release().await?;
/// coord.close().await
/// # }
/// ```
#[derive(Debug)]
pub struct CoordinationClient {
    pub(crate) connection: Connection,
    pub(crate) actor: Actor,
    registered: Registered,
    lost: watch::Receiver<bool>,
    background: Option<Background>,
    cwd: PathBuf,
}

impl CoordinationClient {
    /// Describes a session of an agent with a role and a name; awaiting it opens it.
    pub fn session(role: impl Into<String>, name: impl Into<String>) -> SessionBuilder {
        SessionBuilder::new(role.into(), name.into())
    }

    /// The connection below, for whoever needs a component's own interface.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The six components for reads: `client.store().await?.tasks().list(..)`.
    ///
    /// # Errors
    /// `Unavailable` when the engine cannot be reached.
    pub async fn store(&self) -> Result<Store> {
        self.connection.store().await
    }

    /// The agent's short id.
    #[must_use]
    pub fn agent(&self) -> &str {
        &self.registered.agent
    }

    /// The name the agent goes by: the one it asked for, with a number when that was taken.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.registered.name
    }

    /// The session's id.
    #[must_use]
    pub fn session_id(&self) -> &Id {
        &self.registered.session
    }

    /// Runs any verb in this session's name.
    ///
    /// # Errors
    /// Those of the verb.
    pub async fn run<V: Verb>(&self, body: V) -> Result<V::Reply> {
        self.connection.run(&self.actor, body).await
    }

    /// Says what the agent does now; counts as progress.
    ///
    /// # Errors
    /// `Stale` when the session has ended.
    pub async fn working_on(&self, what: impl Into<String> + Send) -> Result<()> {
        self.run(UpdateAgent { working_on: Some(what.into()), ..UpdateAgent::default() }).await.map(drop)
    }

    /// Declares a job that makes no progress calls for so long: the agent is not stuck meanwhile.
    ///
    /// # Errors
    /// `Stale` when the session has ended.
    pub async fn busy_for(&self, duration: Duration) -> Result<()> {
        self.run(UpdateAgent { busy_for: Some(millis(duration)), ..UpdateAgent::default() }).await.map(drop)
    }

    /// Resolves when the session has ended, or may have ended because the engine could not be reached for too long.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        drop(lost.wait_for(|lost| *lost).await);
    }

    /// True when [`CoordinationClient::lost`] would resolve.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    pub(crate) fn lost_signal(&self) -> watch::Receiver<bool> {
        self.lost.clone()
    }

    pub(crate) fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// Ends the session: locks pass on, tasks return to their queue. Waits until it has ended.
    ///
    /// # Errors
    /// `Unavailable` or `OutcomeUnknown` when the engine cannot be reached; the session then ends by its time to live.
    pub async fn close(mut self) -> Result<()> {
        match self.background.take() {
            Some(background) => background.close().await,
            None => Ok(()),
        }
    }
}

/// Milliseconds of a duration.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A session to be opened. Await it.
#[derive(Clone, Debug)]
#[must_use = "a session is opened when it is awaited"]
pub struct SessionBuilder {
    role: String,
    name: String,
    working_on: Option<String>,
    capabilities: Vec<String>,
    parent: Option<Id>,
    metadata: Option<String>,
    dir: PathBuf,
    state_dir: Option<PathBuf>,
    state_home: Option<PathBuf>,
    namespace: Option<String>,
    redis_url: Option<String>,
    backend: BackendChoice,
    ttl: Option<Duration>,
    approvers: Option<Approvers>,
    patience: Option<Duration>,
    detection: Option<Duration>,
    return_after: Option<Duration>,
    connection: Option<Connection>,
}

impl SessionBuilder {
    fn new(role: String, name: String) -> Self {
        Self {
            role,
            name,
            working_on: None,
            capabilities: Vec::new(),
            parent: None,
            metadata: None,
            dir: PathBuf::from("."),
            state_dir: None,
            state_home: None,
            namespace: None,
            redis_url: None,
            backend: BackendChoice::Auto,
            ttl: None,
            approvers: None,
            patience: None,
            detection: None,
            return_after: None,
            connection: None,
        }
    }

    /// What the agent works on.
    pub fn working_on(mut self, what: impl Into<String>) -> Self {
        self.working_on = Some(what.into());
        self
    }

    /// Something the agent can do; tasks may require it. May be called several times.
    pub fn capability(mut self, capability: impl Into<String>) -> Self {
        self.capabilities.push(capability.into());
        self
    }

    /// Makes it a child session of another session: the same agent, but its holdings end with this process.
    pub fn parent(mut self, session: Id) -> Self {
        self.parent = Some(session);
        self
    }

    /// The Redis to use. Default: `redis://127.0.0.1:6379` if it is there.
    pub fn redis_url(mut self, url: impl Into<String>) -> Self {
        self.redis_url = Some(url.into());
        self
    }

    /// Which engines may serve. Default: [`BackendChoice::Auto`].
    pub fn backend(mut self, backend: BackendChoice) -> Self {
        self.backend = backend;
        self
    }

    /// A directory inside the worktree; relative paths of locks start here. Default: the current directory.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = dir.into();
        self
    }

    /// The state directory. Default: `agentcoord/` in the repository's git directory.
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(dir.into());
        self
    }

    /// Where state directories lie for directories that are no git worktree.
    pub fn state_home(mut self, dir: impl Into<PathBuf>) -> Self {
        self.state_home = Some(dir.into());
        self
    }

    /// The namespace. Default: a random one that the state directory keeps.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// The session ends this long after its last heartbeat. Default: 30 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The people whose signed votes on approvals count. Default: votes need no signature.
    pub fn approvers(mut self, approvers: Approvers) -> Self {
        self.approvers = Some(approvers);
        self
    }

    /// How long calls keep trying while the engine is away. Default: 5 s.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// How long Redis may stay without an answer before files take over. Default: 1 s.
    pub fn detection(mut self, window: Duration) -> Self {
        self.detection = Some(window);
        self
    }

    /// How long Redis must have been healthy before it gets everything back. Default: 10 s.
    pub fn return_after(mut self, health: Duration) -> Self {
        self.return_after = Some(health);
        self
    }

    /// Uses an open connection instead of opening one; the settings of place and engine are then the connection's.
    pub fn on(mut self, connection: Connection) -> Self {
        self.connection = Some(connection);
        self
    }

    fn config(&self) -> Result<Config> {
        let workspace = match (&self.state_dir, Workspace::discover(&self.dir, self.state_home.as_deref())) {
            (Some(dir), Ok(found)) => Workspace { state_dir: dir.clone(), ..found },
            (Some(dir), Err(_)) => {
                let root = self.dir.canonicalize().map_err(|e| {
                    Error::invalid("dir", self.dir.display().to_string(), format!("a directory that exists ({e})"))
                })?;
                Workspace { root, state_dir: dir.clone() }
            }
            (None, found) => found?,
        };
        let mut config = Config::new(workspace.root, workspace.state_dir);
        config.namespace.clone_from(&self.namespace);
        config.redis_url.clone_from(&self.redis_url);
        config.backend = self.backend;
        config.approvers.clone_from(&self.approvers);
        config.session_ttl = self.ttl.unwrap_or(config.session_ttl);
        config.patience = self.patience.unwrap_or(config.patience);
        config.detection = self.detection.unwrap_or(config.detection);
        config.return_after = self.return_after.unwrap_or(config.return_after);
        Ok(config)
    }

    async fn open(self) -> Result<CoordinationClient> {
        let cwd = self.dir.canonicalize().map_err(|e| {
            Error::invalid("dir", self.dir.display().to_string(), format!("a directory that exists ({e})"))
        })?;
        let connection = match self.connection.clone() {
            Some(connection) => connection,
            None => Connection::open(self.config()?, Style::LongRunning).await?,
        };
        let ttl = millis(connection.config().session_ttl);
        let register = Register {
            agent: Id::random(),
            session: Id::random(),
            name: self.name,
            key: String::new(),
            role: self.role,
            working_on: self.working_on,
            capabilities: self.capabilities,
            host: crate::host::machine_name(),
            process: Some(agentcoord_fs::process::own_identity()),
            kind: SessionKind::Process,
            ttl,
            parent: self.parent,
            resume: false,
            metadata: self.metadata,
        };
        // Before the registration, so that no session is ever without. Without it, the time to live tells.
        let signs = connection.host().namespace().hold_session(&register.session).ok();
        let registered = connection.run(&Actor::System, register).await?;
        let actor = Actor::Session(registered.session.clone());
        let (lost_sender, lost) = watch::channel(false);
        let background = Background::start(&connection, actor.clone(), lost_sender, signs)?;
        Ok(CoordinationClient { connection, actor, registered, lost, background: Some(background), cwd })
    }
}

impl IntoFuture for SessionBuilder {
    type Output = Result<CoordinationClient>;
    type IntoFuture = Pending<'static, CoordinationClient>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

/// Shared by guards, so that they outlive a borrow of the client.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) connection: Connection,
    pub(crate) actor: Arc<Actor>,
    pub(crate) lost: watch::Receiver<bool>,
}

impl CoordinationClient {
    pub(crate) fn holder(&self) -> Holder {
        Holder { connection: self.connection.clone(), actor: Arc::new(self.actor.clone()), lost: self.lost_signal() }
    }
}
