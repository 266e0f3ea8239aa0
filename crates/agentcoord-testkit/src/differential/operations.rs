//! The generator: one random operation after the other, mostly sensible, sometimes not.

mod audit;

use std::fmt::Debug;

use agentcoord_core::agent::{
    Deregister, EvictAgent, Heartbeat, ProcessIdentity, Register, SessionKind, Tick, UpdateAgent,
};
use agentcoord_core::approval::{CancelApproval, CastVote, ConsumeApproval, RequestApproval, Verdict};
use agentcoord_core::board::{OpenThread, PostMessage, ReadInbox, ThreadPriority, ThreadStatus, UpdateThread};
use agentcoord_core::ids::{Epoch, Id, RequestNo, Ticket, Token};
use agentcoord_core::limits::REPLAY_WINDOW;
use agentcoord_core::lock::{
    AcquireLock, ConfirmLock, LockMode, LockPath, ReleaseLock, RenewLock, RevokeLock, WaitLock, WithdrawLock,
};
use agentcoord_core::op::{Actor, Answer, Call, Op, Verb, decode};
use agentcoord_core::request::VoidRequest;

use super::known::{Asking, Client, Known, Teach, learn};
use crate::random::Random;

const PATHS: [&str; 11] =
    ["a", "a/", "a/b", "a/b/", "a-b", "b", "ä/ö", "src/main.rs", "src/main.rs.bak", "src/", "@git/index"];
pub(super) const TAGS: [&str; 5] = ["backend", "back", "frontend", "docs", "ünïcode tag"];
pub(super) const CAPABILITIES: [&str; 4] = ["rust", "python", "gpu", "c++"];
const NAMES: [&str; 4] = ["ada", "bob", "grace hopper", "ada-2"];
const ADDRESSES: [&str; 8] =
    ["ada", "agent:bob", "grace hopper", "Engineer", "role:Reviewer", "human:eve", "nobody", "agent:Engineer"];
const PEOPLE: [&str; 4] = ["eve", "mallory", "trent", "ada"];

/// An encoded operation that knows how to read its answer.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) call: Call,
    /// The body in words.
    pub(super) words: fn(&Call) -> String,
    /// An answer in words, whatever the order of its fields.
    pub(super) read: fn(&[u8]) -> String,
    pub(super) learn: fn(&[u8], &Call, &mut Known),
}

impl Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Call { verb, client, request, actor, .. } = &self.call;
        write!(f, "{verb} by {actor:?} as {}-{request}: {}", &client.as_str()[..8], (self.words)(&self.call))
    }
}

fn read<V: Verb<Reply: Debug>>(bytes: &[u8]) -> String {
    match Answer::<V::Reply>::read(bytes, V::NAME) {
        Ok((answer, None)) => format!("{answer:?}"),
        Ok((answer, Some(handed))) => format!("{answer:?} along with {handed:?}"),
        Err(e) => format!("an answer that cannot be read ({e:?}): {}", bytes.escape_ascii()),
    }
}

fn words<V: Verb + Debug>(call: &Call) -> String {
    match decode::<V>(&call.body, V::NAME) {
        Ok(body) => format!("{body:?}"),
        Err(e) => format!("a body that cannot be read ({e:?})"),
    }
}

/// What happens next.
#[derive(Clone, Debug)]
pub(super) enum Next {
    /// An operation.
    Ask(Box<Asked>),
    /// Time passes, in milliseconds.
    Advance(u64),
    /// The wall clock is set.
    SetWall(i64),
    /// The callers are another boot.
    Reboot(String, u64),
}

pub(super) struct Generator {
    pub(super) random: Random,
    pub(super) known: Known,
    epoch: Epoch,
    clients: Vec<Client>,
    asked: Vec<Asked>,
    /// What the wall clock reads.
    pub(super) wall: u64,
}

impl Generator {
    pub(super) fn new(seed: u64, epoch: Epoch) -> Self {
        let mut random = Random::new(seed);
        let clients = (0..4).map(|_| Client { id: random.id(), next: 1 }).collect();
        Self { random, known: Known::default(), epoch, clients, asked: Vec::new(), wall: 0 }
    }

