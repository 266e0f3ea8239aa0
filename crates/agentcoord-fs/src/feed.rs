//! Following the log of events: a second bell, which commits ring only while somebody follows.
//!
//! Whoever follows holds a shared lock on the bell's file; whoever commits tries the lock, which costs two system calls
//! and no write, and rings when it is taken. The lock ends with its process, so nobody rings for the dead.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agentcoord_core::engine::{Engine, Feed, Follower};
use agentcoord_core::ids::Csn;
use agentcoord_core::record::Event;
use agentcoord_core::{Error, Result};
use async_trait::async_trait;
use rustix::fs::{FlockOperation, flock};
use tokio::io::unix::AsyncFd;

use crate::error::Fault;
use crate::inotify::{Heard, Watch};
use crate::namespace::Namespace;

/// How long to wait without having heard the bell.
const SAFETY: Duration = Duration::from_secs(5);
/// How often to look when the bell cannot be heard: the machine has a limit of inotify instances.
const DEAF: Duration = Duration::from_millis(50);

/// The log of events of one namespace.
#[derive(Debug)]
pub struct FsFeed {
    namespace: Namespace,
    engine: Arc<dyn Engine>,
}

impl FsFeed {
    /// The log of an engine on this namespace.
    #[must_use]
    pub fn new(namespace: &Namespace, engine: Arc<dyn Engine>) -> Self {
        Self { namespace: namespace.clone(), engine }
    }
}

#[async_trait]
impl Feed for FsFeed {
    async fn follow(&self) -> Result<Box<dyn Follower>> {
        let path = &self.namespace.files().feed;
        let file = open(path).map_err(Fault::io("open", path))?;
        // A commit has it for a moment, to try it.
        rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockShared)).map_err(Fault::errno("lock", path))?;
        let bell = match Watch::on(path) {
            Ok(watch) => Some(on_reactor(watch).map_err(Fault::io("listen to", path))?),
            Err(errno) => {
                tracing::debug!(%errno, "no inotify; looking every 50 ms");
                None
            }
        };
        Ok(Box::new(FsFollower { engine: Arc::clone(&self.engine), bell, _followed: file }))
    }
}

/// The file of the bell, for whoever commits.
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Rings when somebody follows. What is committed is there: a ring that fails costs some seconds.
pub(crate) fn ring(bell: &File) {
    match flock(bell, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => drop(flock(bell, FlockOperation::Unlock)),
        Err(_) => drop(bell.write_all_at(b".", 0)),
    }
}

#[allow(deprecated, reason = "the successor is unsafe; a watch that is moved in meets all that it asks for")]
fn on_reactor(watch: Watch) -> std::io::Result<AsyncFd<Watch>> {
    AsyncFd::new(watch)
}

struct FsFollower {
    engine: Arc<dyn Engine>,
    /// None: look every [`DEAF`].
    bell: Option<AsyncFd<Watch>>,
    /// Locked: somebody follows.
    _followed: File,
}

impl fmt::Debug for FsFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FsFollower").field("bell", &self.bell).finish_non_exhaustive()
    }
}

impl FsFollower {
    /// Waits for a ring.
    async fn heard(&self) -> Result<()> {
        let Some(bell) = &self.bell else {
            tokio::time::sleep(DEAF).await;
            return Ok(());
        };
        let mut ready = bell.readable().await.map_err(|e| Error::backend("the bell of the log cannot be heard", e))?;
        let heard = bell.get_ref().drain();
        ready.clear_ready();
        match heard {
            Heard::Rings | Heard::Overflow => Ok(()),
            Heard::Gone => Err(Error::unavailable("the workspace's files were removed")),
        }
    }
}

#[async_trait]
impl Follower for FsFollower {
    async fn next(&mut self, after: Csn, limit: usize) -> Result<Vec<Event>> {
        let until = tokio::time::Instant::now() + SAFETY;
        loop {
            let events = self.engine.events(after, limit).await?;
            if !events.is_empty() {
                return Ok(events);
            }
            tokio::select! {
                heard = self.heard() => heard?,
                () = tokio::time::sleep_until(until) => return self.engine.events(after, limit).await,
            }
        }
    }
}
