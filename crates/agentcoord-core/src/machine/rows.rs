//! The row port: all that the rules need of a storage.

use crate::error::Result;
use crate::op::Blob;
use crate::record::{Event, State};
use crate::table::{Entry, Range, Table};

/// Rows within one transaction. Nothing written is visible to others before the caller commits.
pub trait Rows {
    /// The shared state; the default when there is none yet.
    fn state(&mut self) -> Result<State>;
    /// Writes the shared state.
    fn set_state(&mut self, state: &State) -> Result<()>;
    /// A record's bytes.
    fn get(&mut self, table: Table, key: &str) -> Result<Option<Vec<u8>>>;
    /// Writes a record.
    fn put(&mut self, table: Table, key: &str, record: &[u8]) -> Result<()>;
    /// Deletes a record, if it is there.
    fn delete(&mut self, table: Table, key: &str) -> Result<()>;
    /// Index entries in order, at most `limit`.
    fn scan(&mut self, range: &Range, limit: usize) -> Result<Vec<Entry>>;
    /// Adds an index entry.
    fn enter(&mut self, entry: &Entry) -> Result<()>;
    /// Removes an index entry.
    fn remove(&mut self, entry: &Entry) -> Result<()>;
    /// Stores a blob.
    fn put_blob(&mut self, blob: &Blob) -> Result<()>;
    /// Deletes a blob, if it is there.
    fn delete_blob(&mut self, name: &str) -> Result<()>;
    /// Appends an event; trims the window now and then.
    fn append(&mut self, event: &Event) -> Result<()>;
}
