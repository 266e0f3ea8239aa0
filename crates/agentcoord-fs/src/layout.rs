//! Where everything lives: the names of files and of SQL tables. No other file of this crate names one.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use agentcoord_core::ids::Id;
use agentcoord_core::table::Table;
use agentcoord_core::{Error, Result};

/// Longest name of a namespace.
const NAMESPACE_BYTES: usize = 64;

/// How the names of directories begin that are being deleted.
const DOOMED: &str = ".purged-";

/// The name of the state directory's own namespace.
pub(crate) fn own_namespace(state_dir: &Path) -> PathBuf {
    state_dir.join("namespace")
}

/// The host id, in the state directory.
pub(crate) fn host(state_dir: &Path) -> PathBuf {
    state_dir.join("host")
}

/// The next content of a file, before it is renamed over the file.
pub(crate) fn draft(path: &Path) -> PathBuf {
    path.with_extension(format!("draft-{}", std::process::id()))
}

/// The directory of all namespaces.
pub(crate) fn namespaces(state_dir: &Path) -> PathBuf {
    state_dir.join("namespaces")
}

/// The directory of a namespace.
pub(crate) fn namespace(state_dir: &Path, name: &str) -> Result<PathBuf> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > NAMESPACE_BYTES || name.starts_with('.') || !name.bytes().all(legal) {
        return Err(Error::invalid(
            "namespace",
            name,
            "1 to 64 letters, digits, `.`, `_` or `-`, not beginning with `.`",
        ));
    }
    Ok(namespaces(state_dir).join(name))
}

/// Where the directory of a namespace goes that is deleted. No namespace has such a name.
pub(crate) fn doomed(namespace: &Path, id: &Id) -> PathBuf {
    namespace.with_file_name(format!("{DOOMED}{id}"))
}

/// Whether a path is one of [`doomed`].
pub(crate) fn is_doomed(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(DOOMED))
}

/// The files of one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The SQLite database.
    pub(crate) database: PathBuf,
    /// The mode word, 8 bytes.
    pub(crate) mode: PathBuf,
    /// Held while the mode changes.
    pub(crate) mode_lock: PathBuf,
    /// First lock of the turnstile: those who wait to write.
    pub(crate) queue_lock: PathBuf,
    /// Second lock of the turnstile: the one that writes.
    pub(crate) writer_lock: PathBuf,
    /// Held by the process that is the keeper.
    pub(crate) keeper_lock: PathBuf,
    /// One file per session of a process, held while that process lives.
    pub(crate) sessions: PathBuf,
    /// Written after a commit that concerns waiters.
    pub(crate) bell: PathBuf,
    /// The last head of the audit log that was sealed from here.
    pub(crate) audit_head: PathBuf,
    /// Locked by those who follow the log of events, and written after every commit while it is locked.
    pub(crate) feed: PathBuf,
    /// What processes have been told by Redis, each in a slot of two files.
    pub(crate) journals: PathBuf,
    /// How far journals and replica go.
    pub(crate) extent: PathBuf,
}

impl Files {
    pub(crate) fn of(namespace: &Path) -> Self {
        let file = |name: &str| namespace.join(name);
        Self {
            database: file("agentcoord.db"),
            mode: file("mode"),
            mode_lock: file("mode.lock"),
            queue_lock: file("queue.lock"),
            writer_lock: file("writer.lock"),
            keeper_lock: file("keeper.lock"),
            sessions: file("sessions"),
            bell: file("bell"),
            audit_head: file("audit.head"),
            feed: file("feed"),
            journals: file("journals"),
            extent: file("extent"),
        }
    }

    /// The two files of a slot for a journal.
    pub(crate) fn journal(&self, slot: usize) -> [PathBuf; 2] {
        ["a", "b"].map(|half| self.journals.join(format!("{slot}.{half}")))
    }
}

/// The statements over the table of one kind of record.
#[derive(Debug)]
pub(crate) struct TableSql {
    pub(crate) create: String,
    pub(crate) get: String,
    pub(crate) put: String,
    pub(crate) delete: String,
    pub(crate) all: String,
    pub(crate) page: String,
    pub(crate) count: String,
    pub(crate) clear: String,
}

/// The statements of a record table. The SQL table has the name that core gives the table.
pub(crate) fn table(table: Table) -> &'static TableSql {
    static ALL: OnceLock<Vec<TableSql>> = OnceLock::new();
    let all = ALL.get_or_init(|| Table::ALL.into_iter().map(table_sql).collect());
    // `Table::ALL` is in the order of the declaration, which a test checks.
    &all[table as usize]
}

