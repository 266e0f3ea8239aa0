//! What was asked of Redis by processes that have ended before they heard the answer, and by callers that have given up:
//! settled, so that a packet that is still on its way does nothing, and no journal has to keep it.

use agentcoord_core::Result;
use agentcoord_core::ids::{Csn, Epoch};
use agentcoord_core::op::Actor;
use agentcoord_core::request::VoidRequest;
use agentcoord_fs::Journal;
use agentcoord_fs::journal::Orphan;

use crate::connection::Connection;

/// Settles the requests of all processes that have ended, and those of this process that nobody waits for. The keeper does
/// this now and then.
///
/// # Errors
/// The first failure; the others have their turn next time.
pub(crate) async fn settle(link: &Connection) -> Result<()> {
    settle_own(link).await?;
    let Some((epoch, journal)) = journal(link).await? else { return Ok(()) };
    let namespace = link.host().namespace();
    for mut orphaned in namespace.orphaned_journals(epoch, &journal) {
        let requests = orphaned.requests();
        if !requests.is_empty() {
            let csn = void_all(link, &requests).await?;
            orphaned.settled(&requests, csn)?;
        }
        orphaned.tidy(namespace.csn()?);
    }
    Ok(())
}

/// Settles what nobody waits for in the journal of this process, whether it was asked here or by the process that had the
/// slot before: what commands and sessions do for themselves.
///
/// # Errors
/// The first failure.
pub(crate) async fn settle_own(link: &Connection) -> Result<()> {
    // As a rule there is nothing, and then no engine is opened for it.
    if link.host().journal_if_open().is_none_or(|journal| journal.orphans().is_empty()) {
        return Ok(());
    }
    let Some((_, journal)) = journal(link).await? else { return Ok(()) };
    let orphans = journal.orphans();
    let csn = void_all(link, &orphans).await?;
    journal.settled(&orphans, csn)
}

/// The epoch that Redis serves in and this process' journal; none when nothing is kept.
async fn journal(link: &Connection) -> Result<Option<(Epoch, Journal)>> {
    let opened = link.opened().await?;
    let journal = opened.mirrored.as_ref().and_then(|_| link.host().journal_if_open());
    Ok(journal.map(|journal| (opened.epoch, journal)))
}

/// Voids what has not happened. How far the log goes then.
async fn void_all(link: &Connection, orphans: &[Orphan]) -> Result<Csn> {
    for orphan in orphans {
        void(link, orphan).await?;
    }
    Ok(link.store().await?.state().await?.csn)
}

async fn void(link: &Connection, orphan: &Orphan) -> Result<()> {
    let body = VoidRequest { client: orphan.client.clone(), request: orphan.request };
    let voided = link.run(&Actor::System, body).await?;
    tracing::debug!(client = %orphan.client, request = %orphan.request, voided.settled, "a request that nobody waits for");
    Ok(())
}
