//! Which engine serves the workspace: one decision for the whole host, read from the mode row and word, never taken by
//! a process alone. This is the composition root: the only place that names both engines.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agentcoord_core::engine::Wakes;
use agentcoord_core::ids::Epoch;
use agentcoord_core::{Error, Result, Store};
use agentcoord_fs::{ModeEngine, Namespace, Phase, StateDir};

use crate::config::Config;
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
    pub engine: agentcoord_core::engine::EngineKind,
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
    /// Tells one opening from the next.
    pub(crate) serial: u64,
}
