//! The decision which engine serves a workspace: the first one, what follows when Redis has changed since, and the
//! switch that a person asks for. All under the mode lock, row before word.

mod purge;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agentcoord_core::agent::Tick;
use agentcoord_core::audit::AppendAudit;
use agentcoord_core::engine::EngineKind;
use agentcoord_core::ids::{Epoch, Id, RequestNo};
use agentcoord_core::op::{Actor, Op};
use agentcoord_core::{Error, Result};
use agentcoord_fs::{ModeEngine, ModeLock, ModeRow, Phase};
use agentcoord_redis::{Admission, Deadlines, Meta, RedisEngine, RedisUrl, RedisWakes, Role, Sighting, Survey};

use crate::audit::Entry;
use crate::config::BackendChoice;
use crate::host::{Host, Opened};
use crate::news::News;

pub use purge::{Extent, Purge, Purged};

/// 2025-01-01T00:00:00Z in seconds since 1970.
const EPOCH_ZERO: u64 = 1_735_689_600;

/// The owner of a namespace that many state directories share, none of them with fallback.
const SHARED: &str = "shared";

/// What a switch of the engine has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switched {
    /// The engine before.
    pub from: EngineKind,
    /// The engine now.
    pub to: EngineKind,
    /// The epoch now.
    pub epoch: Epoch,
    /// Records that were carried over.
    pub records: usize,
}

impl Host {
    /// Takes the first decision, or finds that somebody has taken it.
    pub(crate) async fn decide(&self) -> Result<ModeRow> {
        let lock = self.lock_mode().await?;
        if let Some(row) = lock.publish()? {
            return serving(row);
        }
        let row = match self.config().backend {
            BackendChoice::Files => ModeRow::serving(first_epoch(None), ModeEngine::Files),
            choice => match self.look().await? {
                Sighting::There(survey) => self.bind(&survey, None).await?,
                Sighting::Away(_) if choice == BackendChoice::Auto => {
                    ModeRow::serving(first_epoch(None), ModeEngine::Files)
                }
                // Something else listens where nobody told us to look.
                Sighting::Unusable(_) if choice == BackendChoice::Auto && self.config().redis_url.is_none() => {
                    ModeRow::serving(first_epoch(None), ModeEngine::Files)
                }
                Sighting::Away(error) | Sighting::Unusable(error) => return Err(error),
            },
        };
        lock.write(&row)?;
        Ok(row)
    }

    /// Opens Redis as the row describes it. When Redis has changed since the row was written, finds out how.
    pub(crate) async fn open_redis(&self, row: ModeRow, news: &News) -> Result<Opened> {
        if self.config().backend == BackendChoice::Files {
            return Err(Error::Refused {
                policy: "engine_is_redis",
                reason: "this workspace works on Redis; `agentcoord store use files` moves it to files".to_owned(),
            });
        }
        let engine = self.redis_engine(&row)?;
        match engine.admit().await {
            Ok(()) => self.wired(engine, news),
            Err(Error::Unavailable { .. } | Error::Fenced { .. }) => {
                let bound = self.rebind(&row).await?;
                let engine = self.redis_engine(&bound)?;
                engine.admit().await?;
                let opened = self.wired(engine, news)?;
                if bound.epoch != row.epoch && bound.run_id != row.run_id {
                    note_restart(&opened, &row, &bound).await;
                }
                Ok(opened)
            }
            Err(error) => Err(error),
        }
    }

    /// Redis exactly as the row describes it, or an error.
    async fn admitted(&self, row: ModeRow) -> Result<Opened> {
        let engine = self.redis_engine(&row)?;
        engine.admit().await?;
        self.wired(engine, &News::default())
    }

    fn wired(&self, engine: RedisEngine, news: &News) -> Result<Opened> {
        let (url, namespace) = (self.url()?, self.namespace().name());
        let epoch = agentcoord_core::engine::Engine::epoch(&engine);
        let open = |sink| RedisWakes::new(url, namespace, Deadlines::default(), sink);
        let wakes = news.source(EngineKind::Redis, epoch, open)?;
        let feed = engine.feed();
        Ok(self.opened(Arc::new(engine), wakes, Arc::new(feed), epoch, false))
    }

    fn redis_engine(&self, row: &ModeRow) -> Result<RedisEngine> {
        let admission = Admission {
            run_id: row.run_id.clone().unwrap_or_default(),
            instance: row.instance.clone().unwrap_or_default(),
            epoch: row.epoch,
            generation: row.generation.to_string(),
            owner: row.owner.as_ref().map_or(SHARED.to_owned(), Id::to_string),
        };
        RedisEngine::new(self.url()?, self.namespace().name(), admission, Deadlines::default(), self.clock())
    }

