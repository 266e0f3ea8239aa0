//! Telling an outage of Redis from a hiccup.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agentcoord_core::ids::Epoch;
use agentcoord_core::replica::Gap;

/// What this process holds against the Redis of an epoch.
#[derive(Debug, Default)]
pub(crate) struct Suspicion {
    // A std mutex: never held across an await.
    held: Mutex<Option<Held>>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    epoch: Epoch,
    /// When what failed first was begun.
    since: Instant,
    /// Looks that have failed since.
    looks: u32,
    /// Redis knew less than this host.
    has_lost: bool,
    /// What this host cannot learn any more.
    missing: Option<Gap>,
}

/// Looks that must have failed before time alone decides: a process that was stopped wakes with all its time over.
const LOOKS: u32 = 2;

impl Suspicion {
    /// Something failed that was begun then.
    pub(crate) fn raise(&self, epoch: Epoch, begun: Instant) {
        let mut held = self.held();
        match &mut *held {
            Some(held) if held.epoch == epoch => held.since = held.since.min(begun),
            other => *other = Some(Held { epoch, since: begun, looks: 0, has_lost: false, missing: None }),
        }
    }

    /// Redis has lost what it acknowledged.
    pub(crate) fn has_lost(&self, epoch: Epoch) {
        self.raise(epoch, Instant::now());
        if let Some(held) = &mut *self.held() {
            held.has_lost = true;
        }
    }

    /// Redis does not have any more what this host has not seen yet.
    pub(crate) fn misses(&self, epoch: Epoch, gap: Gap) {
        if let Some(held) = self.held().as_mut().filter(|held| held.epoch == epoch) {
            held.missing = Some(gap);
        }
    }

    /// What this host cannot learn any more of the log of this epoch.
    pub(crate) fn missing(&self, epoch: Epoch) -> Option<Gap> {
        self.held().filter(|held| held.epoch == epoch)?.missing
    }

    /// A write has succeeded.
    pub(crate) fn drop_it(&self, epoch: Epoch) {
        let mut held = self.held();
        if held.is_some_and(|held| held.epoch == epoch && !held.has_lost) {
            *held = None;
        }
    }

    pub(crate) fn is_raised(&self, epoch: Epoch) -> bool {
        self.held().is_some_and(|held| held.epoch == epoch)
    }

    /// Whether Redis is known to have lost something although it seems to be the same.
    pub(crate) fn is_about_loss(&self, epoch: Epoch) -> bool {
        self.held().is_some_and(|held| held.epoch == epoch && held.has_lost)
    }

    /// A look has failed. Whether it has lasted for long enough to be an outage.
    pub(crate) fn confirm(&self, epoch: Epoch, window: Duration) -> bool {
        self.raise(epoch, Instant::now());
        let mut held = self.held();
        let Some(held) = &mut *held else { return false };
        held.looks += 1;
        held.looks >= LOOKS && held.since.elapsed() >= window
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_look_after_a_long_pause_is_no_outage() {
        let suspicion = Suspicion::default();
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).expect("the machine is up for longer");
        suspicion.raise(Epoch(7), long_ago);
        assert!(!suspicion.confirm(Epoch(7), Duration::from_secs(1)));
        assert!(suspicion.confirm(Epoch(7), Duration::from_secs(1)));
    }

    #[test]
    fn suspicion_belongs_to_its_epoch_and_ends_with_a_write() {
        let suspicion = Suspicion::default();
        suspicion.raise(Epoch(7), Instant::now());
        assert!(suspicion.is_raised(Epoch(7)) && !suspicion.is_raised(Epoch(8)));
        suspicion.drop_it(Epoch(7));
        assert!(!suspicion.is_raised(Epoch(7)));
        suspicion.has_lost(Epoch(8));
        suspicion.drop_it(Epoch(8));
        assert!(suspicion.is_about_loss(Epoch(8)), "a write does not bring back what is lost");
    }
}
