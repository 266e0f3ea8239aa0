//! Creates the tables, and refuses databases of a newer version.

use agentcoord_core::record::SCHEMA;
use agentcoord_core::table::Table;
use agentcoord_core::{Error, Result};
use rusqlite::{Connection, TransactionBehavior};

use crate::database::{self, Synced};
use crate::error::Fault;
use crate::gate::Gate;
use crate::layout::{self, Files};

/// Marks the file as ours (`AgCo`), for people who look at it with other tools.
const APPLICATION_ID: i32 = 0x4167_436F;

/// Opens the database for reads; creates it first when it is new.
pub(crate) fn open(files: &Files, mode_gate: &Gate) -> Result<Connection> {
    let conn = database::connect_reader(&files.database)?;
    if version(&conn)? == 0 {
        create(files, mode_gate)?;
    }
    match version(&conn)? {
        SCHEMA => Ok(conn),
        newer if newer > SCHEMA => Err(Error::Refused {
            policy: "newer_schema",
            reason: format!(
                "a newer version wrote this store (schema {newer}, this one knows {SCHEMA}): upgrade agentcoord"
            ),
        }),
        other => Err(Error::Corrupt { key: format!("database (schema {other})"), source: None }),
    }
}

fn version(conn: &Connection) -> Result<u32> {
    let version: i64 =
        conn.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(Fault::sqlite("open the database"))?;
    Ok(u32::try_from(version).unwrap_or(u32::MAX))
}

fn create(files: &Files, mode_gate: &Gate) -> Result<()> {
    // Changing the journal mode does not wait for others as transactions do, so processes that start together queue here.
    let _passage = mode_gate.pass()?;
    let mut conn = database::connect(&files.database, Synced::EachCommit)?;
    if version(&conn)? != 0 {
        return Ok(());
    }
    let made = (|| {
        let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            return Ok(Some(mode));
        }
        let txn = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for table in Table::ALL {
            txn.execute_batch(&layout::table(table).create)?;
        }
        for sql in layout::CREATE {
            txn.execute_batch(sql)?;
        }
        txn.pragma_update(None, "application_id", APPLICATION_ID)?;
        txn.pragma_update(None, "user_version", SCHEMA)?;
        txn.commit()?;
        Ok(None)
    })();
    match made.map_err(Fault::sqlite("create the database"))? {
        None => Ok(()),
        Some(mode) => Err(Error::Backend {
            reason: format!(
                "this file system does not carry a write-ahead log (journal mode {mode}); use another state directory"
            ),
            source: None,
        }),
    }
}