    /// What Redis is now, after it was not what the row says: a new epoch when it is ours, else an error.
    async fn rebind(&self, seen: &ModeRow) -> Result<ModeRow> {
        let lock = self.lock_mode().await?;
        let row = match lock.publish()? {
            Some(row) if row.epoch == seen.epoch => row,
            Some(row) => return serving(row),
            None => return Err(Error::unavailable("the workspace's mode is gone; was its state directory removed?")),
        };
        let survey = match self.look().await? {
            Sighting::There(survey) => survey,
            Sighting::Away(error) | Sighting::Unusable(error) => return Err(self.away(error)),
        };
        let row = self.bind(&survey, Some(&row)).await?;
        lock.write(&row)?;
        Ok(row)
    }

    /// Binds this host to what was found in Redis: the row under which it serves. `known` is the row so far.
    ///
    /// A restart ends an epoch even when the data are back: an acknowledged tail may be missing, and no token of
    /// before may be given out again. The same holds when the data are gone.
    async fn bind(&self, survey: &Survey, known: Option<&ModeRow>) -> Result<ModeRow> {
        if survey.role != Role::Primary {
            return Err(Error::unavailable(format!(
                "{} is a replica: use the address of the primary",
                self.shown_url()
            )));
        }
        let (url, name, host) = (self.url()?, self.namespace().name(), self.state_dir().host_id()?.to_string());
        let alone = self.config().backend != BackendChoice::Redis;
        let above = known.map(|row| row.epoch);
        let owner = if alone { &host } else { SHARED };
        let wanted = Meta::new(first_epoch(above), Id::random().to_string(), "1", owner);
        let meta = match &survey.meta {
            Some(meta) => meta.clone(),
            None => agentcoord_redis::found(&url, name, &wanted, Deadlines::default()).await?,
        };
        let shared = meta.owner == SHARED && (!alone || known.is_some_and(|row| row.owner.is_none()));
        if meta.owner != host && !shared {
            return Err(second_host(&meta.owner));
        }
        let ours =
            known.is_none_or(|row| row.instance.as_ref() == Some(&meta.instance)) || meta.instance == wanted.instance;
        if !ours {
            return Err(Error::Refused {
                policy: "foreign_namespace",
                reason: format!("{url} holds another founding of namespace {name}; choose another namespace or Redis"),
            });
        }
        let founded = meta.instance == wanted.instance;
        let moved_on = known.is_some_and(|row| meta.epoch > row.epoch && row.run_id.as_ref() == Some(&survey.run_id));
        let same = known.is_some_and(|row| meta.epoch == row.epoch && row.run_id.as_ref() == Some(&survey.run_id));
        let joins = known.is_none() && shared;
        let meta = if founded || moved_on || same || joins {
            meta
        } else {
            let to = first_epoch(above.max(Some(meta.epoch)));
            agentcoord_redis::raise(&url, name, &meta, to, &meta.generation, Deadlines::default()).await?
        };
        let mut row = ModeRow::serving(meta.epoch, ModeEngine::Redis);
        row.run_id = Some(survey.run_id.clone());
        row.instance = Some(meta.instance);
        row.generation = meta.generation.parse().unwrap_or(1);
        row.owner = meta.owner.parse().ok();
        Ok(row)
    }

    /// Moves the workspace to another engine, with everything in it. Refused while a session lives.
    ///
    /// A switch that was cut off is finished, or undone, by the next one.
    pub(crate) async fn switch(&self, to: EngineKind) -> Result<Switched> {
        let lock = self.lock_mode().await?;
        let row = lock
            .publish()?
            .ok_or_else(|| Error::unavailable("no engine has been chosen yet; run any command first"))?;
        match (row.engine, row.phase, to) {
            (ModeEngine::Files, Phase::Serving, EngineKind::Files)
            | (ModeEngine::Redis, Phase::Serving, EngineKind::Redis) => {
                Ok(Switched { from: to, to, epoch: row.epoch, records: 0 })
            }
            (ModeEngine::Redis, Phase::Serving, EngineKind::Files) => {
                self.nobody_lives(&row).await?;
                let mut next =
                    ModeRow { epoch: above(row.epoch), engine: ModeEngine::Files, phase: Phase::Preparing, ..row };
                lock.write(&next)?;
                self.prepare_files(&lock, &mut next).await
            }
            (ModeEngine::Files, Phase::Preparing, EngineKind::Files) => {
                self.prepare_files(&lock, &mut row.clone()).await
            }
            (ModeEngine::Files, Phase::Returning, EngineKind::Files) => {
                // Nobody has used the epoch of the switch: the files still hold everything.
                let next = ModeRow { epoch: above(row.epoch), phase: Phase::Serving, ..row };
                lock.write(&next)?;
                Ok(Switched { from: EngineKind::Redis, to, epoch: next.epoch, records: 0 })
            }
            (ModeEngine::Files, Phase::Serving | Phase::Returning, EngineKind::Redis) => {
                if row.phase == Phase::Serving {
                    self.nobody_lives(&row).await?;
                }
                self.fill_redis(&lock, row).await
            }
            _ => Err(Error::unavailable("another switch is under way; finish it with `agentcoord store use files`")),
        }
    }

