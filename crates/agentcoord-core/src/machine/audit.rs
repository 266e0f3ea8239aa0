//! Rules of the audit log: it grows.

use crate::audit::{AppendAudit, Appended};
use crate::machine::rows::Rows;
use crate::machine::step::{Ruled, Step};
use crate::op::Actor;
use crate::record::AuditRecord;

pub(super) fn append<R: Rows>(step: &mut Step<'_, R>, body: AppendAudit) -> Ruled<Appended> {
    if matches!(step.call.actor, Actor::Session(_)) {
        step.acting()?;
    }
    let seq = record(step, body.entry)?;
    Ok(Appended { seq })
}

/// Appends an entry in the step of another verb.
pub(super) fn record<R: Rows>(step: &mut Step<'_, R>, entry: String) -> Ruled<u64> {
    step.state.audit += 1;
    let seq = step.state.audit;
    step.put(&seq.to_string(), &AuditRecord { entry })?;
    Ok(seq)
}
