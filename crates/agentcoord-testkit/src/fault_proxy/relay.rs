//! The thread of the proxy: one loop over all its sockets, and what the test tells it through a lock.
//!
//! Nothing is moved but under the lock, so a fault holds for everything that moves after it was set.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};

use super::link::{Link, abort};
use super::plan::{Counts, Plan};
use crate::port::Port;

/// How long the server may take to accept: its kernel does that, even while it is paused.
const CONNECT: Duration = Duration::from_secs(1);

/// What the test and the thread both see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) plan: Plan,
    /// Existing connections are to be reset.
    pub(super) reset: bool,
    /// Held requests are to be let go.
    pub(super) release: bool,
    /// The thread is to end.
    pub(super) stop: bool,
    /// The thread has ended.
    over: bool,
    counts: Counts,
    asked: u64,
    done: u64,
}

impl Shared {
    /// Changes what the thread is to do, and returns when it does.
    pub(super) fn change(&self, waker: &UnixStream, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        state.asked += 1;
        let asked = state.asked;
        // Full is as good as written: the thread wakes.
        drop((&*waker).write(&[1]));
        let waited = self.changed.wait_while(state, |state| state.done < asked && !state.over);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Waits for counts; false when the time is over before.
    pub(super) fn wait(&self, timeout: Duration, come: impl Fn(Counts) -> bool) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, |state| !come(state.counts) && !state.over);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        come(state.counts)
    }

    /// A panic of the thread is told where the proxy is dropped, which joins it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody listens any more once this is dropped, not even a process that was forked from ours a moment ago and has not
/// closed its copy of the socket yet.
#[derive(Debug)]
struct Listener(TcpListener);

impl Listener {
    fn on(port: &Port) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number()))?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        shutdown(&self.0, Shutdown::Both).expect("a listener can be shut down");
    }
}

/// What the thread owns.
#[derive(Debug)]
pub(super) struct Relay {
    target: SocketAddr,
    port: Port,
    /// None while connections are refused.
    listener: Option<Listener>,
    links: Vec<Link>,
    shared: Arc<Shared>,
    woken: UnixStream,
}

impl Relay {
    /// Listens. `woken` is the other end of what [`Shared::change`] writes to.
    pub(super) fn new(target: u16, port: Port, shared: Arc<Shared>, woken: UnixStream) -> std::io::Result<Self> {
        woken.set_nonblocking(true)?;
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, target));
        let listener = Some(Listener::on(&port)?);
        Ok(Self { target, port, listener, links: Vec::new(), shared, woken })
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self) {
        let shared = self.shared.clone();
        let _over = Over(&shared);
        loop {
            let mut state = shared.lock();
            if state.stop {
                return;
            }
            let before = state.counts;
            self.accept(&mut state.counts);
            self.obey(&mut state);
            let State { plan, counts, .. } = &mut *state;
            self.links.retain_mut(|link| link.turn(plan, counts));
            if state.done != state.asked || state.counts != before {
                state.done = state.asked;
                shared.changed.notify_all();
            }
            let (half_open, delay) = (state.plan.half_open, state.plan.delay);
            drop(state);
            self.sleep(half_open, delay);
        }
    }

    fn accept(&mut self, counts: &mut Counts) {
        while let Some(accepted) = self.listener.as_ref().map(|listener| listener.0.accept()) {
            match accepted {
                Ok((client, _)) => {
                    counts.accepted += 1;
                    match TcpStream::connect_timeout(&self.target, CONNECT) {
                        Ok(server) => self.links.push(Link::new(client, server).expect("sockets take their options")),
                        // The nearest to a refusal that is left once a connection is accepted.
                        Err(_) => abort(&client),
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => panic!("the proxy cannot accept: {error}"),
            }
        }
    }

    /// Does what has been asked for since the last time.
    fn obey(&mut self, state: &mut State) {
        if std::mem::take(&mut state.release) {
            self.links.iter_mut().for_each(Link::release);
        }
        if state.plan.refuse {
            self.listener = None;
        } else if self.listener.is_none() {
            self.listener = Some(Listener::on(&self.port).expect("the port is still ours"));
        }
        if std::mem::take(&mut state.reset) {
            self.links = self.links.drain(..).filter_map(Link::reset).collect();
        }
    }

    /// Waits until something can be moved or is asked for.
    fn sleep(&mut self, half_open: bool, delay: Duration) {
        let now = Instant::now();
        let mut sockets = vec![PollFd::new(&self.woken, PollFlags::IN)];
        sockets.extend(self.listener.iter().map(|listener| PollFd::new(&listener.0, PollFlags::IN)));
        let mut until = None;
        if !half_open {
            self.links.iter().for_each(|link| link.watch(now, &mut sockets));
            until = self.links.iter().filter_map(|link| link.wakes_at(now, delay)).min();
        }
        let timeout =
            until.map(|until| Timespec::try_from(until.saturating_duration_since(now)).expect("a short time"));
        match poll(&mut sockets, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the proxy cannot wait for its sockets: {error}"),
        }
        let mut wakes = [0; 64];
        while self.woken.read(&mut wakes).is_ok_and(|length| length > 0) {}
    }
}

/// Tells those who wait that the thread has ended, by a panic too.
struct Over<'a>(&'a Shared);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.changed.notify_all();
    }
}