    /// Refuses a switch while somebody would be cut off.
    async fn nobody_lives(&self, row: &ModeRow) -> Result<()> {
        let opened = match row.engine {
            ModeEngine::Files => self.open_files(row, &News::default())?,
            ModeEngine::Redis => self.admitted(row.clone()).await?,
        };
        // Sessions that have outlived their time do not count: settle them first.
        let tick = Op {
            epoch: opened.epoch,
            client: Id::random(),
            request: RequestNo(1),
            actor: Actor::System,
            fence: None,
            body: Tick { most: 64 },
        };
        opened.store.run(&tick).await?;
        let (counts, _) = opened.store.now().await?;
        if counts.sessions > 0 {
            let reason =
                format!("{} sessions live here; end them first (`agentcoord status` names them)", counts.sessions);
            return Err(Error::Refused { policy: "sessions_live", reason });
        }
        Ok(())
    }

    /// Redis to files: from here on nobody is served until the files hold everything.
    async fn prepare_files(&self, lock: &ModeLock, row: &mut ModeRow) -> Result<Switched> {
        let Sighting::There(survey) = self.look().await? else {
            return Err(Error::unavailable(format!(
                "{} must be reachable, because the state is there",
                self.shown_url()
            )));
        };
        let meta = survey.meta.filter(|m| Some(&m.instance) == row.instance.as_ref());
        let meta =
            meta.ok_or_else(|| Error::unavailable(format!("{} does not hold this workspace", self.shown_url())))?;
        let (url, name, limits) = (self.url()?, self.namespace().name(), Deadlines::default());
        if meta.epoch < row.epoch {
            // Stragglers of the old epoch are refused from here on.
            agentcoord_redis::raise(&url, name, &meta, row.epoch, &meta.generation, limits).await?;
        }
        let snapshot = agentcoord_redis::carry_out(&url, name, &meta.generation, limits).await?;
        let records = snapshot.records.len();
        self.namespace().carry_in(snapshot)?;
        row.phase = Phase::Serving;
        lock.write(row)?;
        Ok(Switched { from: EngineKind::Redis, to: EngineKind::Files, epoch: row.epoch, records })
    }

    /// Files to Redis: the state goes to a generation that does not count, then one step makes it count.
    async fn fill_redis(&self, lock: &ModeLock, row: ModeRow) -> Result<Switched> {
        let survey = match self.look().await? {
            Sighting::There(survey) if survey.role == Role::Primary => survey,
            Sighting::There(_) => return Err(Error::unavailable(format!("{} is a replica", self.shown_url()))),
            Sighting::Away(error) | Sighting::Unusable(error) => return Err(error),
        };
        let host = self.state_dir().host_id()?;
        if let Some(meta) = survey.meta.as_ref().filter(|meta| meta.owner != host.to_string()) {
            return Err(second_host(&meta.owner));
        }
        let known = survey.meta.as_ref().map_or(row.epoch, |meta| meta.epoch.max(row.epoch));
        let draining = ModeRow { epoch: above(known), phase: Phase::Returning, attempt: row.attempt + 1, ..row };
        lock.write(&draining)?;
        let (url, name, limits) = (self.url()?, self.namespace().name(), Deadlines::default());
        let fill = async {
            let snapshot = self.namespace().carry_out()?;
            let records = snapshot.records.len();
            let old = survey.meta.as_ref().map(|meta| meta.generation.clone());
            let generation = old.as_ref().and_then(|g| g.parse::<u64>().ok()).unwrap_or(0) + 1;
            agentcoord_redis::carry_in(&url, name, &generation.to_string(), snapshot, limits).await?;
            let meta = match &survey.meta {
                Some(meta) => {
                    agentcoord_redis::raise(&url, name, meta, draining.epoch, &generation.to_string(), limits).await?
                }
                None => {
                    let instance = Id::random().to_string();
                    let wanted = Meta::new(draining.epoch, instance, generation.to_string(), host.to_string());
                    agentcoord_redis::found(&url, name, &wanted, limits).await?
                }
            };
            if meta.epoch != draining.epoch || meta.generation != generation.to_string() {
                return Err(Error::unavailable("somebody else has changed the namespace in Redis meanwhile"));
            }
            if let Some(old) = old {
                // Left-overs that do not count any more; what remains of them is harmless.
                drop(agentcoord_redis::discard(&url, name, &old, limits).await);
            }
            Ok((meta, generation, records))
        };
        match fill.await {
            Ok((meta, generation, records)) => {
                let mut next = ModeRow::serving(draining.epoch, ModeEngine::Redis);
                next.run_id = Some(survey.run_id);
                next.instance = Some(meta.instance);
                next.generation = generation;
                next.owner = Some(host);
                lock.write(&next)?;
                Ok(Switched { from: EngineKind::Files, to: EngineKind::Redis, epoch: next.epoch, records })
            }
            Err(error) => {
                // Nobody has used the epoch of the attempt; it is never used again.
                lock.write(&ModeRow { epoch: above(draining.epoch), phase: Phase::Serving, ..draining })?;
                Err(error)
            }
        }
    }

