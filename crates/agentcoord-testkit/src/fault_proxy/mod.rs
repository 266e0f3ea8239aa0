//! A network between a client and its server that fails when a test tells it to.
//!
//! Faults are set and lifted at any time, and hold from the moment the method returns. They add up; setting one again
//! replaces it. Whether a fault has happened is counted, so that a test can wait for it. Knows RESP, and nothing of what
//! requests mean: it takes each to have one reply, besides subscriptions, so `CLIENT REPLY OFF` would lead it astray.

mod frames;
mod link;
mod plan;
mod relay;

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::port::Port;
pub use plan::Requests;
use plan::{Counts, Plan};
use relay::{Relay, Shared, State};

/// A proxy on a port of its own, with one thread. Both end with it, and so do its connections.
#[derive(Debug)]
pub struct FaultProxy {
    port: u16,
    shared: Arc<Shared>,
    waker: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// Listens on a free port of 127.0.0.1 and passes everything on to a port of the same address. While nothing
    /// listens there, connections are accepted and reset.
    ///
    /// # Panics
    /// When the system has no port, socket or thread for it.
    #[must_use]
    pub fn start(target_port: u16) -> Self {
        let listening = Port::take().expect("a free port");
        let port = listening.number();
        let shared = Arc::new(Shared::default());
        let (waker, woken) = UnixStream::pair().expect("a pair of sockets");
        waker.set_nonblocking(true).expect("a socket takes its options");
        let relay = Relay::new(target_port, listening, shared.clone(), woken).expect("the port can be listened on");
        let thread = std::thread::Builder::new().name(format!("proxy-{port}")).spawn(|| relay.run());
        Self { port, shared, waker, thread: Some(thread.expect("a thread")) }
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Cuts connections in front of such requests: they never reach the server. Requests before it on the same
    /// connection are answered first; if one of them blocks, the cut waits for it.
    pub fn cut_requests(&self, which: Requests) {
        self.plan(|plan| plan.cut_requests = Some(which));
    }

    /// Cuts connections in front of the replies to such requests: executed, and the client does not hear of it.
    /// Replies before it are passed on; requests after it on the same connection do not reach the server.
    pub fn cut_replies(&self, which: Requests) {
        self.plan(|plan| plan.cut_replies = Some(which));
    }

    /// Keeps such requests in the network, and what follows on their connections behind them. They stay when their
    /// client goes away, or [`FaultProxy::reset`] and [`FaultProxy::refuse`] take its connection, until
    /// [`FaultProxy::release_requests`] delivers them late.
    pub fn hold_requests(&self, which: Requests) {
        self.plan(|plan| plan.hold = Some(which));
    }

    /// Delivers what is held, and holds nothing more. See [`FaultProxy::wait_delivered`].
    pub fn release_requests(&self) {
        self.change(|state| {
            state.plan.hold = None;
            state.release = true;
        });
    }

    /// Lets each chunk travel for so long, in both directions. Holds for what is on the way too.
    pub fn delay(&self, delay: Duration) {
        self.plan(|plan| plan.delay = delay);
    }

    /// Writes at most so many bytes at once, in both directions, with a moment between that lets the reader see them
    /// alone as a rule.
    ///
    /// # Panics
    /// When it is 0: that is [`FaultProxy::half_open`].
    pub fn slice_bytes(&self, most: usize) {
        assert!(most > 0, "slices of 0 bytes never arrive");
        self.plan(|plan| plan.slice = Some(most));
    }

    /// A black hole until [`FaultProxy::heal`]: connections are accepted and stay open, nothing passes in either
    /// direction, and no end of a connection either. What was sent meanwhile then arrives, as after a partition.
    pub fn half_open(&self) {
        self.plan(|plan| plan.half_open = true);
    }

    /// Resets all connections and refuses new ones until [`FaultProxy::heal`]. The port stays taken.
    pub fn refuse(&self) {
        self.change(|state| {
            state.plan.refuse = true;
            state.reset = true;
        });
    }

    /// Resets the connections that there are, on both sides. New ones are accepted.
    pub fn reset(&self) {
        self.change(|state| state.reset = true);
    }

    /// Lifts all faults: passes everything on, what is held and delayed too, and listens again on the same port.
    pub fn heal(&self) {
        self.change(|state| {
            state.plan = Plan::default();
            state.release = true;
        });
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.counts().accepted
    }

    /// Waits until it has accepted so many connections since its start; false when the time is over before.
    #[must_use]
    pub fn wait_accepted(&self, count: usize, timeout: Duration) -> bool {
        self.wait(timeout, |counts| counts.accepted >= count)
    }

    /// How many connections have been cut by [`FaultProxy::cut_requests`] and [`FaultProxy::cut_replies`].
    #[must_use]
    pub fn cuts(&self) -> usize {
        self.shared.counts().cuts
    }

    /// Waits until so many connections have been cut since the start; false when the time is over before.
    #[must_use]
    pub fn wait_cuts(&self, count: usize, timeout: Duration) -> bool {
        self.wait(timeout, |counts| counts.cuts >= count)
    }

    /// How many requests [`FaultProxy::hold_requests`] has caught, released or not. Those behind them do not count.
    #[must_use]
    pub fn held(&self) -> usize {
        self.shared.counts().held
    }

    /// Waits until so many requests have been caught since the start; false when the time is over before.
    #[must_use]
    pub fn wait_held(&self, count: usize, timeout: Duration) -> bool {
        self.wait(timeout, |counts| counts.held >= count)
    }

    /// How many requests that were held the server has answered since.
    #[must_use]
    pub fn delivered(&self) -> usize {
        self.shared.counts().delivered
    }

    /// Waits until the server has answered so many requests that were held; false when the time is over before.
    #[must_use]
    pub fn wait_delivered(&self, count: usize, timeout: Duration) -> bool {
        self.wait(timeout, |counts| counts.delivered >= count)
    }

    fn plan(&self, change: impl FnOnce(&mut Plan)) {
        self.change(|state| change(&mut state.plan));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.shared.change(&self.waker, change);
    }

    fn wait(&self, timeout: Duration, come: impl Fn(Counts) -> bool) -> bool {
        self.shared.wait(timeout, come)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.change(|state| state.stop = true);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the thread of the proxy has panicked");
        }
    }
}