    /// What happens next, when the wall clock reads `wall`.
    pub(super) fn next(&mut self, wall: u64) -> Next {
        self.wall = wall;
        match self.random.below(1_000) {
            0..120 => Next::Advance(self.random.number() % 200),
            120..132 => Next::Advance(self.random.number() % 8_000),
            132..135 => Next::Advance(self.random.number() % 90_000),
            135..136 => {
                // Everybody's session is over.
                self.known.sessions.keep(2);
                Next::Advance(self.random.number() % (30 * 3_600_000))
            }
            136..140 => Next::SetWall(i64::try_from(self.random.number() % 7_200_000).unwrap_or(0) - 3_600_000),
            140..143 => {
                let boot = self.random.below(2);
                Next::Reboot(format!("boot-{boot}"), self.random.number() % 10_000_000)
            }
            143..220 => match self.again() {
                Some(asked) => Next::Ask(Box::new(asked)),
                None => Next::Advance(1),
            },
            _ => Next::Ask(Box::new(self.fresh())),
        }
    }

    /// Remembers what was asked and what came of it.
    pub(super) fn answered(&mut self, asked: Asked, answer: &[u8]) {
        (asked.learn)(answer, &asked.call, &mut self.known);
        if self.asked.len() == 400 {
            self.asked.remove(0);
        }
        self.asked.push(asked);
    }

    /// An earlier request again: the same, or its number with another body, or a number far below the window.
    fn again(&mut self) -> Option<Asked> {
        // Mostly one of the last few, as after a lost answer.
        let recent = if self.random.one_in(4) { 0 } else { self.asked.len().saturating_sub(12) };
        let old = self.random.pick(&self.asked[recent..]).cloned()?;
        match self.random.below(6) {
            0 => {
                let mut other = self.fresh();
                self.renumber(&mut other, old.call.client.clone(), old.call.request);
                Some(other)
            }
            1 => {
                let mut other = self.fresh();
                let below = old.call.request.0.saturating_sub(REPLAY_WINDOW).max(1);
                self.renumber(&mut other, old.call.client.clone(), RequestNo(below));
                Some(other)
            }
            _ => Some(old),
        }
    }

    fn renumber(&mut self, asked: &mut Asked, client: Id, request: RequestNo) {
        asked.call.client = client;
        asked.call.request = request;
    }

    fn number(&mut self) -> (Id, RequestNo) {
        let at = self.random.below(self.clients.len());
        if self.random.one_in(400) {
            self.clients[at] = Client { id: self.random.id(), next: 1 };
        }
        let step = if self.random.one_in(300) { REPLAY_WINDOW - 3 } else { 1 };
        let client = &mut self.clients[at];
        let number = client.next;
        client.next += step;
        (client.id.clone(), RequestNo(number))
    }

    pub(super) fn ask<V: Verb<Reply: Debug + Teach> + Debug>(&mut self, actor: Actor, body: V) -> Asked {
        let (client, request) = self.number();
        self.ask_as(client, request, actor, body)
    }

    pub(super) fn ask_as<V: Verb<Reply: Debug + Teach> + Debug>(
        &mut self,
        client: Id,
        request: RequestNo,
        actor: Actor,
        body: V,
    ) -> Asked {
        let fence = self.random.one_in(25).then(|| self.token().0);
        let op = Op { epoch: self.epoch, client, request, actor, fence, body };
        let mut call = Call::encode(&op).expect("the generator makes requests that pass the client's checks");
        call.again = self.random.one_in(20);
        Asked { call, words: words::<V>, read: read::<V>, learn: learn::<V::Reply> }
    }

    pub(super) fn actor(&mut self) -> Actor {
        match self.random.below(40) {
            0 => Actor::System,
            1 => self.human(),
            2 => Actor::Session(self.random.id()),
            _ => self.agent(),
        }
    }

    fn human(&mut self) -> Actor {
        Actor::Human(self.one(&PEOPLE))
    }

    fn agent(&mut self) -> Actor {
        let session = self.known.sessions.pick(&mut self.random);
        Actor::Session(session.unwrap_or_else(|| self.random.id()))
    }

    /// Mostly the owner of a thing, sometimes another.
    pub(super) fn owner(&mut self, session: Option<Id>) -> Actor {
        match session {
            Some(session) if !self.random.one_in(8) => Actor::Session(session),
            _ => self.actor(),
        }
    }

    fn one(&mut self, of: &[&str]) -> String {
        of[self.random.below(of.len())].to_owned()
    }

