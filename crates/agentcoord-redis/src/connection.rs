//! One multiplexed connection, admitted before its first operation, and made anew when it breaks.
//!
//! A connection that reconnects by itself would skip the admission, so this one is made here. Nothing is sent twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use agentcoord_core::ids::Epoch;
use agentcoord_core::record::SCHEMA;
use agentcoord_core::script;
use redis::aio::{MultiplexedConnection, SendError};
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, PushInfo, PushKind, RedisError};

use crate::config::{Deadlines, RedisUrl};
use crate::error::Fault;
use crate::keys::Keys;
use crate::namespace::{Role, Survey, look};

/// What a server must be before anything is sent to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The start of the server that counts: one that came back with older data has another.
    pub run_id: String,
    /// The founding of the namespace that counts.
    pub instance: String,
    /// The epoch.
    pub epoch: Epoch,
    /// Which keys count.
    pub generation: String,
    /// The state directory that owns the namespace.
    pub owner: String,
}

impl Admission {
    /// Why a server is not the one, if so.
    fn refuses(&self, url: &RedisUrl, survey: &Survey) -> Option<Fault> {
        let refuse = |reason: String| Some(Fault::Unconnected(format!("{url} {reason}"), None));
        if survey.role != Role::Primary {
            return refuse("is a replica: use the address of the primary".to_owned());
        }
        let Some(meta) = &survey.meta else {
            return refuse("does not hold this namespace: its data is gone, or this is another server".to_owned());
        };
        if meta.schema > SCHEMA {
            return refuse(format!("holds data of a newer version (schema {}): update agentcoord", meta.schema));
        }
        if meta.instance != self.instance || meta.generation != self.generation || meta.owner != self.owner {
            return refuse("holds another namespace of this name: check the URL and the namespace".to_owned());
        }
        if meta.epoch != self.epoch || meta.closed {
            let closed = if meta.closed { ", closed" } else { "" };
            return Some(Fault::Fenced(format!("{url} is in epoch {}{closed}", meta.epoch)));
        }
        if survey.run_id != self.run_id {
            return refuse("was restarted or replaced since this epoch began: a new epoch is needed".to_owned());
        }
        None
    }
}

/// An open connection and whether it is known to be gone.
#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    broken: Arc<AtomicBool>,
}

/// The connection of one engine.
pub(crate) struct Connection {
    url: RedisUrl,
    keys: Keys,
    admission: Admission,
    deadlines: Deadlines,
    live: RwLock<Option<Live>>,
    /// Held while connecting, so that many callers make one connection.
    connecting: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("url", &self.url).field("admission", &self.admission).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(url: RedisUrl, keys: Keys, admission: Admission, deadlines: Deadlines) -> Self {
        Self { url, keys, admission, deadlines, live: RwLock::default(), connecting: tokio::sync::Mutex::default() }
    }

    pub(crate) fn url(&self) -> &RedisUrl {
        &self.url
    }

