//! Filling the files with what Redis has, for a host that does not hold it yet: it has joined a namespace with data, or lost
//! its files. Until then it may not take over.

use agentcoord_core::engine::Engine;
use agentcoord_core::ids::Epoch;
use agentcoord_core::mode::{Finding, ModeEngine, ModeRow, Phase, above};
use agentcoord_core::replica::Gap;
use agentcoord_core::{Error, Result};
use agentcoord_fs::Replica;
use agentcoord_redis::RedisEngine;

use crate::failover::mirror::PAGE;
use crate::failover::take_over::mode_is_gone;
use crate::host::Host;

impl Host {
    /// Brings the files up to everything that is in Redis, which they do not hold yet: from then on this host may take over.
    ///
    /// All but the last of it is in the files before a new epoch begins, in which nobody writes while the rest is read.
    ///
    /// # Errors
    /// `Unavailable`: Redis serves on, most likely in the same epoch.
    pub(crate) async fn fill_files(&self) -> Result<()> {
        let row = self.namespace().row()?.ok_or_else(mode_is_gone)?;
        if row.engine != ModeEngine::Redis || row.is_mirrored() || !row.right_to_take_over {
            return Ok(());
        }
        let (url, name) = (self.url()?, self.namespace().name());
        let snapshot =
            agentcoord_redis::carry_out(&url, name, &row.generation.to_string(), self.deadlines_of_pages()).await?;
        let mut replica = Replica::open(self.namespace(), self.config().durability)?;
        replica.begin_anew(row.epoch, snapshot)?;
        self.catch_up(&mut replica, row.epoch, &self.redis_engine(&row)?).await?;
        let lock = self.lock_mode().await?;
        if lock.publish()?.as_ref() != Some(&row) {
            return Err(Error::unavailable("the engine has changed meanwhile"));
        }
        let survey = self.primary().await?;
        let Some(meta) = survey.meta.as_ref().filter(|_| row.judge(&survey.found()) == Finding::Same) else {
            return Err(Error::unavailable("Redis has changed meanwhile"));
        };
        let to = above(row.epoch);
        let raised = agentcoord_redis::raise(&url, name, meta, to, &meta.generation, self.deadlines()).await?;
        if raised.epoch != to {
            return Err(Error::unavailable("somebody else has changed the namespace in Redis meanwhile"));
        }
        let next = ModeRow { epoch: to, ..row.clone() };
        self.catch_up(&mut replica, row.epoch, &self.redis_engine(&next)?).await?;
        // The new epoch is in force with this row only: who had opened Redis in it before would go on without a journal.
        lock.write(&ModeRow { replica_complete: true, ..next })
    }

    /// What follows on the files is neither in Redis any more nor in journals: they are not relied on until they were filled anew.
    /// The row in force then.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) async fn cannot_continue(&self, gap: Gap) -> Result<ModeRow> {
        let lock = self.lock_mode().await?;
        let row = lock.publish()?.ok_or_else(mode_is_gone)?;
        // Somebody else may have brought them further since.
        let is_over = !row.is_mirrored() || row.phase != Phase::Serving || self.namespace().csn()? >= gap.from;
        if is_over {
            return self.complete(&lock, row);
        }
        tracing::warn!(epoch = %row.epoch, %gap, "the files cannot be continued, and are filled anew");
        let lacking = ModeRow { replica_complete: false, ..row };
        lock.write(&lacking)?;
        Ok(lacking)
    }

    /// Applies what the log has beyond the files, whose row still is of this epoch.
    async fn catch_up(&self, replica: &mut Replica, epoch: Epoch, engine: &RedisEngine) -> Result<()> {
        loop {
            let events = engine.log(self.namespace().csn()?, PAGE).await?;
            let is_all = events.len() < PAGE;
            let mut texts = Vec::new();
            for logged in &events {
                texts.extend(logged.event()?.texts);
            }
            let found = engine.blobs(&texts).await?;
            let blobs = texts.into_iter().zip(found).filter_map(|(name, bytes)| Some((name, bytes?))).collect();
            replica.apply(epoch, events, blobs)?;
            if is_all {
                return Ok(());
            }
        }
    }
}
