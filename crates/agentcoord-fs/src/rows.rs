//! The row port over a SQLite transaction.

use agentcoord_core::machine::rows::Rows;
use agentcoord_core::op::{Blob, decode, encode_compact};
use agentcoord_core::record::{Event, State};
use agentcoord_core::table::{Entry, Range, Table};
use agentcoord_core::{Result, limits};
use rusqlite::{Connection, OptionalExtension, Params, params};

use crate::error::Fault;
use crate::layout;

/// Old events are deleted at every so many new ones.
const TRIM_EVERY: u64 = 256;
/// Between the topics of an event; no topic contains it.
pub(crate) const TOPIC_END: char = '\n';

/// Rows within a transaction that somebody else begins and commits.
///
/// The shared state is read once and written once, by [`SqliteRows::flush`]: a write transaction sees nobody else's.
#[derive(Debug)]
pub(crate) struct SqliteRows<'c> {
    conn: &'c Connection,
    state: Option<State>,
    stored: Option<State>,
}

impl<'c> SqliteRows<'c> {
    pub(crate) fn new(conn: &'c Connection) -> Self {
        Self { conn, state: None, stored: None }
    }

    /// The shared state as it is now, to go back to by [`SqliteRows::restore`].
    pub(crate) fn save(&self) -> Option<State> {
        self.state.clone()
    }

    pub(crate) fn restore(&mut self, saved: Option<State>) {
        self.state = saved;
    }

    /// Writes what is kept back. To be called before the commit.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if let Some(state) = &self.state
            && self.state != self.stored
        {
            self.execute(layout::STATE_PUT, params![encode_compact(state)?], "write the state")?;
            self.stored.clone_from(&self.state);
        }
        Ok(())
    }

    fn execute(&self, sql: &str, params: impl Params, doing: &'static str) -> Result<()> {
        let done = self.conn.prepare_cached(sql).and_then(|mut s| s.execute(params));
        done.map_err(Fault::sqlite(doing))?;
        Ok(())
    }
}

pub(crate) fn read_state(conn: &Connection) -> Result<State> {
    let bytes = read_one(conn, layout::STATE_GET, params![])?;
    bytes.map_or_else(|| Ok(State::default()), |b| decode(&b, "state"))
}

pub(crate) fn read_one(conn: &Connection, sql: &str, params: impl Params) -> Result<Option<Vec<u8>>> {
    let found = conn.prepare_cached(sql).and_then(|mut s| s.query_row(params, |row| row.get(0)).optional());
    Ok(found.map_err(Fault::sqlite("read a record"))?)
}

pub(crate) fn read_entries(conn: &Connection, range: &Range, limit: usize) -> Result<Vec<Entry>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = conn.prepare_cached(layout::ENTRY_SCAN).and_then(|mut s| {
        let entries = s.query_map(params![range.from, range.to, limit], |row| row.get(0).map(Entry))?;
        entries.collect::<rusqlite::Result<Vec<_>>>()
    });
    Ok(found.map_err(Fault::sqlite("read the index"))?)
}

impl Rows for SqliteRows<'_> {
    fn state(&mut self) -> Result<State> {
        if let Some(state) = &self.state {
            return Ok(state.clone());
        }
        let state = read_state(self.conn)?;
        self.stored = Some(state.clone());
        self.state = Some(state.clone());
        Ok(state)
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        self.state = Some(state.clone());
        Ok(())
    }

    fn get(&mut self, table: Table, key: &str) -> Result<Option<Vec<u8>>> {
        read_one(self.conn, &layout::table(table).get, params![key])
    }

    fn put(&mut self, table: Table, key: &str, record: &[u8]) -> Result<()> {
        self.execute(&layout::table(table).put, params![key, record], "write a record")
    }

    fn delete(&mut self, table: Table, key: &str) -> Result<()> {
        self.execute(&layout::table(table).delete, params![key], "delete a record")
    }

    fn scan(&mut self, range: &Range, limit: usize) -> Result<Vec<Entry>> {
        read_entries(self.conn, range, limit)
    }

    fn enter(&mut self, entry: &Entry) -> Result<()> {
        self.execute(layout::ENTRY_PUT, params![entry.0], "write the index")
    }

    fn remove(&mut self, entry: &Entry) -> Result<()> {
        self.execute(layout::ENTRY_DELETE, params![entry.0], "write the index")
    }

    fn put_blob(&mut self, blob: &Blob) -> Result<()> {
        self.execute(layout::BLOB_PUT, params![blob.name, blob.bytes], "write a text")
    }

    fn delete_blob(&mut self, name: &str) -> Result<()> {
        self.execute(layout::BLOB_DELETE, params![name], "delete a text")
    }

    fn append(&mut self, event: &Event) -> Result<()> {
        let wakes = (!event.wakes.is_empty()).then(|| event.wakes.join(&TOPIC_END.to_string()));
        let csn = i64::try_from(event.csn.0).unwrap_or(i64::MAX);
        self.execute(layout::EVENT_PUT, params![csn, wakes, encode_compact(event)?], "append an event")?;
        if event.csn.0.is_multiple_of(TRIM_EVERY) && event.csn.0 > limits::EVENT_WINDOW {
            let last = i64::try_from(event.csn.0 - limits::EVENT_WINDOW).unwrap_or(0);
            self.execute(layout::EVENT_TRIM, params![last], "trim the events")?;
        }
        Ok(())
    }
}
