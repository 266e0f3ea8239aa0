//! Verification: reads the whole log, ahead of the hashing, and holds it against its seals and what is kept outside.

use agentcoord_core::audit::chain::Head;
use agentcoord_core::audit::verify::{Finding, Place, Stop, Verifier, Witness};
use agentcoord_core::audit::{AuditLog, Extent};
use agentcoord_core::limits::SEAL_RUN;
use agentcoord_core::{Result, Store};
use tokio::sync::mpsc;

use super::seal;
use crate::connection::Connection;

/// Entries read at once.
const PAGE: u64 = 8 * SEAL_RUN;
/// Pages read ahead.
const AHEAD: usize = 3;

/// What a verification has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How far the log and its seals go.
    pub extent: Extent,
    /// The head that the state directory keeps.
    pub kept: Option<Head>,
    /// The last head of those that the caller brought.
    pub anchored: Option<Head>,
    /// The head of the part that is right: of the whole log, or before the first bad entry.
    pub head: Head,
    /// The first bad entry.
    pub finding: Option<Finding>,
}

/// Verifies the whole log against its seals, the head that the state directory keeps, and anchors. When all is well, what
/// was not sealed yet is sealed.
///
/// `progress` hears how many entries are done.
///
/// # Errors
/// `Corrupt` when the state directory's file is unreadable; others when the engine cannot be reached.
pub async fn verify(connection: &Connection, anchors: Vec<Witness>, mut progress: impl FnMut(u64)) -> Result<Report> {
    let namespace = connection.host().namespace();
    let kept = namespace.kept_head()?;
    let anchored = anchors.iter().map(|anchor| anchor.head).max_by_key(|head| head.seq);
    let mut witnesses = anchors;
    let file = namespace.kept_head_file().display();
    witnesses.extend(kept.map(|head| Witness { head, kept: file.to_string() }));
    let store = connection.store().await?;
    // After the witnesses: the log may have grown since, but it has not become shorter.
    let mut extent = store.extent().await?;
    let mut verifier = Verifier::new(extent, witnesses);
    let mut pages = read_ahead(&store, extent.entries);
    let mut stopped = None;
    while let Some(page) = pages.recv().await {
        if let Err(stop) = verifier.check(page?) {
            stopped = Some(stop);
            break;
        }
        progress(verifier.head().seq);
    }
    drop(pages);
    let head = verifier.head();
    let finding = match stopped {
        None => verifier.end().err(),
        Some(Stop::Found(finding)) => Some(finding),
        Some(Stop::Misfit(mut search)) => {
            let mut pages = read_ahead(&store, extent.entries);
            while let Some(page) = pages.recv().await {
                search.look(page?);
            }
            Some(search.conclude())
        }
    };
    if finding.is_none() {
        let sealed = seal::seal(connection, extent.entries - extent.sealed).await?.sealed;
        extent.sealed = sealed.min(extent.entries);
    }
    let kept = namespace.kept_head()?;
    Ok(Report { extent, kept, anchored, head, finding })
}

/// Reads the log in pages, some of them ahead of whoever takes them.
fn read_ahead(store: &Store, entries: u64) -> mpsc::Receiver<Result<Vec<Place>>> {
    let (sender, pages) = mpsc::channel(AHEAD);
    let store = store.clone();
    tokio::spawn(async move {
        let mut first = 1;
        while first <= entries {
            let last = entries.min(first + PAGE - 1);
            let page = store.inspect(first, last).await;
            let failed = page.is_err();
            // Whoever asked may have seen enough.
            if sender.send(page).await.is_err() || failed {
                return;
            }
            first = last + 1;
        }
    });
    pages
}
