//! Clocks that stand still until a test moves them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentcoord_core::time::{Clock, Reading};

/// A clock that only its owner moves: boot clock and wall clock together, or the wall clock alone.
#[derive(Debug)]
pub struct ManualClock {
    reading: Mutex<Reading>,
}

impl Default for ManualClock {
    fn default() -> Self {
        let reading = Reading { wall: 1_760_000_000_000, boot_id: "boot-1".to_owned(), boot: 1_000_000 };
        Self { reading: Mutex::new(reading) }
    }
}

impl ManualClock {
    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time passes: both clocks move on.
    pub fn advance(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        let mut reading = self.reading();
        reading.wall += ms;
        reading.boot += ms;
    }

    /// Somebody sets the wall clock; no time passes.
    pub fn set_wall_by(&self, ms: i64) {
        let mut reading = self.reading();
        reading.wall = reading.wall.saturating_add_signed(ms);
    }

    /// The next callers come from another boot, whose boot clock reads `boot`.
    pub fn reboot(&self, boot_id: &str, boot: u64) {
        let mut reading = self.reading();
        reading.boot_id = boot_id.to_owned();
        reading.boot = boot;
    }
}

impl Clock for ManualClock {
    fn read(&self) -> Reading {
        self.reading().clone()
    }
}
