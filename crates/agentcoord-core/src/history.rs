//! What has come to an end, and how long it is kept: the request that forgets the oldest of it.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::Result;
use crate::limits;
use crate::op::Verb;

/// Forgets final records that are old or too many, oldest first: as many as one step may.
/// Final are completed, failed, dead and cancelled tasks, resolved threads, decided approvals and ended sessions; an agent
/// goes with its last session. Texts go with their records. Audit entries stay, and the idempotency keys of tasks and posts
/// for their own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneHistory {
    /// Records that have been final for so many milliseconds go.
    pub older_than: u64,
    /// Of each noun, so many stay at most, the youngest.
    pub keep: u64,
}

impl Default for PruneHistory {
    fn default() -> Self {
        Self { older_than: limits::RETENTION, keep: limits::RETAINED }
    }
}

impl Verb for PruneHistory {
    const NAME: &'static str = "history/prune";
    type Reply = Pruned;

    fn validate(&self) -> Result<()> {
        check::range("older_than", self.older_than, 0, limits::DURATION)?;
        check::range("keep", self.keep, 0, crate::record::NEVER)
    }
}

/// What a step has forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the nouns")]
pub struct Pruned {
    pub tasks: u64,
    pub threads: u64,
    pub approvals: u64,
    pub sessions: u64,
    pub agents: u64,
    /// Whether there is more to forget: ask again.
    pub more: bool,
}

impl Pruned {
    /// Adds what another step has forgotten.
    pub fn add(&mut self, other: &Self) {
        self.tasks += other.tasks;
        self.threads += other.threads;
        self.approvals += other.approvals;
        self.sessions += other.sessions;
        self.agents += other.agents;
        self.more = other.more;
    }

    /// Records of all nouns.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.tasks + self.threads + self.approvals + self.sessions + self.agents
    }
}
