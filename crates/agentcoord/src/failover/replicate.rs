//! Bringing what Redis has done into the files: by the keeper as it happens, and where there is none by commands and by
//! whoever's journal grows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use agentcoord_core::engine::Engine;
use agentcoord_core::ids::Csn;
use agentcoord_core::replica::{Gap, Logged};
use agentcoord_core::{Error, Result, waypoint};
use agentcoord_fs::Replica;
use agentcoord_redis::RedisEngine;

use crate::connection::Connection;
use crate::host::Host;

/// Events in one transaction.
const PAGE: usize = 500;
/// With fewer events than this it pays to wait for more.
const FEW: usize = 100;
/// How long to wait for more.
const GATHER: Duration = Duration::from_millis(25);
/// Pause after a failure.
const RETRY: Duration = Duration::from_millis(200);
/// The slow look behind the news that another engine serves.
const SAFETY: Duration = Duration::from_secs(5);
/// Commands let the replica lag so far.
const SHARE: u64 = 32;

/// Keeps the replica up to date, for as long as it is polled.
pub(crate) async fn follow(link: &Connection) {
    let mut switches = link.host().switches();
    loop {
        let followed = tokio::select! {
            followed = follow_epoch(link) => followed,
            _ = switches.changed() => continue,
        };
        match followed {
            // Nothing to follow now: files serve, or nobody may take over. Switches may go unheard.
            Ok(()) => drop(tokio::time::timeout(SAFETY, switches.changed()).await),
            Err(error) => {
                tracing::debug!(%error, "the replica could not be brought up to date");
                if let Some(gap) = Gap::behind(&error)
                    && let Err(error) = link.host().cannot_continue(gap).await
                {
                    tracing::debug!(%error, "the files are still relied on");
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Follows the log in the epoch that serves now.
async fn follow_epoch(link: &Connection) -> Result<()> {
    let opened = link.opened().await?;
    let Some(redis) = opened.mirrored.clone() else { return Ok(()) };
    let mut replica = open(link.host()).await?;
    let mut csn = link.host().namespace().csn()?;
    let mut tail = redis.feed().tail().await?;
    loop {
        let events = tail.log(csn, PAGE).await?;
        waypoint::reached("replica/read");
        if events.is_empty() {
            if link.has_moved_on(&opened) {
                return Err(Error::unavailable("another engine or epoch serves now"));
            }
            continue;
        }
        let few = events.len() < FEW;
        (replica, csn) = apply(replica, &redis, events).await?;
        if few {
            tokio::time::sleep(GATHER).await;
        }
    }
}

/// A command's share, where no keeper is: when the replica lags, brings it a page further.
pub(crate) async fn share(host: &Host, redis: &Arc<RedisEngine>, known: Csn, replica: Csn) -> Result<()> {
    if known.0.saturating_sub(replica.0) < SHARE {
        return Ok(());
    }
    up_to(host, redis, known.min(Csn(replica.0 + PAGE as u64))).await
}

/// Brings the replica up to what is known, behind the keeper's back, should there be one: applying twice does nothing.
pub(crate) async fn up_to(host: &Host, redis: &Arc<RedisEngine>, known: Csn) -> Result<()> {
    let mut replica = host.namespace().csn()?;
    while replica < known {
        let events = redis.log(replica, PAGE).await?;
        if events.is_empty() {
            return Ok(());
        }
        (_, replica) = apply(open(host).await?, redis, events).await?;
    }
    Ok(())
}

async fn open(host: &Host) -> Result<Replica> {
    let (namespace, durability) = (host.namespace().clone(), host.config().durability);
    blocking(move || Replica::open(&namespace, durability)).await
}

/// Applies a page with its texts.
async fn apply(mut replica: Replica, redis: &Arc<RedisEngine>, events: Vec<Logged>) -> Result<(Replica, Csn)> {
    let mut names = Vec::new();
    for logged in &events {
        names.extend(logged.event()?.texts);
    }
    let found = redis.blobs(&names).await?;
    let blobs: HashMap<String, Vec<u8>> =
        names.into_iter().zip(found).filter_map(|(name, bytes)| Some((name, bytes?))).collect();
    let epoch = redis.epoch();
    blocking(move || {
        let csn = replica.apply(epoch, events, blobs)?;
        Ok((replica, csn))
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::backend("the replica's thread was cut off", e))?
}
