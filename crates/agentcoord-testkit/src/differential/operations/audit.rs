//! Operations on the audit log: entries, and seals that mostly go on where the last ones ended.

use agentcoord_core::audit::chain::HASH_DIGITS;
use agentcoord_core::audit::{AppendAudit, SealAudit};
use agentcoord_core::limits::SEAL_RUN;
use agentcoord_core::op::Actor;

use super::{Asked, Generator};

impl Generator {
    pub(super) fn audit(&mut self) -> Asked {
        if self.random.one_in(2) { self.seal() } else { self.append() }
    }

    fn append(&mut self) -> Asked {
        let actor = self.actor();
        let entry = format!("{{\"reason\":\"{}\"}}", self.random.number() % 100);
        self.ask(actor, AppendAudit { entry })
    }

    fn seal(&mut self) -> Asked {
        let actor = if self.random.one_in(8) { self.actor() } else { Actor::System };
        let after = if self.random.one_in(8) { self.random.number() % 300 } else { self.known.sealed };
        let open = self.known.entries.saturating_sub(after).max(1);
        let wanted = if self.random.one_in(8) { 1 + self.random.number() % 40 } else { open };
        let count = wanted.min(SEAL_RUN - after % SEAL_RUN);
        let hashes = (0..count).map(|_| self.one(&["a", "0", "7"]).repeat(HASH_DIGITS)).collect();
        self.ask(actor, SealAudit { after, hashes })
    }
}
