//! The two times of the system. Nothing here reads a clock: readings come in as values.
//!
//! *Lease time* is a millisecond counter of the namespace that survives wall clocks that jump: callers send a
//! reading of their boot clock, and the counter moves by the difference (see [`LeaseClock::at`]). All deadlines of
//! locks, claims, sessions and offers are lease times. *Wall time* (milliseconds since 1970, UTC) is for what people
//! read and for calendar things: approval expiry, audit times.

use serde::{Deserialize, Serialize};

/// Milliseconds of the namespace's lease clock.
pub type LeaseMs = u64;
/// Milliseconds since 1970-01-01T00:00:00Z.
pub type WallMs = u64;

/// One reading of the clocks of the machine that runs a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Wall clock.
    pub wall: WallMs,
    /// Which boot of which machine `boot` counts from.
    pub boot_id: String,
    /// CLOCK_BOOTTIME in milliseconds.
    pub boot: u64,
}

/// Reads the clocks of the machine. The real one lives with the engines; tests bring one that they move by hand.
pub trait Clock: std::fmt::Debug + Send + Sync {
    /// A reading of all clocks at once.
    fn read(&self) -> Reading;
}

/// The longest step of lease time that is believed of a wall clock, in milliseconds.
pub const WALL_STEP_LIMIT: u64 = 15_000;

/// The namespace's lease clock as it was at the last step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseClock {
    /// Lease time at the last step.
    pub now: LeaseMs,
    /// Wall clock of the engine at the last step.
    pub wall: WallMs,
    /// Boot id of the last caller.
    pub boot_id: String,
    /// Boot clock of the last caller.
    pub boot: u64,
}

impl LeaseClock {
    /// Moves the clock to a new reading; it never goes back.
    ///
    /// The same boot id as before: by the boot clock's difference. Another boot id: by the wall clock's difference,
    /// clamped to 0..=15 s, so that a wall clock that was set cannot end leases.
    #[must_use]
    pub fn at(&self, reading: &Reading) -> Self {
        let same_boot = self.boot_id == reading.boot_id;
        let step = if same_boot {
            reading.boot.saturating_sub(self.boot)
        } else {
            reading.wall.saturating_sub(self.wall).min(WALL_STEP_LIMIT)
        };
        let boot = if same_boot { self.boot.max(reading.boot) } else { reading.boot };
        Self { now: self.now + step, wall: reading.wall, boot_id: reading.boot_id.clone(), boot }
    }

    /// The wall time at which a lease time will be reached, if clocks run evenly; for people only.
    #[must_use]
    pub fn wall_at(&self, lease: LeaseMs) -> WallMs {
        (self.wall + lease).saturating_sub(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(wall: u64, boot_id: &str, boot: u64) -> Reading {
        Reading { wall, boot_id: boot_id.into(), boot }
    }

    #[test]
    fn wall_clock_jump_does_not_move_leases_on_the_same_boot() {
        let clock = LeaseClock { now: 1_000, wall: 5_000_000, boot_id: "a".into(), boot: 100 };
        assert_eq!(clock.at(&reading(5_000_000 + 3_600_000, "a", 150)).now, 1_050);
        assert_eq!(clock.at(&reading(5_000_000 - 3_600_000, "a", 150)).now, 1_050);
    }

    #[test]
    fn another_machine_moves_leases_by_a_clamped_wall_step() {
        let clock = LeaseClock { now: 1_000, wall: 5_000_000, boot_id: "a".into(), boot: 100 };
        assert_eq!(clock.at(&reading(5_000_700, "b", 9)).now, 1_700);
        assert_eq!(clock.at(&reading(5_000_000 + 3_600_000, "b", 9)).now, 16_000);
        assert_eq!(clock.at(&reading(5_000_000 - 3_600_000, "b", 9)).now, 1_000);
    }
}
