//! What a connection is told. Nothing here reads the environment: values come in.

use std::path::PathBuf;
use std::time::Duration;

use agentcoord_core::history::PruneHistory;
use agentcoord_core::limits;
pub use agentcoord_fs::Durability;

use crate::approver::Approvers;

/// The Redis that is tried when none is named.
pub const DEFAULT_REDIS_URL: &str = "redis://127.0.0.1:6379";

/// Which engines may serve a workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// Redis when it is there, else files, for the whole host at once: files take over when Redis is gone, and Redis gets
    /// everything back when it is healthy again.
    #[default]
    Auto,
    /// Redis only: never files.
    Redis,
    /// Files only: no Redis at all.
    Files,
}

impl BackendChoice {
    /// The choice as a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Redis => "redis",
            Self::Files => "files",
        }
    }
}

/// Where a workspace keeps its state and how it is reached.
#[derive(Clone, Debug)]
pub struct Config {
    /// The worktree that paths are relative to.
    pub root: PathBuf,
    /// The state directory; the same for all processes of the workspace.
    pub state_dir: PathBuf,
    /// The namespace; none: a random one that the state directory keeps.
    pub namespace: Option<String>,
    /// The Redis to use; none: [`DEFAULT_REDIS_URL`], and its absence is nothing to warn about.
    pub redis_url: Option<String>,
    /// Which engines may serve.
    pub backend: BackendChoice,
    /// What an acknowledged write on files survives.
    pub durability: Durability,
    /// A session ends this long after its last heartbeat; heartbeats are sent three times as often.
    pub session_ttl: Duration,
    /// How much of what has come to an end is kept; the keeper forgets the rest in the background.
    pub retention: PruneHistory,
    /// The people whose signed votes on approvals count; none: votes need no signature.
    pub approvers: Option<Approvers>,
    /// How long a call keeps trying while the engine is away, before it answers `Unavailable`.
    pub patience: Duration,
    /// Redis that has not answered, or has taken no writes, for so long is taken over from. Where nothing listens at its
    /// address any more, nobody waits.
    pub detection: Duration,
    /// Redis that was healthy for so long gets everything back.
    pub return_after: Duration,
}

impl Config {
    /// Defaults for a worktree and a state directory.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            state_dir: state_dir.into(),
            namespace: None,
            redis_url: None,
            backend: BackendChoice::Auto,
            durability: Durability::Process,
            session_ttl: Duration::from_millis(limits::SESSION_TTL),
            retention: PruneHistory::default(),
            approvers: None,
            patience: Duration::from_secs(5),
            detection: Duration::from_millis(limits::DETECTION),
            return_after: Duration::from_millis(limits::RETURN_AFTER),
        }
    }

    /// The Redis URL in force.
    #[must_use]
    pub fn redis_url(&self) -> &str {
        self.redis_url.as_deref().unwrap_or(DEFAULT_REDIS_URL)
    }
}
