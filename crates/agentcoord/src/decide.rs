//! The first decision which engine serves a workspace, and what follows when Redis has changed since.

use std::time::{Duration, SystemTime};

use agentcoord_core::ids::Epoch;
use agentcoord_core::{Error, Result};
use agentcoord_fs::{ModeEngine, ModeLock, ModeRow, Phase};

use crate::config::BackendChoice;
use crate::host::{Host, Opened};
use crate::news::News;

/// 2025-01-01T00:00:00Z in seconds since 1970.
const EPOCH_ZERO: u64 = 1_735_689_600;

impl Host {
    /// Takes the decision under the mode lock, or finds that somebody has taken it.
    pub(crate) async fn decide(&self) -> Result<ModeRow> {
        let lock = self.lock_mode().await?;
        match lock.publish()? {
            Some(row) if row.phase == Phase::Serving => return Ok(row),
            Some(row) => {
                return Err(Error::unavailable(format!(
                    "the workspace is in the middle of a switch ({} to {}) that this version cannot complete",
                    row.phase.word(),
                    row.engine.word()
                )));
            }
            None => {}
        }
        let row = match self.config().backend {
            BackendChoice::Files => ModeRow::serving(first_epoch(None), ModeEngine::Files),
            BackendChoice::Auto | BackendChoice::Redis => ModeRow::serving(first_epoch(None), ModeEngine::Files),
        };
        lock.write(&row)?;
        Ok(row)
    }

    /// The mode lock. Waiting for it blocks a thread, not the executor.
    pub(crate) async fn lock_mode(&self) -> Result<ModeLock> {
        let namespace = self.namespace().clone();
        let waited = tokio::task::spawn_blocking(move || namespace.lock_mode()).await;
        waited.map_err(|e| Error::backend("the wait for the mode lock was cut off", e))?
    }

    pub(crate) async fn open_redis(&self, _row: ModeRow, _news: &News) -> Result<Opened> {
        Err(Error::unavailable("redis"))
    }

    /// The Redis URL as people may see it.
    pub(crate) fn shown_url(&self) -> String {
        self.config().redis_url().to_owned()
    }
}

/// An epoch that no earlier one of this namespace can reach: hours since 2025, or one above the highest known.
///
/// Loss of Redis and of the state directory together then does not make tokens go back.
pub(crate) fn first_epoch(known: Option<Epoch>) -> Epoch {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let hours = now.saturating_sub(EPOCH_ZERO) / 3_600;
    Epoch(hours.max(known.map_or(0, |e| e.0 + 1)).max(1))
}
