//! The engine on Redis: a step is one script call, a read is one round trip.

use std::sync::Arc;

use agentcoord_core::engine::{Engine, EngineKind};
use agentcoord_core::ids::{Csn, Epoch, Id};
use agentcoord_core::op::{Actor, Call, decode};
use agentcoord_core::record::{Event, State};
use agentcoord_core::replica::{Logged, Told};
use agentcoord_core::script::{Script, library};
use agentcoord_core::table::{Entry, Range, Table};
use agentcoord_core::time::{Clock, Reading};
use agentcoord_core::{Error, Result};
use async_trait::async_trait;
use redis::{Cmd, FromRedisValue, Pipeline, Value};

use crate::config::{Deadlines, RedisUrl};
use crate::connection::{Admission, Connection};
use crate::error::Fault;
use crate::feed::RedisFeed;
use crate::keys::{FENCE_FIELDS, FREEZE_WALL, Keys, STATE};
use crate::tail;

/// The engine of one namespace in one epoch. It connects at the first call.
pub struct RedisEngine {
    connection: Connection,
    keys: Keys,
    clock: Arc<dyn Clock>,
    /// Names the connection to scripts: answers over it arrive in order.
    link: String,
}

impl std::fmt::Debug for RedisEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisEngine").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl RedisEngine {
    /// An engine that serves what `admission` describes. `clock` gives the boot clock; the wall clock is the server's.
    ///
    /// # Errors
    /// `Invalid` for a name that cannot be a namespace. Connecting comes later.
    pub fn new(
        url: RedisUrl,
        namespace: &str,
        admission: Admission,
        deadlines: Deadlines,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let keys = Keys::new(namespace, &admission.generation)?;
        let connection = Connection::new(url, keys.clone(), admission, deadlines);
        Ok(Self { connection, keys, clock, link: Id::random().as_str()[..12].to_owned() })
    }

    /// Connects and checks that the server is the one that `admission` describes.
    ///
    /// # Errors
    /// `Unavailable` when it is away or another one; `Fenced` when the namespace is in another epoch.
    pub async fn admit(&self) -> Result<()> {
        self.connection.admit().await.map_err(self.read_error())
    }

    /// The log of events, for who follows it.
    #[must_use]
    pub fn feed(&self) -> RedisFeed {
        let connection = &self.connection;
        let (url, deadlines) = (connection.url().clone(), connection.deadlines());
        RedisFeed::new(url, self.keys.clone(), connection.admission().clone(), deadlines)
    }

    /// The function call of a step. `known`: how far the caller's host knows the log, when it wants to be told the rest.
    fn command(&self, script: &Script, call: &Call, known: Option<Csn>) -> Cmd {
        let reading = self.clock.read();
        let (actor, actor_name) = match &call.actor {
            Actor::Session(id) => ("session", id.as_str()),
            Actor::Human(name) => ("human", name.as_str()),
            Actor::System => ("system", ""),
        };
        let mut command = redis::cmd("FCALL");
        command.arg(script.function()).arg(5).arg(&self.keys.of_script());
        command.arg(call.epoch.0).arg(&self.connection.admission().instance);
        command.arg(call.client.as_str()).arg(call.request.0).arg(&call.digest).arg(actor).arg(actor_name);
        command.arg(&reading.boot_id).arg(reading.boot).arg(self.keys.wake_prefix()).arg(call.verb);
        let fence = call.fence.map(|token| token.to_string());
        command.arg(u8::from(call.again)).arg(&call.body).arg(fence.unwrap_or_default());
        command.arg(known.map(|csn| csn.to_string()).unwrap_or_default()).arg(&self.link);
        for blob in &call.blobs {
            command.arg(&blob.name).arg(&blob.bytes);
        }
        command
    }

    async fn run(&self, script: &Script, call: &Call, known: Option<Csn>) -> Result<Value, Fault> {
        let command = self.command(script, call, known);
        match self.connection.call::<Value>(&command).await {
            // The server does not know the library (any more): it has run nothing.
            Err(Fault::Server(reason)) if reason.contains("Function not found") => {
                let mut load = redis::cmd("FUNCTION");
                load.arg("LOAD").arg("REPLACE").arg(&library().source);
                self.connection.call::<String>(&load).await?;
                self.connection.call(&command).await
            }
            answer => answer,
        }
    }

    /// As [`Engine::step`], and tells the part of the log that the answer may have seen and that is not `known`.
    ///
    /// # Errors
    /// As [`Engine::step`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the outcome unknown, and what would have been told is not told again over this engine.
    pub async fn step_told(&self, call: &Call, known: Option<Csn>) -> Result<Stepped> {
        let script = Script::of(call.verb)
            .ok_or_else(|| Error::unavailable(format!("this version knows no verb {}", call.verb)))?;
        let answer = self.run(script, call, known).await;
        let (answer, told) = answer.and_then(tail::answer).map_err(|fault| fault.of_step(call.epoch, call.request))?;
        if let Some((after, events)) = told {
            return Ok(Stepped::Done(Told { answer, after, events }));
        }
        if answer.starts_with(FENCED) {
            let FencedAnswer { fenced } = decode(&answer, call.verb)?;
            if fenced.lost {
                return Ok(Stepped::Lost);
            }
            return Err(fence(&fenced, &self.connection.admission().instance).of_step(call.epoch, call.request));
        }
        if answer.starts_with(BEHIND) {
            return Ok(Stepped::Behind);
        }
        Ok(Stepped::Done(Told { answer, after: known.unwrap_or_default(), events: Vec::new() }))
    }

    fn read_error(&self) -> impl Fn(Fault) -> Error {
        let epoch = self.epoch();
        move |fault| fault.of_read(epoch)
    }

    /// Runs a read, and with it the part of the log that it may have seen and that is not `known`.
    ///
    /// It also looks whether the namespace is still the one that was admitted, after the read: an open connection to a
    /// server whose data were deleted would answer that nothing is there.
    async fn read<T: FromRedisValue>(&self, mut pipe: Pipeline, known: Option<Csn>) -> Result<Told<T>, Fault> {
        pipe.cmd("HMGET").arg(self.keys.meta()).arg(&FENCE_FIELDS);
        if let Some(after) = known {
            tail::ask(&mut pipe, &self.keys, after, tail::PAGE);
        }
        let mut values: Vec<Value> = self.connection.call_all(&pipe).await?;
        let malformed = |e: redis::ParsingError| Fault::calling(e.into());
        let events = match known {
            Some(_) => tail::entries(values.pop().unwrap_or(Value::Nil))?,
            None => Vec::new(),
        };
        let meta = redis::from_redis_value(values.pop().unwrap_or(Value::Nil)).map_err(malformed)?;
        self.check(meta)?;
        let answer = redis::from_redis_value(Value::Array(values)).map_err(malformed)?;
        Ok(Told { answer, after: known.unwrap_or_default(), events })
    }

    /// Refuses what was read from another epoch or instance.
    fn check(&self, (epoch, instance, closed): (Option<u64>, Option<String>, Option<String>)) -> Result<(), Fault> {
        let admission = self.connection.admission();
        let found = Found {
            epoch: epoch.unwrap_or(0),
            instance: instance.unwrap_or_default(),
            closed: closed.as_deref() == Some("1"),
            lost: false,
        };
        let is_same = found.epoch == admission.epoch.0 && found.instance == admission.instance && !found.closed;
        if is_same { Ok(()) } else { Err(fence(&found, &admission.instance)) }
    }

    /// Reads string keys. GET and not MGET, which answers a key of another type like one that is absent.
    async fn strings(&self, names: &[String], known: Option<Csn>) -> Result<Told<Vec<Option<Vec<u8>>>>> {
        if names.is_empty() {
            return Ok(Told { after: known.unwrap_or_default(), ..Told::default() });
        }
        let mut pipe = Pipeline::with_capacity(names.len() + 1);
        for name in names {
            pipe.get(name);
        }
        self.read(pipe, known).await.map_err(|fault| match fault {
            Fault::Corrupt { detail, .. } => Error::corrupt(names.join(", "), detail),
            other => other.of_read(self.epoch()),
        })
    }

    /// As [`Engine::fetch`], with the log.
    ///
    /// # Errors
    /// As [`Engine::fetch`].
    pub async fn fetch_told(
        &self,
        table: Table,
        keys: &[String],
        known: Option<Csn>,
    ) -> Result<Told<Vec<Option<Vec<u8>>>>> {
        if !table.is_hot() {
            let names: Vec<String> = keys.iter().map(|key| self.keys.record(table, key)).collect();
            return self.strings(&names, known).await;
        }
        if keys.is_empty() {
            return Ok(Told { after: known.unwrap_or_default(), ..Told::default() });
        }
        let fields: Vec<String> = keys.iter().map(|key| Keys::field(table, key)).collect();
        let mut pipe = redis::pipe();
        pipe.cmd("HMGET").arg(self.keys.hot()).arg(fields);
        self.one(pipe, known).await
    }

    /// As [`Engine::blobs`], with the log.
    ///
    /// # Errors
    /// As [`Engine::blobs`].
    pub async fn blobs_told(&self, names: &[String], known: Option<Csn>) -> Result<Told<Vec<Option<Vec<u8>>>>> {
        let names: Vec<String> = names.iter().map(|name| self.keys.blob(name)).collect();
        self.strings(&names, known).await
    }

    /// As [`Engine::scan`], with the log.
    ///
    /// # Errors
    /// As [`Engine::scan`].
    pub async fn scan_told(&self, range: &Range, limit: usize, known: Option<Csn>) -> Result<Told<Vec<Entry>>> {
        let bound = |mark: u8, bytes: &[u8]| [&[mark], bytes].concat();
        let mut pipe = redis::pipe();
        pipe.cmd("ZRANGEBYLEX").arg(self.keys.index()).arg(bound(b'[', &range.from)).arg(bound(b'(', &range.to));
        pipe.arg("LIMIT").arg(0).arg(limit);
        let Told { answer, after, events } = self.one::<Vec<Vec<u8>>>(pipe, known).await?;
        Ok(Told { answer: answer.into_iter().map(Entry).collect(), after, events })
    }

    /// As [`Engine::state`], with the log.
    ///
    /// # Errors
    /// As [`Engine::state`].
    pub async fn state_told(&self, known: Option<Csn>) -> Result<Told<(State, Reading)>> {
        let mut pipe = redis::pipe();
        pipe.hget(self.keys.meta(), FREEZE_WALL).hget(self.keys.hot(), STATE).cmd("TIME");
        type Answer = (Option<u64>, Option<Vec<u8>>, (u64, u64));
        let Told { answer, after, events } = self.read::<Answer>(pipe, known).await.map_err(self.read_error())?;
        let (frozen, state, (seconds, micros)) = answer;
        let state = match state {
            Some(bytes) => decode(&bytes, "the shared state")?,
            None => State::default(),
        };
        let wall = frozen.unwrap_or(seconds * 1_000 + micros / 1_000);
        Ok(Told { answer: (state, Reading { wall, ..self.clock.read() }), after, events })
    }

    /// The log after a number, at most `limit`, as a replica needs it.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn log(&self, after: Csn, limit: usize) -> Result<Vec<Logged>> {
        let mut pipe = redis::pipe();
        tail::ask(&mut pipe, &self.keys, after, limit);
        let Told { answer: (page,), .. } = self.read::<(Value,)>(pipe, None).await.map_err(self.read_error())?;
        tail::entries(page).map_err(self.read_error())
    }

    /// A read of one command.
    async fn one<T: FromRedisValue>(&self, pipe: Pipeline, known: Option<Csn>) -> Result<Told<T>> {
        let told = self.read::<(T,)>(pipe, known).await.map_err(self.read_error())?;
        Ok(Told { answer: told.answer.0, after: told.after, events: told.events })
    }
}

