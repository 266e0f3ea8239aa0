//! Opening Redis as the mode row describes it, with a mirror in front of it where files may take over.

use std::sync::Arc;

use agentcoord_core::engine::EngineKind;
use agentcoord_core::{Error, Result};
use agentcoord_fs::{ModeEngine, ModeRow};
use agentcoord_redis::{Admission, Deadlines, RedisEngine, RedisWakes};

use super::{Host, Opened, Serving, Style};
use crate::config::BackendChoice;
use crate::decide::{note_restart, owner_of};
use crate::failover::mirror::{Mirror, MirrorFeed};
use crate::failover::replicate;
use crate::news::News;

impl Host {
    /// Opens Redis as the row describes it. When Redis has changed since the row was written, finds out how.
    pub(crate) async fn open_redis(&self, row: ModeRow, news: &News) -> Result<Opened> {
        if self.config().backend == BackendChoice::Files {
            return Err(Error::Refused {
                policy: "engine_is_redis",
                reason: "this workspace works on Redis; `agentcoord store use files` moves it to files".to_owned(),
            });
        }
        let engine = self.redis_engine(&row)?;
        let failed = if self.suspicion().is_raised(row.epoch) { None } else { Some(engine.admit().await) };
        match failed {
            Some(Ok(())) => self.wired(&row, engine, news).await,
            None | Some(Err(Error::Unavailable { .. } | Error::Fenced { .. })) if row.is_mirrored() => {
                let doubted = row.clone();
                let row = self.apart(|host| async move { host.doubt(&doubted).await }).await?;
                match row.engine {
                    ModeEngine::Files => self.open_files(&row, news),
                    ModeEngine::Redis => {
                        let engine = self.redis_engine(&row)?;
                        engine.admit().await?;
                        self.wired(&row, engine, news).await
                    }
                }
            }
            None | Some(Err(Error::Unavailable { .. } | Error::Fenced { .. })) => {
                let seen = row.clone();
                let bound = self.apart(|host| async move { host.rebind(&seen).await }).await?;
                self.suspicion().drop_it(row.epoch);
                let engine = self.redis_engine(&bound)?;
                engine.admit().await?;
                let opened = self.wired(&bound, engine, news).await?;
                if bound.epoch != row.epoch && bound.run_id != row.run_id {
                    note_restart(&opened, &row, &bound).await;
                }
                Ok(opened)
            }
            Some(Err(error)) => Err(error),
        }
    }

    /// Redis exactly as the row describes it, or an error.
    pub(crate) async fn admitted(&self, row: ModeRow) -> Result<Opened> {
        let engine = self.redis_engine(&row)?;
        engine.admit().await?;
        self.wired(&row, engine, &News::default()).await
    }

    async fn wired(&self, row: &ModeRow, engine: RedisEngine, news: &News) -> Result<Opened> {
        let (url, namespace, epoch) = (self.url()?, self.namespace().name(), row.epoch);
        let open = |sink| RedisWakes::new(url, namespace, self.deadlines(), sink);
        let wakes = news.source(EngineKind::Redis, epoch, open)?;
        let feed = engine.feed();
        let engine = Arc::new(engine);
        let serving = Serving {
            engine: EngineKind::Redis,
            epoch,
            degraded: false,
            protected: row.is_mirrored(),
            reason: None,
            by_hand: None,
            redis: Some(self.shown_url()),
        };
        if !row.is_mirrored() {
            return Ok(self.opened(engine, wakes, Arc::new(feed), serving, None));
        }
        let (journal, replica) = (self.journal()?, self.namespace().csn()?);
        journal.begin(epoch, replica);
        if self.style() == Style::OneShot {
            let known = journal.known(epoch);
            if let Err(error) = replicate::share(self, &engine, known, replica).await {
                tracing::debug!(%error, "the replica lags");
            }
        }
        let mirror = Arc::new(Mirror::new(Arc::clone(&engine), self.clone(), journal));
        let feed = MirrorFeed::new(Arc::clone(&mirror), feed);
        Ok(self.opened(mirror, wakes, Arc::new(feed), serving, Some(engine)))
    }

    /// How long to wait for Redis. Where files may take over, what is not answered within half of the time after which
    /// they do is asked again, or elsewhere; who has a slow way to Redis makes that time longer.
    pub(crate) fn deadlines(&self) -> Deadlines {
        let usual = Deadlines::default();
        if self.config().backend != BackendChoice::Auto {
            return usual;
        }
        let window = self.config().detection;
        Deadlines { connect: window / 4, call: usual.call.min(window / 2) }
    }

    /// How long to wait for Redis when a whole state is carried: a page takes longer than a call.
    pub(crate) fn deadlines_of_pages(&self) -> Deadlines {
        let Deadlines { connect, call } = self.deadlines();
        Deadlines { connect, call: call.max(Deadlines::default().call) }
    }

    pub(crate) fn redis_engine(&self, row: &ModeRow) -> Result<RedisEngine> {
        let admission = Admission {
            run_id: row.run_id.clone().unwrap_or_default(),
            instance: row.instance.clone().unwrap_or_default(),
            epoch: row.epoch,
            generation: row.generation.to_string(),
            owner: owner_of(row),
        };
        RedisEngine::new(self.url()?, self.namespace().name(), admission, self.deadlines(), self.clock())
    }
}
