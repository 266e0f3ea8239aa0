//! A state written back into Redis: pages of records into a generation that does not count, then what has changed
//! meanwhile, then the last of it while nobody serves.

use std::collections::{BTreeMap, BTreeSet};

use agentcoord_core::Result;
use agentcoord_core::ids::Epoch;
use agentcoord_core::op::encode_compact;
use agentcoord_core::record::Event;
use agentcoord_core::snapshot::entries_of;
use agentcoord_core::table::{Entry, Table};
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value};

use crate::carry::{Cursor, send};
use crate::config::{Deadlines, RedisUrl};
use crate::connection::{call, open};
use crate::error::Fault;
use crate::keys::{BEGUN, EVENT, Keys, STATE, all};

/// A record that has changed: its new form, or none.
pub type Change = (Table, String, Option<Vec<u8>>);

/// Writes into one generation of one namespace.
#[derive(Debug)]
pub struct Writeback {
    keys: Keys,
    namespace: String,
    connection: MultiplexedConnection,
    deadlines: Deadlines,
}

impl Writeback {
    /// Connects, and begins the generation, which must be one that nobody has used: what is written once here is gone when any
    /// of it was flushed, and then it is not opened.
    ///
    /// # Errors
    /// `Unavailable`; `Invalid` for a name that cannot be a namespace.
    pub async fn begin(url: &RedisUrl, namespace: &str, generation: u64, deadlines: Deadlines) -> Result<Self> {
        let keys = Keys::new(namespace, &generation.to_string())?;
        let connection = open(url, None, deadlines).await.map_err(|fault| fault.of_read(Epoch(0)))?;
        let writeback = Self { keys, namespace: namespace.to_owned(), connection, deadlines };
        let mut pipe = redis::pipe();
        pipe.hset(writeback.keys.hot(), BEGUN, 1).ignore();
        writeback.send(&pipe).await?;
        Ok(writeback)
    }

    /// Writes records that are not there yet.
    ///
    /// # Errors
    /// `Unavailable`; `Corrupt` for a record that cannot be decoded.
    pub async fn records(&self, table: Table, records: &[(String, Vec<u8>)]) -> Result<()> {
        let mut pipe = redis::pipe();
        let mut entered = Vec::new();
        for (key, bytes) in records {
            self.put(&mut pipe, table, key, bytes);
            entered.extend(entries_of(table, key, bytes)?);
        }
        self.enter(&mut pipe, &entered);
        self.send(&pipe).await
    }

    /// Writes what has become of records, whether they were there or not; the last change of a record counts.
    ///
    /// # Errors
    /// As [`Writeback::records`].
    pub async fn changes(&self, changes: &[Change]) -> Result<()> {
        let last: BTreeMap<(Table, &str), Option<&Vec<u8>>> =
            changes.iter().map(|(table, key, bytes)| ((*table, key.as_str()), bytes.as_ref())).collect();
        let mut reads = redis::pipe();
        for (table, key) in last.keys() {
            if table.is_hot() {
                reads.hget(self.keys.hot(), Keys::field(*table, key));
            } else {
                reads.get(self.keys.record(*table, key));
            }
        }
        let before: Vec<Option<Vec<u8>>> = if last.is_empty() {
            Vec::new()
        } else {
            send(&self.connection, &reads, self.deadlines).await.map_err(|fault| fault.of_read(Epoch(0)))?
        };
        let (mut pipe, mut entered, mut removed) = (redis::pipe(), BTreeSet::new(), BTreeSet::new());
        for (((table, key), after), before) in last.into_iter().zip(before) {
            if let Some(before) = before {
                removed.extend(entries_of(table, key, &before)?);
            }
            match after {
                Some(bytes) => {
                    self.put(&mut pipe, table, key, bytes);
                    entered.extend(entries_of(table, key, bytes)?);
                }
                None if table.is_hot() => {
                    pipe.hdel(self.keys.hot(), Keys::field(table, key)).ignore();
                }
                None => {
                    pipe.del(self.keys.record(table, key)).ignore();
                }
            }
        }
        let gone: Vec<&Entry> = removed.difference(&entered).collect();
        if !gone.is_empty() {
            pipe.cmd("ZREM")
                .arg(self.keys.index())
                .arg(gone.iter().map(|e| e.0.as_slice()).collect::<Vec<_>>())
                .ignore();
        }
        self.enter(&mut pipe, &entered.difference(&removed).cloned().collect::<Vec<_>>());
        self.send(&pipe).await
    }