    pub(super) fn some(&mut self, of: &[&str], most: usize) -> Vec<String> {
        let mut list: Vec<String> = (0..self.random.below(most + 1)).map(|_| self.one(of)).collect();
        list.sort();
        list.dedup();
        list
    }

    pub(super) fn maybe<T>(&mut self, times: usize, value: T) -> Option<T> {
        self.random.one_in(times).then_some(value)
    }

    fn paths(&mut self, least: usize) -> Vec<LockPath> {
        let mut list = self.some(&PATHS, 3);
        while list.len() < least {
            list.push(self.one(&PATHS));
        }
        list.iter().map(|p| LockPath::parse(p).expect("a path")).collect()
    }

    fn token(&mut self) -> (Token, Option<Id>) {
        let made_up = (Token(self.random.number() % 50), None);
        if self.random.one_in(20) { made_up } else { self.known.grants.pick(&mut self.random).unwrap_or(made_up) }
    }

    /// What somebody types for a record: its key, the whole id, or something that is not there.
    pub(super) fn typed(&mut self, known: Option<String>) -> String {
        match known {
            Some(key) if !self.random.one_in(15) => key,
            _ => self.random.id().as_str()[..8 + self.random.below(25)].to_owned(),
        }
    }

    fn fresh(&mut self) -> Asked {
        if self.known.sessions.len() < 5 && self.random.one_in(2) {
            return self.register();
        }
        match self.random.below(100) {
            0..6 => self.register(),
            6..12 => {
                let (actor, progress) = (self.agent(), self.random.one_in(3));
                self.ask(actor, Heartbeat { progress })
            }
            12..14 => {
                let actor = self.actor();
                let busy = self.random.number() % 60_000;
                let body = UpdateAgent {
                    status: self.maybe(2, "reviewing".to_owned()),
                    working_on: self.maybe(2, String::new()),
                    busy_for: self.maybe(2, busy),
                };
                self.ask(actor, body)
            }
            14..15 => {
                let actor = self.actor();
                let reason = self.maybe(2, "done".to_owned());
                if self.random.one_in(3) {
                    return self.evict();
                }
                self.ask(actor, Deregister { reason })
            }
            15..19 => {
                let actor = if self.random.one_in(2) { Actor::System } else { self.actor() };
                let most = 1 + self.random.number() % 64;
                self.ask(actor, Tick { most })
            }
            19..48 => self.locks(),
            48..76 => self.tasks(),
            76..84 => self.board(),
            84..96 => self.approvals(),
            96..97 => self.prune(),
            97..98 => self.void(),
            _ => self.audit(),
        }
    }

    /// Settles some request, mostly one that is yet to come.
    fn void(&mut self) -> Asked {
        let at = self.random.below(self.clients.len());
        let next = self.clients[at].next + 3;
        let request = RequestNo(next.saturating_sub(self.random.number() % 8).max(1));
        let body = VoidRequest { client: self.clients[at].id.clone(), request };
        let actor = if self.random.one_in(5) { self.actor() } else { Actor::System };
        self.ask(actor, body)
    }

    fn evict(&mut self) -> Asked {
        let actor = match self.random.below(4) {
            0 => self.actor(),
            1 => Actor::System,
            _ => self.human(),
        };
        let known = self.known.sessions.pick(&mut self.random);
        let agent = self.known.agents.pick(&mut self.random);
        let session = known.filter(|_| self.random.one_in(2));
        let agent = session.is_none().then(|| self.typed(agent));
        let audit = "{\"decision_type\":\"eviction\"}".to_owned();
        self.ask(actor, EvictAgent { session, agent, reason: "it hangs".to_owned(), audit })
    }