    async fn look(&self) -> Result<Sighting> {
        agentcoord_redis::look_for(&self.url()?, self.namespace().name(), Deadlines::default()).await
    }

    fn url(&self) -> Result<RedisUrl> {
        RedisUrl::parse(self.config().redis_url())
    }

    /// The Redis URL as people may see it.
    pub(crate) fn shown_url(&self) -> String {
        self.url().map_or_else(|_| "an unreadable Redis URL".to_owned(), |url| url.to_string())
    }

    fn away(&self, error: Error) -> Error {
        let reason = format!(
            "this workspace works on Redis, and Redis is away ({error}). Start it again; \
             files are not used behind its back, because others may still reach it"
        );
        Error::Unavailable { reason, source: Some(error.into()) }
    }

    /// The mode lock. Waiting for it blocks a thread, not the executor.
    pub(crate) async fn lock_mode(&self) -> Result<ModeLock> {
        let namespace = self.namespace().clone();
        let waited = tokio::task::spawn_blocking(move || namespace.lock_mode()).await;
        waited.map_err(|e| Error::backend("the wait for the mode lock was cut off", e))?
    }
}

fn second_host(owner: &str) -> Error {
    let reason = if owner == SHARED {
        "this namespace is shared without fallback; use `--backend redis`, or another namespace"
    } else {
        "another state directory owns this namespace and may fall back to files; use another namespace, \
         or start the namespace anew with `--backend redis` everywhere"
    };
    Error::Refused { policy: "second_host", reason: reason.to_owned() }
}

/// Puts a restart of Redis into the audit log. A note that cannot be written stops nobody.
async fn note_restart(opened: &Opened, before: &ModeRow, after: &ModeRow) {
    let lost = before.instance != after.instance;
    let reason = if lost {
        "Redis came back without the data of this workspace: everything before is gone"
    } else {
        "Redis was restarted: what it acknowledged last may be missing, as far as its own persistence goes"
    };
    let context = format!("epoch {} to {}", before.epoch, after.epoch);
    let Ok(entry) = Entry::new("system", "engine_restart", context, reason).encode() else { return };
    let op = Op {
        epoch: after.epoch,
        client: Id::random(),
        request: RequestNo(1),
        actor: Actor::System,
        fence: None,
        body: AppendAudit { entry },
    };
    if let Err(error) = opened.store.run(&op).await {
        tracing::warn!(%error, "the restart of Redis could not be put into the audit log");
    }
}

/// The epoch after one.
fn above(epoch: Epoch) -> Epoch {
    Epoch(epoch.0 + 1)
}

/// The row, if no switch is under way.
fn serving(row: ModeRow) -> Result<ModeRow> {
    if row.phase == Phase::Serving {
        return Ok(row);
    }
    Err(Error::unavailable(format!(
        "the workspace is in the middle of a switch of its engine ({}); finish it with `agentcoord store use files`",
        row.phase.word()
    )))
}

/// An epoch that no earlier one of this namespace can reach: hours since 2025, or one above the highest known.
///
/// Loss of Redis and of the state directory together then does not make tokens go back.
pub(crate) fn first_epoch(known: Option<Epoch>) -> Epoch {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let hours = now.saturating_sub(EPOCH_ZERO) / 3_600;
    Epoch(hours.max(known.map_or(0, |e| e.0 + 1)).max(1))
}