fn table_sql(table: Table) -> TableSql {
    let name = table.name();
    TableSql {
        create: format!("CREATE TABLE \"{name}\" (key TEXT NOT NULL PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID"),
        get: format!("SELECT record FROM \"{name}\" WHERE key = ?1"),
        put: format!(
            "INSERT INTO \"{name}\" (key, record) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET record = ?2"
        ),
        delete: format!("DELETE FROM \"{name}\" WHERE key = ?1"),
        all: format!("SELECT key, record FROM \"{name}\" ORDER BY key"),
        page: format!("SELECT key, record FROM \"{name}\" WHERE key > ?1 ORDER BY key LIMIT ?2"),
        count: format!("SELECT count(*) FROM \"{name}\""),
        clear: format!("DELETE FROM \"{name}\""),
    }
}

/// The tables beside the record tables.
pub(crate) const CREATE: [&str; 5] = [
    "CREATE TABLE entry (entry BLOB NOT NULL PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), state BLOB NOT NULL)",
    "CREATE TABLE blob (name TEXT NOT NULL PRIMARY KEY, bytes BLOB NOT NULL)",
    "CREATE TABLE event (csn INTEGER PRIMARY KEY, wakes TEXT, event BLOB NOT NULL)",
    "CREATE TABLE mode (one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL, engine TEXT NOT NULL, \
     phase TEXT NOT NULL, attempt INTEGER NOT NULL, complainant TEXT, reason TEXT, run_id TEXT, instance TEXT, \
     generation INTEGER NOT NULL, replica_complete INTEGER NOT NULL, right_to_take_over INTEGER NOT NULL, owner TEXT)",
];

/// What empties the tables beside the record tables; the mode stays.
pub(crate) const CLEAR: [&str; 4] = ["DELETE FROM entry", "DELETE FROM state", "DELETE FROM blob", "DELETE FROM event"];

pub(crate) const ENTRY_SCAN: &str = "SELECT entry FROM entry WHERE entry >= ?1 AND entry < ?2 ORDER BY entry LIMIT ?3";
pub(crate) const ENTRY_ALL: &str = "SELECT entry FROM entry ORDER BY entry";
pub(crate) const ENTRY_PUT: &str = "INSERT OR IGNORE INTO entry (entry) VALUES (?1)";
pub(crate) const ENTRY_DELETE: &str = "DELETE FROM entry WHERE entry = ?1";

pub(crate) const STATE_GET: &str = "SELECT state FROM state WHERE one = 1";
pub(crate) const STATE_PUT: &str =
    "INSERT INTO state (one, state) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET state = ?1";

pub(crate) const BLOB_GET: &str = "SELECT bytes FROM blob WHERE name = ?1";
/// Blobs never change: the first one stays.
pub(crate) const BLOB_PUT: &str = "INSERT OR IGNORE INTO blob (name, bytes) VALUES (?1, ?2)";
pub(crate) const BLOB_DELETE: &str = "DELETE FROM blob WHERE name = ?1";
pub(crate) const BLOB_PAGE: &str = "SELECT name, bytes FROM blob WHERE name > ?1 ORDER BY name LIMIT ?2";
pub(crate) const BLOB_ALL: &str = "SELECT name, bytes FROM blob ORDER BY name";

pub(crate) const EVENT_PUT: &str = "INSERT INTO event (csn, wakes, event) VALUES (?1, ?2, ?3)";
pub(crate) const EVENT_TRIM: &str = "DELETE FROM event WHERE csn <= ?1";
pub(crate) const EVENTS_AFTER: &str = "SELECT event FROM event WHERE csn > ?1 ORDER BY csn LIMIT ?2";
pub(crate) const EVENT_BOUNDS: &str = "SELECT (SELECT min(csn) FROM event), (SELECT max(csn) FROM event)";
pub(crate) const WAKES_AFTER: &str = "SELECT wakes FROM event WHERE csn > ?1 AND wakes IS NOT NULL ORDER BY csn";

pub(crate) const MODE_GET: &str = "SELECT epoch, engine, phase, attempt, complainant, reason, run_id, instance, \
     generation, replica_complete, right_to_take_over, owner FROM mode WHERE one = 1";
pub(crate) const MODE_PUT: &str = "INSERT OR REPLACE INTO mode (one, epoch, engine, phase, attempt, complainant, \
     reason, run_id, instance, generation, replica_complete, right_to_take_over, owner) \
     VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_its_own_statements() {
        for t in Table::ALL {
            assert!(table(t).get.contains(&format!("\"{}\"", t.name())));
        }
    }

    #[test]
    fn namespace_names_cannot_leave_the_state_directory() {
        let dir = Path::new("/s");
        for bad in ["", ".", "..", ".hidden", "a/b", "a\0b", "ä", "a b", &"x".repeat(65)] {
            assert!(namespace(dir, bad).is_err(), "{bad:?}");
        }
        for good in ["a", "my-project_2.x", &"x".repeat(64)] {
            assert!(namespace(dir, good).is_ok(), "{good:?}");
        }
    }
}