    fn register(&mut self) -> Asked {
        let shell = self.random.one_in(3);
        let known = self.known.sessions.pick(&mut self.random);
        let fresh = self.random.id();
        let process = ProcessIdentity { pid: 42, started: 7, boot_id: "boot-1".to_owned(), pid_namespace: 1 << 40 };
        let body = Register {
            agent: self.random.id(),
            session: if self.random.one_in(12) { known.clone().unwrap_or(fresh) } else { fresh },
            name: self.one(&NAMES),
            key: if shell { self.one(&["", "tty-1", "tty-2"]) } else { String::new() },
            role: self.one(&["Engineer", "Reviewer"]),
            working_on: self.maybe(2, "locks".to_owned()),
            capabilities: self.some(&CAPABILITIES, 3),
            host: "host".to_owned(),
            process: self.maybe(2, process),
            kind: if shell { SessionKind::Shell } else { SessionKind::Process },
            ttl: if self.random.one_in(4) { 1 + self.random.number() % 5_000 } else { 600_000 },
            parent: known.filter(|_| self.random.one_in(6)),
            resume: shell && !self.random.one_in(4),
            metadata: self.maybe(4, "{}".to_owned()),
        };
        let actor = self.actor();
        self.ask(actor, body)
    }

    fn locks(&mut self) -> Asked {
        match self.random.below(30) {
            29 => {
                let actor = if self.random.one_in(4) { self.actor() } else { self.human() };
                let path = LockPath::parse(&self.one(&PATHS)).expect("a path that can be locked");
                self.ask(actor, RevokeLock { path, audit: "{}".to_owned() })
            }
            0..13 => {
                let actor = self.actor();
                let mut body = AcquireLock::new(self.paths(1));
                body.lane = self.one(&["", "", "", "second"]);
                body.mode = if self.random.one_in(3) { LockMode::Shared } else { LockMode::Exclusive };
                body.intent = self.maybe(3, "refactoring".to_owned());
                let (ttl, wait) = (1 + self.random.number() % 5_000, self.random.number() % 8_000);
                body.ttl = self.maybe(3, ttl);
                body.wait = if self.random.one_in(4) { Some(0) } else { self.maybe(3, wait) };
                if self.random.one_in(5) {
                    return self.ask(actor, WaitLock::from(body));
                }
                self.ask(actor, body)
            }
            13..19 => match self.known.lock_requests.pick(&mut self.random) {
                Some(Asking { ticket: Some(ticket), session, .. }) => {
                    let actor = self.owner(session);
                    self.ask(actor, ConfirmLock { ticket })
                }
                _ => {
                    let (actor, ticket) = (self.actor(), Ticket::of(&self.random.id(), RequestNo(1)));
                    self.ask(actor, ConfirmLock { ticket })
                }
            },
            19..21 => {
                let (token, session) = self.token();
                let actor = self.owner(session);
                let ttl = 1 + self.random.number() % 5_000;
                let ttl = self.maybe(2, ttl);
                self.ask(actor, RenewLock { token, ttl })
            }
            21..26 => {
                let (token, session) = self.token();
                let actor = self.owner(session);
                let paths = if self.random.one_in(3) { self.paths(0) } else { Vec::new() };
                self.ask(actor, ReleaseLock { token, paths })
            }
            _ => {
                let asking = self.known.lock_requests.pick(&mut self.random);
                let (client, request, confirm) = self.withdrawn(asking);
                let (_, number) = self.number_of(&client);
                let actor = self.actor();
                self.ask_as(client, number, actor, WithdrawLock { request, confirm })
            }
        }
    }

    /// What to withdraw: a request that was answered, or one that has not been sent yet.
    pub(super) fn withdrawn(&mut self, asking: Option<Asking>) -> (Id, RequestNo, Option<RequestNo>) {
        match asking {
            Some(asking) if !self.random.one_in(5) => {
                let later = RequestNo(asking.request.0 + 1 + self.random.number() % 3);
                (asking.client, asking.request, self.maybe(3, later))
            }
            _ => {
                let at = self.random.below(self.clients.len());
                let client = &mut self.clients[at];
                client.next += 1;
                (client.id.clone(), RequestNo(client.next - 1), None)
            }
        }
    }

    pub(super) fn number_of(&mut self, client: &Id) -> (Id, RequestNo) {
        match self.clients.iter_mut().find(|c| c.id == *client) {
            Some(client) => {
                client.next += 1;
                (client.id.clone(), RequestNo(client.next - 1))
            }
            None => (client.clone(), RequestNo(100_000 + self.random.number() % 1_000)),
        }
    }

