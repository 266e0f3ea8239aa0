//! The engine on Redis: a step is one script call, a read is one round trip.

use std::collections::HashMap;
use std::sync::Arc;

use agentcoord_core::engine::{Engine, EngineKind};
use agentcoord_core::ids::{Csn, Epoch};
use agentcoord_core::op::{Actor, Call, decode};
use agentcoord_core::record::{Event, State};
use agentcoord_core::script::{Script, library};
use agentcoord_core::table::{Entry, Range, Table};
use agentcoord_core::time::{Clock, Reading};
use agentcoord_core::{Error, Result};
use async_trait::async_trait;
use redis::{Cmd, Pipeline};

use crate::config::{Deadlines, RedisUrl};
use crate::connection::{Admission, Connection};
use crate::error::Fault;
use crate::feed::RedisFeed;
use crate::keys::{EVENT, FREEZE_WALL, Keys, STATE};

/// The engine of one namespace in one epoch. It connects at the first call.
pub struct RedisEngine {
    connection: Connection,
    keys: Keys,
    clock: Arc<dyn Clock>,
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
        Ok(Self { connection, keys, clock })
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

    /// The function call of a step.
    fn command(&self, script: &Script, call: &Call) -> Cmd {
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
        for blob in &call.blobs {
            command.arg(&blob.name).arg(&blob.bytes);
        }
        command
    }

    async fn run(&self, script: &Script, call: &Call) -> Result<Vec<u8>, Fault> {
        let command = self.command(script, call);
        match self.connection.call::<Vec<u8>>(&command).await {
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

    fn read_error(&self) -> impl Fn(Fault) -> Error {
        let epoch = self.epoch();
        move |fault| fault.of_read(epoch)
    }

    /// Reads string keys. GET and not MGET, which answers a key of another type like one that is absent.
    async fn strings(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = Pipeline::with_capacity(names.len());
        for name in names {
            pipe.get(name);
        }
        self.connection.call_all(&pipe).await.map_err(|fault| match fault {
            Fault::Corrupt { detail, .. } => Error::corrupt(names.join(", "), detail),
            other => other.of_read(self.epoch()),
        })
    }
}

/// What a script answers to a caller whose epoch is over, before anything else: a map with this one field.
const FENCED: &[u8] = b"\x81\xa6fenced";

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
        let script = Script::of(call.verb)
            .ok_or_else(|| Error::unavailable(format!("this version knows no verb {}", call.verb)))?;
        let answer = self.run(script, &call).await.map_err(|fault| fault.of_step(call.epoch, call.request))?;
        if answer.starts_with(FENCED) {
            let FencedAnswer { fenced } = decode(&answer, call.verb)?;
            return Err(fence(&fenced, &self.connection.admission().instance).of_step(call.epoch, call.request));
        }
        Ok(answer)
    }

    async fn fetch(&self, table: Table, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        if !table.is_hot() {
            let names: Vec<String> = keys.iter().map(|key| self.keys.record(table, key)).collect();
            return self.strings(&names).await;
        }
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let fields: Vec<String> = keys.iter().map(|key| Keys::field(table, key)).collect();
        let mut command = redis::cmd("HMGET");
        command.arg(self.keys.hot()).arg(fields);
        self.connection.call(&command).await.map_err(self.read_error())
    }

    async fn blobs(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let names: Vec<String> = names.iter().map(|name| self.keys.blob(name)).collect();
        self.strings(&names).await
    }

    async fn scan(&self, range: &Range, limit: usize) -> Result<Vec<Entry>> {
        let bound = |mark: u8, bytes: &[u8]| [&[mark], bytes].concat();
        let mut command = redis::cmd("ZRANGEBYLEX");
        command.arg(self.keys.index()).arg(bound(b'[', &range.from)).arg(bound(b'(', &range.to));
        command.arg("LIMIT").arg(0).arg(limit);
        let entries: Vec<Vec<u8>> = self.connection.call(&command).await.map_err(self.read_error())?;
        Ok(entries.into_iter().map(Entry).collect())
    }

    async fn state(&self) -> Result<(State, Reading)> {
        let mut pipe = redis::pipe();
        pipe.hget(self.keys.meta(), FREEZE_WALL).hget(self.keys.hot(), STATE).cmd("TIME");
        type Answer = (Option<u64>, Option<Vec<u8>>, (u64, u64));
        let (frozen, state, (seconds, micros)): Answer =
            self.connection.call_all(&pipe).await.map_err(self.read_error())?;
        let state = match state {
            Some(bytes) => decode(&bytes, "the shared state")?,
            None => State::default(),
        };
        let wall = frozen.unwrap_or(seconds * 1_000 + micros / 1_000);
        Ok((state, Reading { wall, ..self.clock.read() }))
    }

    async fn events(&self, after: Csn, limit: usize) -> Result<Vec<Event>> {
        let mut command = redis::cmd("XRANGE");
        command.arg(self.keys.events()).arg(format!("{}-0", after.0 + 1)).arg("+").arg("COUNT").arg(limit);
        let entries: Vec<(String, HashMap<String, Vec<u8>>)> =
            self.connection.call(&command).await.map_err(self.read_error())?;
        entries.into_iter().map(event).collect()
    }
}

/// An event of the log, as the server gives it: its id, and its fields.
pub(crate) fn event((id, fields): (String, HashMap<String, Vec<u8>>)) -> Result<Event> {
    let bytes = fields.get(EVENT).ok_or_else(|| Error::corrupt(format!("event {id}"), "it has no body"))?;
    decode(bytes, &format!("event {id}"))
}
