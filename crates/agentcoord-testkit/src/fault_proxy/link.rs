//! One connection of a client and the one to the server that stands for it, with all that is between them.
//!
//! Moves bytes and brings about the faults of the plan; never waits and never decides which faults are set.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::net::connect_unspec;

use super::frames;
use super::plan::{Counts, Plan};

/// How long the reader of slices gets to see one alone. No event tells what the other end has read.
const BETWEEN_SLICES: Duration = Duration::from_micros(200);

/// A client, its server, and what is on the way.
#[derive(Debug)]
pub(super) struct Link {
    /// None when it was reset while requests of it are held.
    client: Option<TcpStream>,
    server: TcpStream,
    requests: Lane,
    replies: Lane,
    /// Whole requests that wait for their turn.
    queue: VecDeque<Request>,
    /// What the server has yet to answer.
    expected: VecDeque<Expected>,
    /// No request goes on any more; closed as soon as all of `expected` is answered.
    cut: bool,
    subscribed: bool,
}

#[derive(Debug)]
struct Request {
    bytes: Vec<u8>,
    held: bool,
    /// It was held.
    late: bool,
}

#[derive(Debug)]
struct Expected {
    /// How many confirmations a subscription has yet to get, which come as messages; 0 for everything else.
    confirmations: usize,
    /// The reply is not passed on.
    cut: bool,
    late: bool,
}

impl Link {
    /// Connects an accepted client with a server.
    pub(super) fn new(client: TcpStream, server: TcpStream) -> io::Result<Self> {
        for stream in [&client, &server] {
            stream.set_nonblocking(true)?;
            // Each write is a packet of its own: slices would be put together again.
            stream.set_nodelay(true)?;
        }
        Ok(Self {
            client: Some(client),
            server,
            requests: Lane::default(),
            replies: Lane::default(),
            queue: VecDeque::new(),
            expected: VecDeque::new(),
            cut: false,
            subscribed: false,
        })
    }

    /// Moves on whatever can be moved now. False when the link has come to its end and is to be closed.
    pub(super) fn turn(&mut self, plan: &mut Plan, counts: &mut Counts) -> bool {
        if plan.half_open {
            return true;
        }
        let now = Instant::now();
        if let Some(client) = self.client.as_mut().filter(|_| !self.cut) {
            self.requests.read(client, now);
        }
        self.replies.read(&mut self.server, now);
        self.requests.arrive(now, plan.delay);
        self.replies.arrive(now, plan.delay);

        self.take_requests(plan, counts);
        self.send_requests(plan);
        self.take_replies(counts);

        self.requests.write(&mut self.server, now, plan.slice);
        match &mut self.client {
            Some(client) => self.replies.write(client, now, plan.slice),
            None => self.replies.out.clear(),
        }
        self.goes_on(counts)
    }

    /// Cuts the stream of the client into requests. A torn one at its end is dropped: no server would run it.
    fn take_requests(&mut self, plan: &mut Plan, counts: &mut Counts) {
        for bytes in frames::requests(&mut self.requests.arrived) {
            let held = plan.holds(&bytes);
            counts.held += usize::from(held);
            self.queue.push_back(Request { bytes, held, late: false });
        }
        if self.requests.is_over() {
            self.requests.arrived.clear();
        }
    }

    /// Sends on the requests up to the first that is held or cut.
    fn send_requests(&mut self, plan: &mut Plan) {
        while !self.cut && self.queue.front().is_some_and(|request| !request.held) {
            let Some(Request { bytes, late, .. }) = self.queue.pop_front() else { return };
            if plan.cuts_request(&bytes) {
                self.cut = true;
            } else if let Some((command, rest)) = frames::words(&bytes).split_first() {
                let subscribes = command.to_ascii_lowercase().ends_with(b"subscribe");
                self.subscribed |= subscribes;
                let confirmations = if subscribes { rest.len().max(1) } else { 0 };
                self.cut = plan.cuts_reply(&bytes);
                self.expected.push_back(Expected { confirmations, cut: self.cut, late });
                self.requests.out.extend(bytes);
            } else {
                // An empty line: the server does not answer it.
                self.requests.out.extend(bytes);
            }
        }
        if self.cut {
            self.queue.clear();
            self.requests.travelling.clear();
            self.requests.arrived.clear();
        }
    }

    /// Passes on what the server says, up to the reply that is cut.
    fn take_replies(&mut self, counts: &mut Counts) {
        for reply in frames::replies(&mut self.replies.arrived) {
            if self.cut && self.expected.is_empty() {
                return;
            }
            let answered = self.answered(&reply);
            counts.delivered += usize::from(answered.as_ref().is_some_and(|request| request.late));
            if !answered.is_some_and(|request| request.cut) {
                self.replies.out.extend(reply);
            }
        }
        if self.replies.is_over() {
            self.replies.out.append(&mut self.replies.arrived);
        }
    }

    /// What a frame from the server answers; none when it is a message that nobody asked for.
    fn answered(&mut self, reply: &[u8]) -> Option<Expected> {
        let kind = frames::kind(reply).unwrap_or_default();
        let confirmation = kind.ends_with(b"subscribe");
        let message = confirmation || [&b"message"[..], b"pmessage", b"smessage"].contains(&kind);
        let request = self.expected.front_mut()?;
        if frames::is_push(reply) || (self.subscribed && message) {
            if !confirmation || request.confirmations == 0 {
                return None;
            }
            request.confirmations -= 1;
            if request.confirmations > 0 && !request.cut {
                return None;
            }
        }
        self.expected.pop_front()
    }