    pub(crate) fn deadlines(&self) -> Deadlines {
        self.deadlines
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Sends one command and reads its answer.
    pub(crate) async fn call<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Fault> {
        let live = self.live().await?;
        let answer = call(&live.connection, command, self.deadlines.call).await;
        live.judge(answer)
    }

    /// Sends several commands at once and reads their answers.
    pub(crate) async fn call_all<T: FromRedisValue>(&self, pipe: &redis::Pipeline) -> Result<T, Fault> {
        let live = self.live().await?;
        let mut connection = live.connection.clone();
        let answer = in_time(self.deadlines.call, pipe.query_async(&mut connection)).await;
        live.judge(answer)
    }

    /// Makes sure that there is an admitted connection.
    pub(crate) async fn admit(&self) -> Result<(), Fault> {
        self.live().await.map(drop)
    }

    /// The admitted connection; a new one when there is none or it has gone.
    async fn live(&self) -> Result<Live, Fault> {
        if let Some(live) = self.usable() {
            return Ok(live);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(live) = self.usable() {
            return Ok(live);
        }
        let live = self.admitted().await?;
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
        Ok(live)
    }

    fn usable(&self) -> Option<Live> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.as_ref().filter(|live| !live.broken.load(Ordering::Acquire)).cloned()
    }

    async fn admitted(&self) -> Result<Live, Fault> {
        let broken = Arc::new(AtomicBool::new(false));
        let connect = async {
            let mut connection = open(&self.url, Some(broken.clone()), self.deadlines).await?;
            let survey = look(&self.url, &mut connection, &self.keys.meta()).await?;
            if let Some(refusal) = self.admission.refuses(&self.url, &survey) {
                return Err(refusal);
            }
            self.probe(&connection).await?;
            Ok(connection)
        };
        let late = || Fault::Unconnected(format!("{} did not answer in time", self.url), None);
        let connection = match tokio::time::timeout(2 * self.deadlines.connect, connect).await {
            Ok(Err(Fault::Lost(reason, source))) => {
                // Nothing but the questions of the admission was sent.
                Err(Fault::Unconnected(format!("no connection to {}: {reason}", self.url), source))
            }
            Ok(answer) => answer,
            Err(_) => Err(late()),
        }?;
        tracing::debug!(url = %self.url, "connected and admitted");
        Ok(Live { connection, broken })
    }

    /// Looks whether the user may do everything that a step does: a script that is stopped half-way keeps its writes.
    async fn probe(&self, connection: &MultiplexedConnection) -> Result<(), Fault> {
        let mut command = redis::cmd("EVAL");
        command.arg(script::PROBE).arg(5).arg(&self.keys.of_script()).arg(self.keys.wake_prefix());
        let mut forbidden: Vec<String> = call(connection, &command, self.deadlines.call).await?;
        if let Some(at) = forbidden.iter().position(|c| c == "publish") {
            forbidden.remove(at);
            tracing::warn!(url = %self.url, "this user may not publish: those who wait learn of changes late");
        }
        if forbidden.is_empty() {
            return Ok(());
        }
        let commands = forbidden.join(", ");
        Err(Fault::Unconnected(format!("this user of {} may not run {commands} on our keys", self.url), None))
    }
}

impl Live {
    /// Gives the connection up when the answer says so.
    fn judge<T>(&self, answer: Result<T, Fault>) -> Result<T, Fault> {
        if answer.as_ref().is_err_and(Fault::breaks_connection) {
            self.broken.store(true, Ordering::Release);
        }
        answer
    }
}

/// Opens a connection that is not admitted to anything. `broken` is set when it goes.
pub(crate) async fn open(
    url: &RedisUrl,
    broken: Option<Arc<AtomicBool>>,
    deadlines: Deadlines,
) -> Result<MultiplexedConnection, Fault> {
    let client = Client::open(url.for_commands()).map_err(|e| Fault::connecting(url, e))?;
    let mut config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(deadlines.connect))
        // The deadline of a call is ours, so that its meaning is too.
        .set_response_timeout(None);
    if let Some(broken) = broken {
        config = config.set_push_sender(move |push: PushInfo| -> Result<(), SendError> {
            if push.kind == PushKind::Disconnection {
                broken.store(true, Ordering::Release);
            }
            Ok(())
        });
    }
    client.get_multiplexed_async_connection_with_config(&config).await.map_err(|e| Fault::connecting(url, e))
}

/// Sends one command over a connection.
pub(crate) async fn call<T: FromRedisValue>(
    connection: &MultiplexedConnection,
    command: &Cmd,
    deadline: Duration,
) -> Result<T, Fault> {
    let mut connection = connection.clone();
    in_time(deadline, command.query_async(&mut connection)).await
}

pub(crate) async fn in_time<T>(
    deadline: Duration,
    answer: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(deadline, answer).await {
        Ok(answer) => answer.map_err(Fault::calling),
        Err(elapsed) => Err(Fault::Lost(format!("no answer within {} ms", deadline.as_millis()), Some(elapsed.into()))),
    }
}