/// What became of a step whose caller keeps what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// It has an answer.
    Done(Told<Vec<u8>>),
    /// Nothing was executed: the caller knows too little of the log to be told the rest with an answer. Read it first.
    Behind,
    /// Nothing was executed: the caller knows more of the log than the server, which has lost something.
    Lost,
}

/// What a script answers to a caller whose epoch is over, before anything else: a map with this one field.
const FENCED: &[u8] = b"\x81\xa6fenced";
/// The same for one who knows too little of the log.
const BEHIND: &[u8] = b"\x81\xa6behind";

#[derive(serde::Deserialize)]
struct FencedAnswer {
    fenced: Found,
}

/// What the script found in the meta record.
#[derive(serde::Deserialize)]
struct Found {
    epoch: u64,
    instance: String,
    closed: bool,
    #[serde(default)]
    lost: bool,
}

/// Why a caller of this instance is fenced out.
fn fence(found: &Found, instance: &str) -> Fault {
    if found.instance.is_empty() {
        return Fault::Unconnected("Redis does not hold this namespace any more: its data is gone".to_owned(), None);
    }
    if found.instance != instance {
        let reason = "Redis holds another namespace of this name: check the URL and the namespace";
        return Fault::Unconnected(reason.to_owned(), None);
    }
    let closed = if found.closed { ", closed" } else { "" };
    Fault::Fenced(format!("Redis is in epoch {}{closed}", found.epoch))
}

#[async_trait]
impl Engine for RedisEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Redis
    }

    fn epoch(&self) -> Epoch {
        self.connection.admission().epoch
    }

    async fn step(&self, call: Call) -> Result<Vec<u8>> {
        match self.step_told(&call, None).await? {
            Stepped::Done(told) => Ok(told.answer),
            Stepped::Behind | Stepped::Lost => Err(Error::unavailable("an answer that nobody asked for")),
        }
    }

    async fn fetch(&self, table: Table, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        Ok(self.fetch_told(table, keys, None).await?.answer)
    }

    async fn blobs(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        Ok(self.blobs_told(names, None).await?.answer)
    }

    async fn scan(&self, range: &Range, limit: usize) -> Result<Vec<Entry>> {
        Ok(self.scan_told(range, limit, None).await?.answer)
    }

    async fn state(&self) -> Result<(State, Reading)> {
        Ok(self.state_told(None).await?.answer)
    }

    async fn events(&self, after: Csn, limit: usize) -> Result<Vec<Event>> {
        self.log(after, limit).await?.iter().map(Logged::event).collect()
    }
}
