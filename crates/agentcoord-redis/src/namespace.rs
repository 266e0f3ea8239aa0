//! The namespace's meta record: looking at it, founding it, raising its epoch.
//!
//! These open a connection of their own and close it; which epoch and instance count is the caller's decision.

use std::collections::HashMap;
use std::time::Duration;

use agentcoord_core::ids::Epoch;
use agentcoord_core::mode::{Found, FoundMeta};
use agentcoord_core::record::SCHEMA;
use agentcoord_core::{Error, Result, script};
use redis::aio::MultiplexedConnection;

use crate::config::{Deadlines, RedisUrl};
use crate::connection::{call, open};
use crate::error::Fault;
use crate::keys::{self, BEGUN, Keys};

/// How long the key of a look stays.
const PROBE_TTL: Duration = Duration::from_secs(60);

/// What a server is to its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It follows another one.
    Replica,
}

/// What is at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Changes with every start of the server.
    pub run_id: String,
    /// Primary or replica.
    pub role: Role,
    /// Version, as the server says it.
    pub version: String,
    /// The namespace's meta record; none: the namespace does not exist there.
    pub meta: Option<Meta>,
}

impl Survey {
    /// What it says to whoever decides which engine serves.
    #[must_use]
    pub fn found(&self) -> Found {
        let meta = self.meta.as_ref().map(|meta| FoundMeta {
            epoch: meta.epoch,
            instance: meta.instance.clone(),
            owner: meta.owner.parse().ok(),
            closed: meta.closed,
        });
        Found { run_id: self.run_id.clone(), meta }
    }
}

/// The meta record of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The epoch.
    pub epoch: Epoch,
    /// The random name of this founding.
    pub instance: String,
    /// Which keys count.
    pub generation: String,
    /// The state directory that owns the namespace.
    pub owner: String,
    /// Version of the persisted schema.
    pub schema: u32,
    /// True while the namespace is handed over to another engine.
    pub closed: bool,
}

impl Meta {
    /// A meta record as this version founds it.
    pub fn new(
        epoch: Epoch,
        instance: impl Into<String>,
        generation: impl Into<String>,
        owner: impl Into<String>,
    ) -> Self {
        let (instance, generation, owner) = (instance.into(), generation.into(), owner.into());
        Self { epoch, instance, generation, owner, schema: SCHEMA, closed: false }
    }

    /// From the fields in the order of [`keys::META_FIELDS`]; none when there is no epoch, which every founding writes.
    pub(crate) fn from_fields(key: &str, fields: &[Option<String>]) -> Result<Option<Self>, Fault> {
        let field = |at: usize| fields.get(at).cloned().flatten().unwrap_or_default();
        if fields.iter().all(|f| f.as_deref().unwrap_or_default().is_empty()) {
            return Ok(None);
        }
        let bad = |what: &str| Fault::Corrupt { key: key.to_owned(), detail: format!("field {what} is unreadable") };
        Ok(Some(Self {
            epoch: Epoch(field(0).parse().map_err(|_| bad("epoch"))?),
            instance: field(1),
            generation: field(2),
            owner: field(3),
            schema: field(4).parse().map_err(|_| bad("schema"))?,
            closed: field(5) == "1",
        }))
    }
}

/// What a look at an address found.
#[derive(Debug)]
pub enum Sighting {
    /// Redis or Valkey answers, and takes writes.
    There(Survey),
    /// Nothing listens there.
    Gone(Error),
    /// No answer in time, or the way is barred: nobody can tell for how long.
    Away(Error),
    /// It answers and takes no writes now: it loads, is full, is a replica, or something else in it is broken.
    Refusing(Error),
    /// Something answers, but not as it should: another kind of server, or a refused login. Waiting does not help.
    Unusable(Error),
}

/// Looks at a server and a namespace, and tells an absent server from an unusable one. It writes one small key, because a
/// server that answers may still take no writes.
///
/// # Errors
/// `Invalid` for a name that cannot be a namespace; `Corrupt` when the meta record is unreadable.
pub async fn look_for(url: &RedisUrl, namespace: &str, deadlines: Deadlines) -> Result<Sighting> {
    let (meta, probe) = (keys::meta(namespace)?, keys::probe(namespace)?);
    let look = async {
        let mut connection = open(url, None, deadlines).await?;
        let survey = look(url, &mut connection, &meta).await?;
        if survey.role == Role::Primary {
            let mut write = redis::cmd("SET");
            write.arg(&probe).arg(1).arg("PX").arg(PROBE_TTL.as_millis() as u64);
            call::<()>(&connection, &write, deadlines.connect).await?;
        }
        Ok(survey)
    };
    let found = match tokio::time::timeout(deadlines.connect, look).await {
        Ok(found) => found,
        Err(elapsed) => Err(Fault::Lost(format!("{url} did not answer in time"), Some(elapsed.into()))),
    };
    Ok(match found {
        Ok(survey) if survey.role == Role::Replica => {
            Sighting::Refusing(Error::unavailable(format!("{url} is a replica: use the address of the primary")))
        }
        Ok(survey) => Sighting::There(survey),
        Err(fault @ Fault::Corrupt { .. }) => return Err(fault.of_read(Epoch(0))),
        Err(fault) if fault.is_nobody() => Sighting::Gone(fault.of_read(Epoch(0))),
        Err(fault) if fault.is_absence() => Sighting::Away(fault.of_read(Epoch(0))),
        Err(fault) if fault.may_pass() => Sighting::Refusing(fault.of_read(Epoch(0))),
        Err(fault) => Sighting::Unusable(fault.of_read(Epoch(0))),
    })
}