    fn board(&mut self) -> Asked {
        let actor = self.actor();
        let known = self.known.threads.pick(&mut self.random);
        let thread = self.typed(known);
        match self.random.below(10) {
            0..3 => {
                let text = self.maybe(2, "hello\nthere".to_owned());
                let mut body = OpenThread::new("a question", text);
                body.id = self.random.id();
                body.message = body.message.is_some().then(|| self.random.id());
                body.priority = *self.random.pick(ThreadPriority::ALL).expect("not empty");
                body.tags = self.some(&TAGS, 2);
                body.link = self.maybe(3, "src/main.rs".to_owned());
                if body.message.is_some() {
                    body.to = self.addressees();
                    body.mentions = self.some(&ADDRESSES, 2);
                }
                let key = format!("key {}", self.random.below(6));
                body.key = self.maybe(5, key);
                self.ask(actor, body.seal())
            }
            3..7 => {
                let mut body = PostMessage::new(thread, self.one(&["an answer", "another"]));
                body.message = self.random.id();
                body.to = self.addressees();
                body.mentions = self.some(&ADDRESSES, 2);
                let status = self.one_of(ThreadStatus::ALL);
                body.status = self.maybe(5, status);
                let key = format!("key {}", self.random.below(6));
                body.key = self.maybe(5, key);
                self.ask(actor, body.seal())
            }
            7..9 => {
                let (status, priority) = (self.one_of(ThreadStatus::ALL), self.one_of(ThreadPriority::ALL));
                let tags = self.some(&TAGS, 2);
                let body = UpdateThread {
                    thread,
                    status: self.maybe(2, status),
                    priority: self.maybe(4, priority),
                    tags: self.maybe(4, tags),
                };
                self.ask(actor, body)
            }
            _ => {
                let up_to = self.random.number() % 3_000;
                self.ask(actor, ReadInbox { up_to })
            }
        }
    }

    /// Mostly nobody, for an unknown addressee refuses the whole message.
    fn addressees(&mut self) -> Vec<String> {
        if self.random.one_in(3) { self.some(&ADDRESSES, 2) } else { Vec::new() }
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.below(of.len())]
    }

    fn approvals(&mut self) -> Asked {
        let (known, requester) = self.known.approvals.pick(&mut self.random).unzip();
        let approval = self.typed(known);
        match self.random.below(13) {
            0..4 => {
                let action = self.one(&["deploy", "drop a table"]);
                let mut body = RequestApproval::new("deployment", action);
                body.id = self.random.id();
                body.eligible = if self.random.one_in(4) {
                    PEOPLE[..3].iter().map(|p| (*p).to_owned()).collect()
                } else {
                    Vec::new()
                };
                body.quorum = 1 + u32::try_from(self.random.below(3)).unwrap_or(0);
                body.rejections = 1 + u32::try_from(self.random.below(2)).unwrap_or(0);
                body.expires_in = 1 + self.random.number() % 40_000;
                let key = format!("key {}", self.random.below(6));
                body.key = self.maybe(4, key);
                body.signed = self.random.one_in(4);
                body.payload = self.maybe(3, "{}".to_owned());
                body.diff = self.maybe(3, "+ a line".to_owned());
                let body = body.seal();
                self.known.digests.push(body.digest.clone());
                let actor = self.actor();
                self.ask(actor, body)
            }
            4..9 => {
                let actor = if self.random.one_in(8) { self.actor() } else { self.human() };
                let verdict = if self.random.one_in(3) { Verdict::Reject } else { Verdict::Approve };
                let digest = self.known.digests.pick(&mut self.random).filter(|_| self.random.one_in(3));
                let signature = digest.as_ref().filter(|_| self.random.one_in(2)).map(|_| "signed".to_owned());
                let body = CastVote {
                    approval,
                    verdict,
                    digest,
                    note: (verdict == Verdict::Reject || self.random.one_in(2)).then(|| "because".to_owned()),
                    signature,
                    audit: "{\"decision_type\":\"approval_vote\"}".to_owned(),
                };
                self.ask(actor, body)
            }
            9..10 => {
                let actor = match requester {
                    Some(requester) if !self.random.one_in(4) => requester,
                    _ => self.actor(),
                };
                self.ask(actor, CancelApproval { approval })
            }
            _ => {
                let actor = match requester {
                    Some(requester) if !self.random.one_in(4) => requester,
                    _ => self.actor(),
                };
                let key = format!("key {}", self.random.below(6));
                let key = self.maybe(3, key);
                self.ask(actor, ConsumeApproval { approval, key })
            }
        }
    }
}
