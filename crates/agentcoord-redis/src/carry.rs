//! The whole state of a generation out of Redis, for files that lack it. The other way is `writeback`.
//!
//! SCAN is used here and in what sweeps, and nowhere on the path of an operation.

use agentcoord_core::ids::Epoch;
use agentcoord_core::op::decode;
use agentcoord_core::snapshot::Snapshot;
use agentcoord_core::{Error, Result};
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, Pipeline};
use serde_bytes::ByteBuf;

use crate::config::{Deadlines, RedisUrl};
use crate::connection::{call, in_time, open};
use crate::error::Fault;
use crate::keys::{Keys, STATE, Stored};

/// Keys looked at by one SCAN, and values carried by one pipeline.
const PAGE: usize = 100;

/// Everything that a generation holds. The event log stays. Nobody may write meanwhile: raise the epoch first.
///
/// # Errors
/// `Unavailable`; `Corrupt` when the shared state cannot be decoded.
pub async fn carry_out(url: &RedisUrl, namespace: &str, generation: &str, deadlines: Deadlines) -> Result<Snapshot> {
    let keys = Keys::new(namespace, generation)?;
    read_all(url, &keys, deadlines).await.map_err(|fault| fault.of_read(Epoch(0)))?.into_snapshot()
}

/// What was read, before it is decoded.
#[derive(Default)]
struct Raw {
    state: Option<Vec<u8>>,
    snapshot: Snapshot,
}

impl Raw {
    fn into_snapshot(mut self) -> Result<Snapshot> {
        if let Some(state) = self.state {
            self.snapshot.state = decode(&state, "shared state")?;
        } else if !self.snapshot.records.is_empty() {
            return Err(Error::Corrupt { key: "shared state".to_owned(), source: None });
        }
        Ok(self.snapshot)
    }
}

async fn read_all(url: &RedisUrl, keys: &Keys, deadlines: Deadlines) -> Result<Raw, Fault> {
    let connection = open(url, None, deadlines).await?;
    let mut raw = Raw::default();
    let mut hot = redis::pipe();
    hot.hgetall(keys.hot());
    let (fields,): (Vec<(String, Vec<u8>)>,) = send(&connection, &hot, deadlines).await?;
    for (field, bytes) in fields {
        match Keys::parse_field(&field) {
            Some((table, key)) => raw.snapshot.records.push((table, key, ByteBuf::from(bytes))),
            None if field == STATE => raw.state = Some(bytes),
            None => {}
        }
    }
    let mut cursor = Cursor::start(keys);
    while let Some(names) = cursor.next(&connection, deadlines).await? {
        let stored: Vec<(String, Stored)> =
            names.into_iter().filter_map(|name| keys.parse(&name).map(|stored| (name, stored))).collect();
        if stored.is_empty() {
            continue;
        }
        let mut pipe = redis::pipe();
        for (name, _) in &stored {
            pipe.get(name);
        }
        let values: Vec<Option<Vec<u8>>> = send(&connection, &pipe, deadlines).await?;
        for ((_, stored), bytes) in stored.into_iter().zip(values) {
            let Some(bytes) = bytes.map(ByteBuf::from) else { continue };
            match stored {
                Stored::Record(table, key) => raw.snapshot.records.push((table, key, bytes)),
                Stored::Blob(name) => raw.snapshot.blobs.push((name, bytes)),
            }
        }
    }
    // SCAN may name a key twice.
    raw.snapshot.records.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    raw.snapshot.records.dedup_by(|a, b| (a.0, &a.1) == (b.0, &b.1));
    raw.snapshot.blobs.sort_by(|a, b| a.0.cmp(&b.0));
    raw.snapshot.blobs.dedup_by(|a, b| a.0 == b.0);
    Ok(raw)
}

/// A walk over the keys of a generation.
pub(crate) struct Cursor {
    pattern: String,
    at: Option<u64>,
}

impl Cursor {
    fn start(keys: &Keys) -> Self {
        Self::over(keys.pattern())
    }

    /// A walk over all keys that fit a pattern.
    pub(crate) fn over(pattern: String) -> Self {
        Self { pattern, at: Some(0) }
    }

    /// The next names, perhaps none; `None` at the end.
    pub(crate) async fn next(
        &mut self,
        connection: &MultiplexedConnection,
        deadlines: Deadlines,
    ) -> Result<Option<Vec<String>>, Fault> {
        let Some(at) = self.at else { return Ok(None) };
        let mut command = redis::cmd("SCAN");
        command.arg(at).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(PAGE);
        let (next, names): (u64, Vec<String>) = call(connection, &command, deadlines.call).await?;
        self.at = (next != 0).then_some(next);
        Ok(Some(names))
    }
}

/// Sends a pipeline, which is as long as its page: it gets the time of two calls.
pub(crate) async fn send<T: FromRedisValue>(
    connection: &MultiplexedConnection,
    pipe: &Pipeline,
    deadlines: Deadlines,
) -> Result<T, Fault> {
    let mut connection = connection.clone();
    in_time(2 * deadlines.call, pipe.query_async(&mut connection)).await
}
