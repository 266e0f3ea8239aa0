//! Rules of the audit log: it grows.

use crate::audit::{AppendAudit, Appended, SealAudit, Sealed};
use crate::error::Policy;
use crate::limits::SEAL_RUN;
use crate::machine::rows::Rows;
use crate::machine::step::{Ruled, Step};
use crate::op::Actor;
use crate::record::{AuditRecord, SealRecord};

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
    let (seq, at) = (step.state.audit, step.wall);
    step.put(&seq.to_string(), &AuditRecord { entry, at })?;
    Ok(seq)
}

/// Takes seals when they go on where the last ones ended, and belong to entries that are there.
pub(super) fn seal<R: Rows>(step: &mut Step<'_, R>, body: SealAudit) -> Ruled<Sealed> {
    if matches!(step.call.actor, Actor::Session(_)) {
        return Err(Policy::SealedByNoAgent.into());
    }
    let upto = body.after + body.count();
    if body.after == step.state.sealed && upto <= step.state.audit {
        let key = (body.after / SEAL_RUN + 1).to_string();
        let mut seal = step.get::<SealRecord>(&key)?.unwrap_or(SealRecord { hashes: String::new() });
        seal.hashes.push_str(&body.hashes);
        step.put(&key, &seal)?;
        step.state.sealed = upto;
    }
    Ok(Sealed { sealed: step.state.sealed })
}
