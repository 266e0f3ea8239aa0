//! Tells a process when the mode of its namespace changes, so that whoever waits on one engine goes on with the next.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use agentcoord_core::Result;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::error::Fault;
use crate::inotify::{Heard, Watch};
use crate::mode::ModeWord;
use crate::namespace::Namespace;

/// How often to look without having heard anything.
const SAFETY: Duration = Duration::from_secs(5);
/// How often to look when nothing can be heard.
const DEAF: Duration = Duration::from_millis(50);

/// A thread that looks at the mode word whenever its file is written. Ends when dropped.
pub struct ModeWatch {
    end: Arc<OwnedFd>,
}

impl fmt::Debug for ModeWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModeWatch").finish_non_exhaustive()
    }
}

impl ModeWatch {
    /// Calls `changed` from its thread after every change of the word. It must not block.
    ///
    /// # Errors
    /// `Unavailable` when no thread can be started.
    pub fn start(namespace: &Namespace, changed: impl Fn() + Send + 'static) -> Result<Self> {
        let path = &namespace.files().mode;
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let end = Arc::new(eventfd(0, flags).map_err(Fault::errno("listen to", path))?);
        let watch = Watch::on(path).inspect_err(|errno| tracing::debug!(%errno, "no inotify for the mode")).ok();
        let (heard, seen, namespace) = (Arc::clone(&end), namespace.word(), namespace.clone());
        let thread = std::thread::Builder::new().name("agentcoord-mode".into());
        let started = thread.spawn(move || listen(&namespace, seen, &heard, watch.as_ref(), &changed));
        drop(started.map_err(Fault::io("start a thread to listen to", path))?);
        Ok(Self { end })
    }
}

impl Drop for ModeWatch {
    fn drop(&mut self) {
        // It fails only when the counter is full, and then it is rung already.
        let _ = rustix::io::write(&*self.end, &1u64.to_ne_bytes());
    }
}

fn listen(namespace: &Namespace, mut seen: Option<ModeWord>, end: &OwnedFd, watch: Option<&Watch>, changed: &dyn Fn()) {
    let mut watch = watch;
    loop {
        let word = namespace.word();
        if word != seen {
            seen = word;
            changed();
        }
        let pause = if watch.is_some() { SAFETY } else { DEAF };
        let mut fds = vec![PollFd::new(end, PollFlags::IN)];
        fds.extend(watch.iter().map(|watch| PollFd::new(*watch, PollFlags::IN)));
        // An interrupted wait is a wait that ended early.
        let _ = poll(&mut fds, Timespec::try_from(pause).ok().as_ref());
        let mut count = [0; 8];
        if rustix::io::read(end, &mut count).is_ok() {
            return;
        }
        if watch.is_some_and(|watch| watch.drain() == Heard::Gone) {
            watch = None;
        }
    }
}
