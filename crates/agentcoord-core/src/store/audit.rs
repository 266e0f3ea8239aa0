//! The audit log on any engine.

use async_trait::async_trait;

use super::Store;
use crate::audit::chain::{HASH_DIGITS, Hash};
use crate::audit::verify::{Place, Stored};
use crate::audit::{AppendAudit, Appended, AuditEntry, AuditLog, Extent, SealAudit, Sealed};
use crate::error::{Error, Result};
use crate::limits::SEAL_RUN;
use crate::op::{Op, decode};
use crate::record::{AuditRecord, SealRecord};
use crate::table::Table;
use crate::task::Page;

#[async_trait]
impl AuditLog for Store {
    async fn append(&self, op: Op<AppendAudit>) -> Result<Appended> {
        self.run(&op).await
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Page<AuditEntry>> {
        let head = self.extent().await?.entries;
        let last = head.min(after.saturating_add(limit as u64));
        let numbers: Vec<u64> = (after + 1..=last).collect();
        let keys: Vec<String> = numbers.iter().map(u64::to_string).collect();
        let mut items = Vec::with_capacity(keys.len());
        for (seq, record) in numbers.into_iter().zip(self.get_all::<AuditRecord>(&keys).await?) {
            let missing = || Error::Corrupt { key: format!("audit/{seq}"), source: None };
            let AuditRecord { entry, at } = record.ok_or_else(missing)?;
            items.push(AuditEntry { seq, at, entry });
        }
        Ok(Page { items, cursor: (last < head).then(|| last.to_string()) })
    }

    async fn extent(&self) -> Result<Extent> {
        let (state, _) = self.engine.state().await?;
        Ok(Extent { entries: state.audit, sealed: state.sealed })
    }

    async fn seal(&self, op: Op<SealAudit>) -> Result<Sealed> {
        self.run(&op).await
    }

    async fn inspect(&self, first: u64, last: u64) -> Result<Vec<Place>> {
        let first = first.max(1);
        if last < first {
            return Ok(Vec::new());
        }
        let keys = |from: u64, to: u64| (from..=to).map(|n| n.to_string()).collect::<Vec<_>>();
        let first_run = run_of(first);
        let seals = self.engine.fetch(Table::Seal, &keys(first_run, run_of(last))).await?;
        let runs: Vec<String> = seals.into_iter().map(|record| hashes(record).unwrap_or_default()).collect();
        let seal = |seq: u64| {
            let run = usize::try_from(run_of(seq) - first_run).ok()?;
            let at = usize::try_from((seq - 1) % SEAL_RUN).ok()? * HASH_DIGITS;
            runs.get(run)?.get(at..at + HASH_DIGITS)?.parse::<Hash>().ok()
        };
        let entries = self.engine.fetch(Table::Audit, &keys(first, last)).await?;
        let place = |(seq, record): (u64, Option<Vec<u8>>)| {
            let stored = match record.map(|bytes| decode::<AuditRecord>(&bytes, "audit")) {
                None => Stored::Nothing,
                Some(Ok(record)) => Stored::Entry(record),
                Some(Err(_)) => Stored::Unreadable,
            };
            Place { seq, stored, seal: seal(seq) }
        };
        Ok((first..=last).zip(entries).map(place).collect())
    }
}

/// The run of an entry.
fn run_of(seq: u64) -> u64 {
    (seq - 1) / SEAL_RUN + 1
}

/// The hashes of a seal record; none when it is not there or unreadable.
fn hashes(record: Option<Vec<u8>>) -> Option<String> {
    decode::<SealRecord>(&record?, "seal").ok().map(|seal| seal.hashes)
}
