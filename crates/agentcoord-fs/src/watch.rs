//! How processes of one host learn of each other's end: a pidfd, or a lock that ends with its process.
//!
//! Nothing here decides what an end means; that is the keeper's business.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use agentcoord_core::Result;
use agentcoord_core::agent::ProcessIdentity;
use agentcoord_core::ids::Id;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::Fault;
use crate::namespace::Namespace;
use crate::process::{Liveness, is_alive};

/// What can be known of a process from now on.
#[derive(Debug)]
pub enum Sight {
    /// It runs; the descriptor becomes readable when it ends.
    Watched(OwnedFd),
    /// It has ended, perhaps with another process under its number now.
    Ended,
    /// The kernel cannot tell from here.
    Unseen,
}

/// Begins to watch a process.
#[must_use]
pub fn watch(process: &ProcessIdentity) -> Sight {
    let seen = match is_alive(process) {
        Liveness::Dead => return Sight::Ended,
        Liveness::Unknown => return Sight::Unseen,
        Liveness::Alive => i32::try_from(process.pid).ok().and_then(Pid::from_raw),
    };
    let Some(pid) = seen else { return Sight::Unseen };
    match pidfd_open(pid, PidfdFlags::empty()) {
        // It may have ended between the look and the opening, and its number may name another one now.
        Ok(fd) if is_alive(process) == Liveness::Alive => Sight::Watched(fd),
        Ok(_) | Err(Errno::SRCH) => Sight::Ended,
        Err(_) => Sight::Unseen,
    }
}

/// The lock that makes a process the keeper of a namespace. Let go when dropped, or when the process ends.
#[derive(Debug)]
pub struct KeeperLock {
    _file: File,
}

/// The lock by which a process says that it lives, to those who cannot see it. Dropped, it is over.
#[derive(Debug)]
pub struct SessionLock {
    _file: File,
    path: PathBuf,
}

impl Drop for SessionLock {
    fn drop(&mut self) {
        // What stays is removed by the next keeper.
        drop(std::fs::remove_file(&self.path));
    }
}

impl Namespace {
    /// The file whose lock makes a keeper; names the namespace within this machine.
    #[must_use]
    pub fn keeper_file(&self) -> &Path {
        &self.files().keeper_lock
    }

    /// Blocks until no other process is the keeper.
    pub fn become_keeper(&self) -> Result<KeeperLock> {
        let path = self.keeper_file();
        let file = open(path).map_err(Fault::io("open", path))?;
        rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
            .map_err(Fault::errno("lock", path))?;
        Ok(KeeperLock { _file: file })
    }

    /// Becomes the keeper for a moment, if nobody is.
    #[must_use]
    pub fn try_become_keeper(&self) -> Option<KeeperLock> {
        let file = open(self.keeper_file()).ok()?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        Some(KeeperLock { _file: file })
    }

    /// Says that a session's process lives, for as long as the answer is held.
    pub fn hold_session(&self, session: &Id) -> Result<SessionLock> {
        let dir = &self.files().sessions;
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(Fault::io("create", dir))?;
        let path = dir.join(session.as_str());
        let file = open(&path).map_err(Fault::io("open", &path))?;
        // Others take it for a moment only, to look.
        rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
            .map_err(Fault::errno("lock", &path))?;
        Ok(SessionLock { _file: file, path })
    }

    /// Whether the process that holds a session lives, by its lock. Unknown: it has no lock here.
    #[must_use]
    pub fn session_liveness(&self, session: &Id) -> Liveness {
        let Ok(file) = File::open(self.files().sessions.join(session.as_str())) else { return Liveness::Unknown };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Liveness::Dead,
            Err(Errno::WOULDBLOCK) => Liveness::Alive,
            Err(_) => Liveness::Unknown,
        }
    }

    /// The sessions that have or had a lock here.
    #[must_use]
    pub fn held_sessions(&self) -> Vec<Id> {
        let Ok(dir) = std::fs::read_dir(&self.files().sessions) else { return Vec::new() };
        dir.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
    }

    /// Removes what an ended session's process has left.
    pub fn forget_session(&self, session: &Id) {
        // It may never have been there; then all is well.
        drop(std::fs::remove_file(self.files().sessions.join(session.as_str())));
    }
}

/// The standard library opens with O_CLOEXEC: children do not inherit the lock.
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}
