//! Random prunes.

use agentcoord_core::history::PruneHistory;
use agentcoord_core::limits;
use agentcoord_core::op::Actor;

use super::operations::{Asked, Generator};

impl Generator {
    /// By age or by number, mostly in the name of those who may.
    pub(super) fn prune(&mut self) -> Asked {
        let actor = if self.random.one_in(8) { self.actor() } else { Actor::System };
        let (age, keep) = (self.random.number() % 120_000, self.random.number() % 100);
        let older_than = [0, age, limits::RETENTION][self.random.below(3)];
        self.ask(actor, PruneHistory { older_than, keep: if older_than == limits::RETENTION { keep } else { 1 << 40 } })
    }
}
