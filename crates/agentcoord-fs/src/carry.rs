//! The whole state out of the database and into it, for a switch of the engine.

use agentcoord_core::Result;
use agentcoord_core::machine::rows::Rows;
use agentcoord_core::op::Blob;
use agentcoord_core::snapshot::Snapshot;
use agentcoord_core::table::Table;
use rusqlite::{Transaction, TransactionBehavior};
use serde_bytes::ByteBuf;

use crate::database::{self, Synced};
use crate::error::Fault;
use crate::layout;
use crate::namespace::Namespace;
use crate::reads;
use crate::rows::SqliteRows;

impl Namespace {
    /// How many records are stored.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn records(&self) -> Result<usize> {
        let conn = self.reader();
        let count = |table: Table| conn.query_row(&layout::table(table).count, [], |row| row.get::<_, i64>(0));
        let counts: rusqlite::Result<Vec<i64>> = Table::ALL.into_iter().map(count).collect();
        let sum: i64 = counts.map_err(Fault::sqlite("count the records"))?.into_iter().sum();
        Ok(usize::try_from(sum).unwrap_or(0))
    }

    /// Everything that is stored, in one snapshot. The event log stays.
    ///
    /// # Errors
    /// `Corrupt` or `Unavailable`.
    pub fn carry_out(&self) -> Result<Snapshot> {
        let rows = reads::dump(&self.reader())?;
        let records =
            rows.records.into_iter().map(|((table, key), bytes)| (table, key, ByteBuf::from(bytes))).collect();
        let blobs = rows.blobs.into_iter().map(|(name, bytes)| (name, ByteBuf::from(bytes))).collect();
        Ok(Snapshot { state: rows.state, records, blobs })
    }

    /// Replaces everything that is stored, in one transaction. The caller holds the mode lock, and no engine serves.
    ///
    /// # Errors
    /// `Corrupt` when a record cannot be decoded, and then nothing was written; `Unavailable`.
    pub fn carry_in(&self, snapshot: Snapshot) -> Result<()> {
        let mut conn = database::connect(&self.files().database, Synced::EachCommit)?;
        let passage = self.turnstile().pass()?;
        let fault = || Fault::sqlite("carry the state in");
        let txn = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault())?;
        replace_all(&txn, snapshot)?;
        txn.commit().map_err(fault())?;
        drop(passage);
        Ok(())
    }
}

/// Replaces everything that is stored, in the caller's transaction.
pub(crate) fn replace_all(txn: &Transaction<'_>, mut snapshot: Snapshot) -> Result<()> {
    let derived = snapshot.derive()?;
    for table in Table::ALL {
        txn.execute(&layout::table(table).clear, []).map_err(Fault::sqlite("carry the state in"))?;
    }
    for sql in layout::CLEAR {
        txn.execute(sql, []).map_err(Fault::sqlite("carry the state in"))?;
    }
    let mut rows = SqliteRows::new(txn);
    for (table, key, record) in &snapshot.records {
        rows.put(*table, key, record)?;
    }
    for entry in &derived.entries {
        rows.enter(entry)?;
    }
    for (name, bytes) in snapshot.blobs {
        rows.put_blob(&Blob { name, bytes: bytes.into_vec() })?;
    }
    rows.set_state(&snapshot.state)?;
    rows.flush()
}
