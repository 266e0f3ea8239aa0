//! Sealing: the hashes of new entries, computed here, put beside them in the engine, and the last one kept outside of it.
//!
//! Nothing on the path of an append waits for this. The keeper seals within seconds; commands about the audit log seal
//! before they answer.

use agentcoord_core::audit::chain::Head;
use agentcoord_core::audit::verify::Stored;
use agentcoord_core::audit::{AuditLog, Extent, SealAudit};
use agentcoord_core::limits::SEAL_RUN;
use agentcoord_core::op::Actor;
use agentcoord_core::{Error, Result, Store};

use crate::connection::Connection;

/// Seals at most so many of the entries that are not sealed yet. How far the log and its seals go then.
///
/// # Errors
/// `Corrupt` when an entry or the last seal is gone; [`verify`](super::verify) says more.
pub async fn seal(connection: &Connection, most: u64) -> Result<Extent> {
    let store = connection.store().await?;
    let mut extent = store.extent().await?;
    let goal = extent.entries.min(extent.sealed.saturating_add(most));
    let mut head = None;
    while extent.sealed < goal {
        let from = match head {
            Some(head @ Head { seq, .. }) if seq == extent.sealed => head,
            _ => head_at(&store, extent.sealed).await?,
        };
        let run_ends = (extent.sealed / SEAL_RUN + 1) * SEAL_RUN;
        let (body, to) = seals(&store, from, goal.min(run_ends)).await?;
        let sealed = connection.run(&Actor::System, body).await?.sealed;
        if sealed <= extent.sealed {
            // The log is another one than a moment ago: whoever changed it seals it, or the next call does.
            break;
        }
        extent.sealed = sealed;
        // When somebody else has sealed further or less far, what they sealed is looked at again.
        head = Some(to);
    }
    keep(connection, &store, extent.sealed).await?;
    Ok(extent)
}

/// The head of the sealed part of the log.
///
/// # Errors
/// `Corrupt` when the last seal is gone.
pub async fn head(connection: &Connection) -> Result<Head> {
    let store = connection.store().await?;
    head_at(&store, store.extent().await?.sealed).await
}

/// The seals of the entries after a head.
async fn seals(store: &Store, from: Head, last: u64) -> Result<(SealAudit, Head)> {
    let (mut head, mut hashes) = (from, String::new());
    for place in store.inspect(from.seq + 1, last).await? {
        let Stored::Entry(record) = place.stored else {
            let source = Some("it cannot be sealed; `agentcoord audit verify` says more".into());
            return Err(Error::Corrupt { key: format!("audit/{}", place.seq), source });
        };
        head = head.then(record.at, &record.entry);
        hashes.push_str(&head.hash.to_string());
    }
    Ok((SealAudit { after: from.seq, hashes }, head))
}

/// The head at a sealed place.
async fn head_at(store: &Store, seq: u64) -> Result<Head> {
    if seq == 0 {
        return Ok(Head::START);
    }
    let seal = store.inspect(seq, seq).await?.pop().and_then(|place| place.seal);
    let hash = seal.ok_or_else(|| Error::Corrupt { key: format!("seal of audit/{seq}"), source: None })?;
    Ok(Head { seq, hash })
}

/// Keeps the head outside of the engine, if the log still is the one that was kept before.
async fn keep(connection: &Connection, store: &Store, sealed: u64) -> Result<()> {
    let namespace = connection.host().namespace();
    loop {
        let kept = namespace.kept_head()?;
        if sealed == 0 || kept.is_some_and(|kept| kept.seq >= sealed) {
            return Ok(());
        }
        if let Some(kept) = kept
            && head_at(store, kept.seq).await.ok() != Some(kept)
        {
            // The older head is the evidence.
            tracing::warn!(
                entry = kept.seq,
                "the audit log is not the one that was sealed: run `agentcoord audit verify`"
            );
            return Ok(());
        }
        if namespace.keep_head(kept, head_at(store, sealed).await?)? {
            return Ok(());
        }
    }
}
