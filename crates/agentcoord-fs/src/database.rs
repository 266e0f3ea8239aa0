//! Connections to the database, all with the same settings.

use std::path::Path;
use std::time::Duration;

use agentcoord_core::{Error, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::Fault;

/// Older versions can corrupt a write-ahead log that many processes use at once.
const OLDEST_SQLITE: i32 = 3_051_003;
/// Statements kept compiled per connection: three a table and some more.
const STATEMENTS: usize = 80;
/// For programs that do not pass the turnstile: a checkpoint, or the sqlite3 shell.
const BUSY: Duration = Duration::from_secs(10);

/// When commits reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Synced {
    /// At checkpoints: a commit survives kill -9 of any process, not a power cut.
    AtCheckpoints,
    /// Before the commit returns.
    EachCommit,
}

/// A connection that may write.
pub(crate) fn connect(path: &Path, synced: Synced) -> Result<Connection> {
    let conn = open(path)?;
    let level = match synced {
        Synced::AtCheckpoints => "NORMAL",
        Synced::EachCommit => "FULL",
    };
    conn.pragma_update(None, "synchronous", level).map_err(Fault::sqlite("set up the database"))?;
    Ok(conn)
}

/// A connection that only reads. It is not opened read-only, because readers share the write-ahead log's index.
pub(crate) fn connect_reader(path: &Path) -> Result<Connection> {
    let conn = open(path)?;
    read_only(&conn)?;
    Ok(conn)
}

/// Refuses writes on a connection from here on.
pub(crate) fn read_only(conn: &Connection) -> Result<()> {
    Ok(conn.pragma_update(None, "query_only", true).map_err(Fault::sqlite("set up the database"))?)
}

fn open(path: &Path) -> Result<Connection> {
    let version = rusqlite::version_number();
    if version < OLDEST_SQLITE {
        let reason = format!("this program is linked with SQLite {}, 3.51.3 or newer is needed", rusqlite::version());
        return Err(Error::Backend { reason, source: None });
    }
    // No mutex in SQLite: a connection is used by one thread at a time here.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let set_up = || {
        let conn = Connection::open_with_flags(path, flags)?;
        // One-shot commands are often alone: each would write the log back and delete it, for the next to make it anew.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        conn.busy_timeout(BUSY)?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS);
        conn.execute_batch(
            "PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864; \
             PRAGMA wal_autocheckpoint = 1000; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
        )?;
        Ok(conn)
    };
    Ok(set_up().map_err(Fault::sqlite("open the database"))?)
}
