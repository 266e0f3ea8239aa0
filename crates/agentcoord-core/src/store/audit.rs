//! The audit log on any engine.

use async_trait::async_trait;

use super::Store;
use crate::audit::{AppendAudit, Appended, AuditEntry, AuditLog};
use crate::error::{Error, Result};
use crate::op::Op;
use crate::record::AuditRecord;
use crate::task::Page;

#[async_trait]
impl AuditLog for Store {
    async fn append(&self, op: Op<AppendAudit>) -> Result<Appended> {
        self.run(&op).await
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Page<AuditEntry>> {
        let head = self.head().await?;
        let last = head.min(after.saturating_add(limit as u64));
        let numbers: Vec<u64> = (after + 1..=last).collect();
        let keys: Vec<String> = numbers.iter().map(u64::to_string).collect();
        let mut items = Vec::with_capacity(keys.len());
        for (seq, record) in numbers.into_iter().zip(self.get_all::<AuditRecord>(&keys).await?) {
            let missing = || Error::Corrupt { key: format!("audit/{seq}"), source: None };
            items.push(AuditEntry { seq, entry: record.ok_or_else(missing)?.entry });
        }
        Ok(Page { items, cursor: (last < head).then(|| last.to_string()) })
    }

    async fn head(&self) -> Result<u64> {
        Ok(self.engine.state().await?.0.audit)
    }
}
