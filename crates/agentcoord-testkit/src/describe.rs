//! Stored records in words, for comparing two engines.

use agentcoord_core::op::decode;
use agentcoord_core::record::{
    AgentRecord, AnnouncementRecord, ApprovalRecord, AuditRecord, ClientRecord, DependencyRecord, HandoverRecord,
    InboxRecord, KeyRecord, LinkRecord, LockRecord, LockTicketRecord, MessageRecord, PulseRecord, RingRecord,
    SealRecord, SessionRecord, SetbackRecord, TaskRecord, TaskTicketRecord, ThreadRecord,
};
use agentcoord_core::table::{Record, Table};

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
        Table::Setback => as_record::<SetbackRecord>(bytes),
        Table::Dependency => as_record::<DependencyRecord>(bytes),
        Table::Link => as_record::<LinkRecord>(bytes),
        Table::Announcement => as_record::<AnnouncementRecord>(bytes),
        Table::Thread => as_record::<ThreadRecord>(bytes),
        Table::Message => as_record::<MessageRecord>(bytes),
        Table::Approval => as_record::<ApprovalRecord>(bytes),
        Table::Audit => as_record::<AuditRecord>(bytes),
        Table::Seal => as_record::<SealRecord>(bytes),
        Table::Key => as_record::<KeyRecord>(bytes),
        Table::Client => as_record::<ClientRecord>(bytes),
        Table::Inbox => as_record::<InboxRecord>(bytes),
        Table::Ring => match decode::<RingRecord>(bytes, "ring") {
            Ok(slot) => format!("{} {} void={}", slot.request, slot.digest, slot.answer.is_empty()),
            Err(_) => format!("unreadable ring: {}", bytes.escape_ascii()),
        },
    }
}
