//! Reads: each is one short transaction, and so one snapshot.

use agentcoord_core::Result;
use agentcoord_core::ids::Csn;
use agentcoord_core::memory::MemoryRows;
use agentcoord_core::op::decode;
use agentcoord_core::record::{Event, State};
use agentcoord_core::table::{Entry, Range, Table};
use rusqlite::{Connection, params};

use crate::error::Fault;
use crate::layout;
use crate::rows::{TOPIC_END, read_entries, read_one, read_state};

/// Runs a read in one snapshot.
pub(crate) fn snapshot<T>(conn: &Connection, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    let txn = conn.unchecked_transaction().map_err(Fault::sqlite("begin to read"))?;
    read(&txn)
}

pub(crate) fn fetch(conn: &Connection, table: Table, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
    let sql = &layout::table(table).get;
    snapshot(conn, |conn| keys.iter().map(|key| read_one(conn, sql, params![key])).collect())
}

pub(crate) fn blobs(conn: &Connection, names: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
    snapshot(conn, |conn| names.iter().map(|name| read_one(conn, layout::BLOB_GET, params![name])).collect())
}

pub(crate) fn scan(conn: &Connection, range: &Range, limit: usize) -> Result<Vec<Entry>> {
    read_entries(conn, range, limit)
}

pub(crate) fn state(conn: &Connection) -> Result<State> {
    read_state(conn)
}

pub(crate) fn events(conn: &Connection, after: Csn, limit: usize) -> Result<Vec<Event>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let encoded = column::<Vec<u8>>(conn, layout::EVENTS_AFTER, params![signed(after), limit])?;
    encoded.iter().map(|bytes| decode(bytes, "event")).collect()
}

/// What wakes after an event: the position now, and the topics, or none when some events are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) csn: Csn,
    pub(crate) topics: Option<Vec<String>>,
}

/// The first and the last event that are kept; zeros when there is none.
pub(crate) fn bounds(conn: &Connection) -> Result<(u64, u64)> {
    let (first, last): (Option<i64>, Option<i64>) = conn
        .prepare_cached(layout::EVENT_BOUNDS)
        .and_then(|mut s| s.query_row([], |row| Ok((row.get(0)?, row.get(1)?))))
        .map_err(Fault::sqlite("read the events"))?;
    let number = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    Ok((number(first), number(last)))
}

pub(crate) fn news(conn: &Connection, after: Csn) -> Result<News> {
    snapshot(conn, |conn| {
        let (first, last) = bounds(conn)?;
        let gone = last < after.0 || first > after.0 + 1;
        let topics = if gone {
            None
        } else {
            let lists = column::<String>(conn, layout::WAKES_AFTER, params![signed(after)])?;
            Some(lists.iter().flat_map(|list| list.split(TOPIC_END)).map(str::to_owned).collect())
        };
        Ok(News { csn: Csn(last), topics })
    })
}

/// Everything that is stored, in one snapshot.
pub(crate) fn dump(conn: &Connection) -> Result<MemoryRows> {
    snapshot(conn, |conn| {
        let mut rows = MemoryRows { state: read_state(conn)?, ..MemoryRows::default() };
        for table in Table::ALL {
            for (key, record) in pairs(conn, &layout::table(table).all)? {
                rows.records.insert((table, key), record);
            }
        }
        rows.entries = column::<Vec<u8>>(conn, layout::ENTRY_ALL, [])?.into_iter().map(Entry).collect();
        rows.blobs = pairs(conn, layout::BLOB_ALL)?.into_iter().collect();
        rows.events = events(conn, Csn(0), usize::MAX)?;
        Ok(rows)
    })
}

fn pairs(conn: &Connection, sql: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let found = conn.prepare_cached(sql).and_then(|mut s| {
        let pairs = s.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        pairs.collect::<rusqlite::Result<Vec<_>>>()
    });
    Ok(found.map_err(Fault::sqlite("read the store"))?)
}

fn column<T: rusqlite::types::FromSql>(conn: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<Vec<T>> {
    let found = conn.prepare_cached(sql).and_then(|mut s| {
        let values = s.query_map(params, |row| row.get(0))?;
        values.collect::<rusqlite::Result<Vec<T>>>()
    });
    Ok(found.map_err(Fault::sqlite("read the store"))?)
}

fn signed(csn: Csn) -> i64 {
    i64::try_from(csn.0).unwrap_or(i64::MAX)
}
