//! The whole state of a namespace as data: to carry it to another engine, and to rebuild what is derived.
//!
//! Only primary records travel. Index entries and counters are derived from them on arrival, so a carried state cannot
//! bring a wrong index along.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::op::decode;
use crate::record::{Counts, NEVER, State, with_all_records};
use crate::table::{Entry, Record, Table};

/// Every primary record of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The shared state; its derived fields are recomputed by [`Snapshot::derive`].
    pub state: State,
    /// Encoded records: table, key, bytes.
    pub records: Vec<(Table, String, serde_bytes::ByteBuf)>,
    /// Blobs: name, bytes.
    pub blobs: Vec<(String, serde_bytes::ByteBuf)>,
}

/// What is derived from records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Derived {
    /// All index entries.
    pub entries: BTreeSet<Entry>,
    /// All counters.
    pub counts: Counts,
}

impl Derived {
    /// Adds what one record derives.
    ///
    /// # Errors
    /// `Corrupt` when the record cannot be decoded.
    pub fn add(&mut self, table: Table, key: &str, record: &[u8]) -> Result<()> {
        let mut entries = Vec::new();
        derive(table, key, record, &mut entries, &mut self.counts)?;
        self.entries.extend(entries);
        Ok(())
    }
}

/// The index entries of one record.
///
/// # Errors
/// `Corrupt` when the record cannot be decoded.
pub fn entries_of(table: Table, key: &str, record: &[u8]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    derive(table, key, record, &mut entries, &mut Counts::default())?;
    Ok(entries)
}

/// What one record derives.
fn derive(table: Table, key: &str, record: &[u8], entries: &mut Vec<Entry>, counts: &mut Counts) -> Result<()> {
    macro_rules! by_table {
        ($($record:ty),+ $(,)?) => {
            match table {
                $(<$record as Record>::TABLE => {
                    let record = decode::<$record>(record, table.name())?;
                    record.entries(key, entries);
                    record.count(counts, 1);
                })+
            }
        };
    }
    with_all_records!(by_table);
    Ok(())
}

impl Snapshot {
    /// Index entries and counters of all records; sets the derived fields of the state to match.
    ///
    /// # Errors
    /// `Corrupt` when a record cannot be decoded.
    pub fn derive(&mut self) -> Result<Derived> {
        let mut derived = Derived::default();
        for (table, key, record) in &self.records {
            derived.add(*table, key, record)?;
        }
        self.state.counts = derived.counts.clone();
        let first = |index: &str| {
            let entry = derived.entries.iter().find(|e| e.parts().first() == Some(&index));
            entry.and_then(|e| e.parts().get(1)?.parse().ok()).unwrap_or(NEVER)
        };
        self.state.next_due = first("due");
        self.state.next_calendar = first("cal");
        Ok(derived)
    }
}
