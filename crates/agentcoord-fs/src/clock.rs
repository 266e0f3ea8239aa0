//! The clocks of this machine.

use std::time::{SystemTime, UNIX_EPOCH};

use agentcoord_core::time::{Clock, Reading};
use rustix::time::{ClockId, clock_gettime};

/// Inode of the initial time namespace, the same on every Linux.
const INITIAL_TIME_NAMESPACE: u64 = 0xEFFF_FFFA;

/// The wall clock and the boot clock of the machine.
#[derive(Clone, Debug)]
pub struct SystemClock {
    boot_id: String,
}

impl SystemClock {
    /// Finds out which boot of which machine this is.
    #[must_use]
    pub fn new() -> Self {
        Self { boot_id: boot_clock_id() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn read(&self) -> Reading {
        let boot = clock_gettime(ClockId::Boottime);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| millis(d.as_millis()));
        let boot =
            u64::try_from(boot.tv_sec).unwrap_or(0) * 1_000 + u64::try_from(boot.tv_nsec).unwrap_or(0) / 1_000_000;
        Reading { wall, boot_id: self.boot_id.clone(), boot }
    }
}

fn millis(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The kernel's id of this boot; empty when there is no /proc.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|s| s.trim().to_owned()).unwrap_or_default()
}

/// What CLOCK_BOOTTIME counts from: a container with a time namespace of its own has another origin in the same boot.
fn boot_clock_id() -> String {
    use std::os::unix::fs::MetadataExt;
    let boot_id = boot_id();
    match std::fs::metadata("/proc/self/ns/time").map(|m| m.ino()) {
        Ok(inode) if inode != INITIAL_TIME_NAMESPACE => format!("{boot_id}/{inode}"),
        _ => boot_id,
    }
}