    /// Passes on the end of a side, once everything before it has arrived.
    fn goes_on(&mut self, counts: &mut Counts) -> bool {
        let server_is_gone = self.replies.is_over();
        let told = self.replies.out.is_empty();
        if self.cut && told && (self.expected.is_empty() || server_is_gone) {
            counts.cuts += 1;
            return false;
        }
        if server_is_gone && told {
            return false;
        }
        let sent = self.queue.is_empty() && self.requests.out.is_empty();
        // A late request is answered first: a server need not run what it reads together with the end.
        if self.requests.is_over() && sent && !self.expected.iter().any(|request| request.late) {
            self.requests.close(&self.server);
        }
        true
    }

    /// Lets the held requests go.
    pub(super) fn release(&mut self) {
        for request in self.queue.iter_mut().filter(|request| request.held) {
            request.held = false;
            request.late = true;
        }
    }

    /// Resets the connections. What is held is in the network already, and stays there with its way to the server.
    pub(super) fn reset(mut self) -> Option<Self> {
        if let Some(client) = self.client.take() {
            abort(&client);
        }
        if self.queue.iter().any(|request| request.held) {
            self.requests.ended = true;
            return Some(self);
        }
        abort(&self.server);
        None
    }

    /// What must happen at its sockets for [`Link::turn`] to move something.
    pub(super) fn watch<'a>(&'a self, now: Instant, sockets: &mut Vec<PollFd<'a>>) {
        let mut add = |stream: &'a TcpStream, from: &Lane, reads: bool, to: &Lane| {
            let mut events = PollFlags::empty();
            events.set(PollFlags::IN, reads && !from.ended);
            events.set(PollFlags::OUT, to.may_write(now));
            // A socket without interest is left out: its hang-up would be told again and again.
            if !events.is_empty() {
                sockets.push(PollFd::new(stream, events));
            }
        };
        if let Some(client) = &self.client {
            add(client, &self.requests, !self.cut, &self.replies);
        }
        add(&self.server, &self.replies, true, &self.requests);
    }

    /// When [`Link::turn`] can move something even if nothing happens at the sockets.
    pub(super) fn wakes_at(&self, now: Instant, delay: Duration) -> Option<Instant> {
        let lanes = [&self.requests, &self.replies];
        let arrivals = lanes.iter().filter_map(|lane| lane.travelling.front()).map(|(read, _)| *read + delay);
        let slices = lanes.iter().filter(|lane| !lane.out.is_empty()).filter_map(|lane| lane.not_before);
        arrivals.chain(slices.filter(|at| *at > now)).min()
    }
}

impl Drop for Link {
    /// Closing alone would end the connections only when a process that was forked from ours at this moment, with
    /// copies of all sockets, has become another program. Fails when they have ended already.
    fn drop(&mut self) {
        for stream in self.client.iter().chain([&self.server]) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

/// Ends a connection so that the other end sees a reset, whoever else has a copy of the socket. Not so with SO_LINGER.
pub(super) fn abort(stream: &TcpStream) {
    connect_unspec(stream).expect("a connection can be dissolved, even one that has ended");
}

/// What is on the way in one direction.
#[derive(Debug, Default)]
struct Lane {
    /// What has been read, and when.
    travelling: VecDeque<(Instant, Vec<u8>)>,
    /// Nothing more is to be read.
    ended: bool,
    /// What has travelled for long enough and is not a whole frame yet.
    arrived: Vec<u8>,
    /// What may be written.
    out: Vec<u8>,
    not_before: Option<Instant>,
    closed: bool,
}

impl Lane {
    fn read(&mut self, from: &mut TcpStream, now: Instant) {
        let mut chunk = [0; 16 * 1024];
        while !self.ended {
            match from.read(&mut chunk) {
                Ok(0) => self.ended = true,
                Ok(length) => self.travelling.push_back((now, chunk[..length].to_vec())),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.ended = true,
            }
        }
    }

    fn arrive(&mut self, now: Instant, delay: Duration) {
        while self.travelling.front().is_some_and(|(read, _)| *read + delay <= now) {
            let Some((_, chunk)) = self.travelling.pop_front() else { return };
            self.arrived.extend(chunk);
        }
    }

    /// Whether its writer has left and all of it has arrived.
    fn is_over(&self) -> bool {
        self.ended && self.travelling.is_empty()
    }

    /// Whether there is something to write that need not wait for the reader of the slice before.
    fn may_write(&self, now: Instant) -> bool {
        !self.out.is_empty() && self.not_before.is_none_or(|at| at <= now)
    }

    fn write(&mut self, to: &mut TcpStream, now: Instant, slice: Option<usize>) {
        while self.may_write(now) {
            let most = slice.unwrap_or(usize::MAX).min(self.out.len());
            match to.write(&self.out[..most]) {
                Ok(length) => {
                    self.out.drain(..length);
                    self.not_before = slice.map(|_| now + BETWEEN_SLICES);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Its reader has left; the other lane will see that.
                Err(_) => self.out.clear(),
            }
        }
    }

    /// Tells the reader once that nothing more will come.
    fn close(&mut self, to: &TcpStream) {
        if !self.closed {
            self.closed = true;
            // Fails only when the reader has left, which is what the other lane will see.
            drop(to.shutdown(Shutdown::Write));
        }
    }
}
