//! Facts about processes of this machine, from /proc.

use std::os::unix::fs::MetadataExt;

use agentcoord_core::agent::ProcessIdentity;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::clock::boot_id;

/// What is known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// The very process still runs.
    Alive,
    /// It has ended, perhaps with another process under its number now.
    Dead,
    /// It cannot be told from here: another boot, another pid namespace, or no access.
    Unknown,
}

/// The identity of the calling process.
#[must_use]
pub fn own_identity() -> ProcessIdentity {
    of(std::process::id()).unwrap_or_default()
}

/// The identity of a process of this machine; none when it has ended or cannot be looked at.
#[must_use]
pub fn of(pid: u32) -> Option<ProcessIdentity> {
    let stat = Stat::read(pid)?;
    Some(ProcessIdentity { pid, started: stat.started, boot_id: boot_id(), pid_namespace: pid_namespace() })
}

/// Whether a process still runs. Zombies have ended.
#[must_use]
pub fn is_alive(process: &ProcessIdentity) -> Liveness {
    let here = boot_id();
    let told_apart = !here.is_empty() && process.boot_id == here && process.pid_namespace == pid_namespace();
    if !told_apart || process.pid == 0 {
        return Liveness::Unknown;
    }
    match Stat::read(process.pid) {
        Some(stat) if stat.started != process.started || stat.ended => Liveness::Dead,
        Some(_) => Liveness::Alive,
        // A /proc that hides the processes of others says the same as for one that has ended; the kernel does not.
        None => match i32::try_from(process.pid).ok().and_then(Pid::from_raw).map(test_kill_process) {
            Some(Err(Errno::SRCH)) => Liveness::Dead,
            _ => Liveness::Unknown,
        },
    }
}

fn pid_namespace() -> u64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |m| m.ino())
}

struct Stat {
    ended: bool,
    started: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// See proc_pid_stat(5). The second field, the command in parentheses, may itself contain spaces and parentheses.
    fn parse(stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        Some(Self { ended: matches!(state, "Z" | "X" | "x"), started })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 424242 10 20";
        let stat = Stat::parse(stat).expect("a stat line");
        assert_eq!((stat.started, stat.ended), (424_242, false));
    }
}
