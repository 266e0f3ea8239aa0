//! Everything derived, computed again from the records: index entries and counters.

use std::collections::BTreeSet;

use agentcoord_core::error::Result;
use agentcoord_core::op::decode;
use agentcoord_core::record::{
    AgentRecord, ApprovalRecord, AuditRecord, ClientRecord, Counts, HandoverRecord, KeyRecord, LockRecord,
    LockTicketRecord, MessageRecord, PulseRecord, RingRecord, SessionRecord, TaskRecord, TaskTicketRecord,
    ThreadRecord,
};
use agentcoord_core::table::{Entry, Record, Table};

/// What the records imply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Derived {
    /// The index.
    pub entries: BTreeSet<Entry>,
    /// The counters.
    pub counts: Counts,
}

impl Derived {
    /// Adds what one stored record implies.
    pub fn add(&mut self, table: Table, key: &str, bytes: &[u8]) -> Result<()> {
        match table {
            Table::Agent => self.add_as::<AgentRecord>(key, bytes),
            Table::Session => self.add_as::<SessionRecord>(key, bytes),
            Table::Pulse => self.add_as::<PulseRecord>(key, bytes),
            Table::Lock => self.add_as::<LockRecord>(key, bytes),
            Table::LockTicket => self.add_as::<LockTicketRecord>(key, bytes),
            Table::Handover => self.add_as::<HandoverRecord>(key, bytes),
            Table::Task => self.add_as::<TaskRecord>(key, bytes),
            Table::TaskTicket => self.add_as::<TaskTicketRecord>(key, bytes),
            Table::Thread => self.add_as::<ThreadRecord>(key, bytes),
            Table::Message => self.add_as::<MessageRecord>(key, bytes),
            Table::Approval => self.add_as::<ApprovalRecord>(key, bytes),
            Table::Audit => self.add_as::<AuditRecord>(key, bytes),
            Table::Key => self.add_as::<KeyRecord>(key, bytes),
            Table::Client => self.add_as::<ClientRecord>(key, bytes),
            Table::Ring => self.add_as::<RingRecord>(key, bytes),
        }
    }

    fn add_as<T: Record>(&mut self, key: &str, bytes: &[u8]) -> Result<()> {
        let record: T = decode(bytes, T::TABLE.name())?;
        let mut entries = Vec::new();
        record.entries(key, &mut entries);
        self.entries.extend(entries);
        record.count(&mut self.counts, 1);
        Ok(())
    }
}

/// A stored record in words, whatever the order of its fields. A replay slot shows the answer only by its presence:
/// two dialects may encode one answer differently, and what it says is compared when the request is repeated.
pub fn describe(table: Table, bytes: &[u8]) -> String {
    fn as_record<T: Record>(bytes: &[u8]) -> String {
        match decode::<T>(bytes, T::TABLE.name()) {
            Ok(record) => format!("{record:?}"),
            Err(_) => format!("unreadable {}: {}", T::TABLE.name(), bytes.escape_ascii()),
        }
    }
    match table {
        Table::Agent => as_record::<AgentRecord>(bytes),
        Table::Session => as_record::<SessionRecord>(bytes),
        Table::Pulse => as_record::<PulseRecord>(bytes),
        Table::Lock => as_record::<LockRecord>(bytes),
        Table::LockTicket => as_record::<LockTicketRecord>(bytes),
        Table::Handover => as_record::<HandoverRecord>(bytes),
        Table::Task => as_record::<TaskRecord>(bytes),
        Table::TaskTicket => as_record::<TaskTicketRecord>(bytes),
        Table::Thread => as_record::<ThreadRecord>(bytes),
        Table::Message => as_record::<MessageRecord>(bytes),
        Table::Approval => as_record::<ApprovalRecord>(bytes),
        Table::Audit => as_record::<AuditRecord>(bytes),
        Table::Key => as_record::<KeyRecord>(bytes),
        Table::Client => as_record::<ClientRecord>(bytes),
        Table::Ring => match decode::<RingRecord>(bytes, "ring") {
            Ok(slot) => format!("{} {} void={}", slot.request, slot.digest, slot.answer.is_empty()),
            Err(_) => format!("unreadable ring: {}", bytes.escape_ascii()),
        },
    }
}