/// Looks at a server and a namespace without changing anything.
///
/// # Errors
/// `Unavailable` when it cannot be reached or is no Redis 7.0 or Valkey.
pub async fn survey(url: &RedisUrl, namespace: &str, deadlines: Deadlines) -> Result<Survey> {
    let meta = keys::meta(namespace)?;
    let look = async {
        let mut connection = open(url, None, deadlines).await?;
        look(url, &mut connection, &meta).await
    };
    look.await.map_err(|fault| fault.of_read(Epoch(0)))
}

/// [`survey`] over an open connection.
pub(crate) async fn look(url: &RedisUrl, connection: &mut MultiplexedConnection, meta: &str) -> Result<Survey, Fault> {
    let mut pipe = redis::pipe();
    pipe.cmd("INFO").arg("server").arg("replication");
    pipe.cmd("HMGET").arg(meta).arg(&keys::META_FIELDS);
    let (info, fields): (String, Vec<Option<String>>) =
        pipe.query_async(connection).await.map_err(|error| match Fault::calling(error) {
            Fault::Corrupt { detail, .. } => Fault::Corrupt { key: meta.to_owned(), detail },
            other => other,
        })?;
    let info: HashMap<&str, &str> = info.lines().filter_map(|line| line.split_once(':')).collect();
    let fact = |name: &str| info.get(name).copied().unwrap_or_default().trim().to_owned();
    let (run_id, redis) = (fact("run_id"), fact("redis_version"));
    let major: u32 = redis.split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    if run_id.is_empty() || major < 7 {
        let found = if redis.is_empty() { "an unknown server".to_owned() } else { format!("version {redis}") };
        return Err(Fault::Unconnected(format!("{url} is {found}; Redis 7.0, Valkey, or newer is needed"), None));
    }
    let valkey = fact("valkey_version");
    Ok(Survey {
        run_id,
        role: if fact("role") == "master" { Role::Primary } else { Role::Replica },
        version: if valkey.is_empty() { format!("Redis {redis}") } else { format!("Valkey {valkey}") },
        meta: Meta::from_fields(meta, &fields)?,
    })
}

/// Founds a namespace when there is none, and returns the one that is there now: look whether it is yours.
///
/// # Errors
/// `Unavailable` when it did not happen, or when no answer came: asking again is harmless.
pub async fn found(url: &RedisUrl, namespace: &str, wanted: &Meta, deadlines: Deadlines) -> Result<Meta> {
    let arguments = [
        wanted.epoch.to_string(),
        wanted.instance.clone(),
        wanted.generation.clone(),
        wanted.owner.clone(),
        wanted.schema.to_string(),
    ];
    run(url, namespace, script::FOUND, &arguments, deadlines).await
}

/// Raises the epoch of a namespace to a higher one, and makes a generation the one that counts, when the namespace is
/// still as it was `seen`; returns what is there now.
///
/// # Errors
/// `Unavailable` when it did not happen, or when no answer came: asking again is harmless.
pub async fn raise(
    url: &RedisUrl,
    namespace: &str,
    seen: &Meta,
    to: Epoch,
    generation: &str,
    deadlines: Deadlines,
) -> Result<Meta> {
    let arguments = [seen.instance.clone(), seen.epoch.to_string(), to.to_string(), generation.to_owned()];
    run(url, namespace, script::RAISE, &arguments, deadlines).await
}

/// Lets no step run in a namespace any more, when it is empty or was left behind by this owner in an earlier epoch;
/// returns what is there now: look whether it is closed for this attempt.
///
/// # Errors
/// `Unavailable` when it did not happen, or when no answer came.
pub async fn close(url: &RedisUrl, namespace: &str, wanted: &Meta, attempt: u64, deadlines: Deadlines) -> Result<Meta> {
    let arguments = [
        wanted.epoch.to_string(),
        wanted.instance.clone(),
        wanted.owner.clone(),
        wanted.schema.to_string(),
        attempt.to_string(),
    ];
    run(url, namespace, script::CLOSE, &arguments, deadlines).await
}

/// Lets steps run on a generation, when the namespace is still closed by this attempt, the server still is this run, and
/// nothing of the generation was flushed since its [`Writeback`](crate::Writeback) was begun; returns what is there now: look
/// whether it is open.
///
/// # Errors
/// `Unavailable` when it did not happen, or when no answer came.
pub async fn reopen(
    url: &RedisUrl,
    namespace: &str,
    wanted: &Meta,
    attempt: u64,
    run_id: &str,
    deadlines: Deadlines,
) -> Result<Meta> {
    let arguments =
        [wanted.epoch.to_string(), attempt.to_string(), wanted.generation.clone(), run_id.to_owned(), BEGUN.to_owned()];
    let keys = Keys::new(namespace, &wanted.generation)?;
    run_on(url, &[keys.meta(), keys.hot()], script::OPEN, &arguments, deadlines).await
}

async fn run(
    url: &RedisUrl,
    namespace: &str,
    script: &str,
    arguments: &[String],
    deadlines: Deadlines,
) -> Result<Meta> {
    run_on(url, &[keys::meta(namespace)?], script, arguments, deadlines).await
}

/// Runs a script whose first key is the meta record, which it returns.
async fn run_on(
    url: &RedisUrl,
    keys: &[String],
    script: &str,
    arguments: &[String],
    deadlines: Deadlines,
) -> Result<Meta> {
    let meta = &keys[0];
    let exchange = async {
        let connection = open(url, None, deadlines).await?;
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
        let fields: Vec<Option<String>> = call(&connection, &command, deadlines.call).await?;
        Meta::from_fields(meta, &fields)
    };
    match exchange.await {
        Ok(Some(meta)) => Ok(meta),
        Ok(None) => Err(Error::unavailable(format!("{meta} does not exist on {url}"))),
        Err(fault) => Err(fault.of_read(Epoch(0))),
    }
}