    /// Writes texts.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn blobs(&self, blobs: &[(String, Vec<u8>)]) -> Result<()> {
        let mut pipe = redis::pipe();
        for (name, bytes) in blobs {
            pipe.set(self.keys.blob(name), bytes.as_slice()).ignore();
        }
        self.send(&pipe).await
    }

    /// Deletes texts.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn forget_blobs(&self, names: &[String]) -> Result<()> {
        let mut pipe = redis::pipe();
        for name in names {
            pipe.del(self.keys.blob(name)).ignore();
        }
        self.send(&pipe).await
    }

    /// Appends events to the log, for those who follow it. They need no state: the files have it.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn log(&self, events: &[Event]) -> Result<()> {
        let mut pipe = redis::pipe();
        for event in events {
            let bytes = encode_compact(event)?;
            pipe.cmd("XADD").arg(self.keys.events()).arg(format!("{}-0", event.csn)).arg(EVENT).arg(bytes).ignore();
        }
        self.send(&pipe).await
    }

    /// Writes the shared state, the last of all.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn state(&self, bytes: &[u8]) -> Result<()> {
        let mut pipe = redis::pipe();
        pipe.hset(self.keys.hot(), STATE, bytes).ignore();
        self.send(&pipe).await
    }

    /// Deletes all other generations of the namespace: what a switch has left behind, also one that was cut off. Stops when
    /// they may count again: `are_left_over` is asked after keys were found and before they are deleted.
    ///
    /// # Errors
    /// `Unavailable`: some of it may be left. Errors of `are_left_over`.
    pub async fn forget_others(&self, are_left_over: impl Fn() -> Result<bool>) -> Result<()> {
        self.sweep(all(&self.namespace)?, |key| self.keys.is_of_another_generation(key), are_left_over).await
    }

    /// Deletes what was written, which does not count and never will.
    ///
    /// # Errors
    /// `Unavailable`: some of it may be left.
    pub async fn forget(&self) -> Result<()> {
        self.sweep(self.keys.pattern(), |_| true, || Ok(true)).await
    }

    /// Deletes keys that fit a pattern and are meant, until they may not go any more.
    async fn sweep(
        &self,
        pattern: String,
        is_meant: impl Fn(&str) -> bool,
        may_go: impl Fn() -> Result<bool>,
    ) -> Result<()> {
        let error = |fault: Fault| fault.of_read(Epoch(0));
        let mut cursor = Cursor::over(pattern);
        while let Some(names) = cursor.next(&self.connection, self.deadlines).await.map_err(error)? {
            let meant: Vec<_> = names.into_iter().filter(|key| is_meant(key)).collect();
            if meant.is_empty() {
                continue;
            }
            if !may_go()? {
                break;
            }
            let mut command = redis::cmd("UNLINK");
            command.arg(meant);
            call::<()>(&self.connection, &command, self.deadlines.call).await.map_err(error)?;
        }
        Ok(())
    }

    fn put(&self, pipe: &mut Pipeline, table: Table, key: &str, bytes: &[u8]) {
        if table.is_hot() {
            pipe.hset(self.keys.hot(), Keys::field(table, key), bytes).ignore();
        } else {
            pipe.set(self.keys.record(table, key), bytes).ignore();
        }
    }

    fn enter(&self, pipe: &mut Pipeline, entries: &[Entry]) {
        if !entries.is_empty() {
            let members: Vec<(u8, &[u8])> = entries.iter().map(|entry| (0, entry.0.as_slice())).collect();
            pipe.zadd_multiple(self.keys.index(), &members).ignore();
        }
    }

    async fn send(&self, pipe: &Pipeline) -> Result<()> {
        if pipe.is_empty() {
            return Ok(());
        }
        let answer = send::<Value>(&self.connection, pipe, self.deadlines).await;
        answer.map(drop).map_err(|fault| fault.of_read(Epoch(0)))
    }
}
