//! What processes have asked of Redis and ended before they heard the answer: settled, so that a packet of theirs that is
//! still on its way does nothing.

use agentcoord_core::Result;
use agentcoord_core::op::Actor;
use agentcoord_core::request::VoidRequest;
use agentcoord_fs::journal::Orphan;

use crate::connection::Connection;

/// Settles the requests of all processes that have ended, also of the one that had this process' slot before. The keeper
/// does this now and then.
///
/// # Errors
/// The first failure; the others have their turn next time.
pub(crate) async fn settle(link: &Connection) -> Result<()> {
    settle_predecessor(link).await?;
    let opened = link.opened().await?;
    let (Some(_), Some(journal)) = (&opened.mirrored, link.host().journal_if_open()) else { return Ok(()) };
    for orphaned in link.host().namespace().orphaned_journals(opened.epoch, &journal) {
        for orphan in orphaned.requests() {
            void(link, &orphan).await?;
        }
        let csn = opened.store.engine().state().await?.0.csn;
        orphaned.settled(csn, link.host().namespace().csn()?);
    }
    Ok(())
}

/// Settles what the process that had this process' slot before has asked: a command's share.
///
/// # Errors
/// The first failure.
pub(crate) async fn settle_predecessor(link: &Connection) -> Result<()> {
    let Some(journal) = link.host().journal_if_open() else { return Ok(()) };
    for orphan in journal.orphans() {
        void(link, &orphan).await?;
        let csn = link.store().await?.state().await?.csn;
        journal.orphan_settled(&orphan, csn);
    }
    Ok(())
}

async fn void(link: &Connection, orphan: &Orphan) -> Result<()> {
    let body = VoidRequest { client: orphan.client.clone(), request: orphan.request };
    let voided = link.run(&Actor::System, body).await?;
    tracing::debug!(client = %orphan.client, request = %orphan.request, voided.settled, "a dead process' request");
    Ok(())
}
