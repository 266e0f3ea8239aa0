//! Wake-ups between processes: a bell that commits ring, and a thread that listens.
//!
//! The bell is a file of its own, written after the commit. Watching the write-ahead log instead would miss wake-ups: its
//! write event comes before the commit can be seen. A ring carries nothing; the thread reads which waiters the new
//! events concern. Behind it, a slow look at the log catches what got lost.

use std::collections::HashSet;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentcoord_core::Result;
use agentcoord_core::engine::{Channel, Wake, WakeSink, Wakes};
use agentcoord_core::ids::Csn;
use async_trait::async_trait;
use rusqlite::Connection;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::database;
use crate::error::Fault;
use crate::inotify::{Heard, Watch};
use crate::namespace::Namespace;
use crate::reads::{self, News};

/// How often to look without having heard the bell.
const SAFETY: Duration = Duration::from_secs(1);
/// How often to look when the bell cannot be heard: the machine has a limit of inotify instances.
const DEAF: Duration = Duration::from_millis(50);

/// Delivers wake-ups of one namespace to one process. Its thread starts with the first subscription and ends on drop.
pub struct FsWakes {
    namespace: Namespace,
    sink: WakeSink,
    shared: Arc<Shared>,
    started: Mutex<bool>,
}

struct Shared {
    channels: Mutex<Channels>,
    /// Rung by subscriptions and by the end.
    nudge: OwnedFd,
}

#[derive(Default)]
struct Channels {
    subscribed: HashSet<Channel>,
    closed: bool,
}

impl fmt::Debug for FsWakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FsWakes").field("namespace", &self.namespace.name()).finish_non_exhaustive()
    }
}

impl FsWakes {
    /// Wake-ups for `sink`. Nothing is delivered before the first subscription.
    pub fn new(namespace: &Namespace, sink: WakeSink) -> Result<Self> {
        let bell = &namespace.files().bell;
        let nudge =
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(Fault::errno("listen to", bell))?;
        let shared = Arc::new(Shared { channels: Mutex::default(), nudge });
        Ok(Self { namespace: namespace.clone(), sink, shared, started: Mutex::new(false) })
    }

    /// Arms the watch, notes where the log is, and starts the thread, in this order: what is committed later is heard.
    fn start(&self) -> Result<()> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if *started {
            return Ok(());
        }
        let bell = &self.namespace.files().bell;
        let watch =
            Watch::on(bell).inspect_err(|errno| tracing::debug!(%errno, "no inotify; looking every 50 ms")).ok();
        let conn = database::connect_reader(&self.namespace.files().database)?;
        let (_, last) = reads::bounds(&conn)?;
        let listener =
            Listener { conn, watch, seen: Csn(last), sink: Arc::clone(&self.sink), shared: Arc::clone(&self.shared) };
        let thread = std::thread::Builder::new().name("agentcoord-wakes".into());
        drop(thread.spawn(move || listener.listen()).map_err(Fault::io("start a thread to listen to", bell))?);
        *started = true;
        Ok(())
    }
}

impl Drop for FsWakes {
    fn drop(&mut self) {
        self.shared.channels().closed = true;
        self.shared.nudge();
    }
}

#[async_trait]
impl Wakes for FsWakes {
    async fn subscribe(&self, channel: &Channel) -> Result<()> {
        // First the channel: once the thread runs, it knows it.
        self.shared.channels().subscribed.insert(channel.clone());
        self.start()?;
        self.shared.nudge();
        Ok(())
    }

    async fn unsubscribe(&self, channel: &Channel) -> Result<()> {
        self.shared.channels().subscribed.remove(channel);
        Ok(())
    }
}

impl Shared {
    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nudge(&self) {
        // It fails only when the counter is full, and then it is rung already.
        let _ = rustix::io::write(&self.nudge, &1u64.to_ne_bytes());
    }
}

/// What the thread has.
struct Listener {
    conn: Connection,
    /// None: look every [`DEAF`].
    watch: Option<Watch>,
    /// Events up to here were looked at.
    seen: Csn,
    sink: WakeSink,
    shared: Arc<Shared>,
}

impl Listener {
    fn listen(mut self) {
        loop {
            {
                let channels = self.shared.channels();
                if channels.closed {
                    return;
                }
            }
            self.look();
            if self.wait() {
                (self.sink)(Wake::Everything);
            }
        }
    }

    /// Waits for the bell, a nudge or the time to look; true when rings were lost.
    fn wait(&mut self) -> bool {
        let pause = match (&self.watch, self.shared.channels().subscribed.is_empty()) {
            (_, true) => None,
            (Some(_), false) => Some(SAFETY),
            (None, false) => Some(DEAF),
        };
        let pause = pause.and_then(|p| Timespec::try_from(p).ok());
        let mut fds = vec![PollFd::new(&self.shared.nudge, PollFlags::IN)];
        fds.extend(self.watch.iter().map(|watch| PollFd::new(watch, PollFlags::IN)));
        // An interrupted wait is a wait that ended early.
        let _ = poll(&mut fds, pause.as_ref());
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.shared.nudge, &mut count);
        let Some(watch) = &self.watch else { return false };
        match watch.drain() {
            Heard::Rings => false,
            Heard::Overflow => true,
            Heard::Gone => {
                // The bell was removed. Whoever steps will say so; here it is enough to go on looking.
                self.watch = None;
                true
            }
        }
    }

    /// Delivers what the events since the last look concern.
    fn look(&mut self) {
        let News { csn, topics } = match reads::news(&self.conn, self.seen) {
            Ok(news) => news,
            Err(error) => {
                // The next look tries again from the same place.
                tracing::debug!(%error, "events could not be read");
                return;
            }
        };
        self.seen = csn;
        let wakes: Vec<Wake> = match topics {
            None => vec![Wake::Everything],
            Some(topics) => {
                let channels = self.shared.channels();
                topics
                    .into_iter()
                    .filter(|t| Channel::of(t).is_some_and(|c| channels.subscribed.contains(&c)))
                    .map(Wake::Topic)
                    .collect()
            }
        };
        for wake in wakes {
            (self.sink)(wake);
        }
    }
}
