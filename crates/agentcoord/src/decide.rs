//! The decision which engine serves a workspace: the first one, what follows when Redis has changed since, and the
//! switch that a person asks for. All under the mode lock, row before word.

mod purge;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agentcoord_core::agent::Tick;
use agentcoord_core::audit::AppendAudit;
use agentcoord_core::engine::EngineKind;
use agentcoord_core::ids::{Epoch, Id, RequestNo};
use agentcoord_core::mode::{Finding, above};
use agentcoord_core::op::{Actor, Op};
use agentcoord_core::snapshot::Snapshot;
use agentcoord_core::{Error, Result};
use agentcoord_fs::{ModeEngine, ModeLock, ModeRow, Phase};
use agentcoord_redis::{Admission, Deadlines, Meta, RedisEngine, RedisUrl, RedisWakes, Sighting, Survey};

use crate::audit::Entry;
use crate::config::BackendChoice;
use crate::failover::mirror::{Mirror, MirrorFeed, PAGE};
use crate::failover::replicate;
use crate::failover::take_over::{mode_is_gone, reason_of};
use crate::host::{Host, Opened, Serving, Style};
use crate::news::News;

pub use purge::{Extent, Purge, Purged};

/// 2025-01-01T00:00:00Z in seconds since 1970.
const EPOCH_ZERO: u64 = 1_735_689_600;

/// The owner of a namespace that many state directories share, none of them with fallback.
const SHARED: &str = "shared";

/// Why files serve when somebody wants it so.
const BY_HAND: &str = "moved by hand";

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
            return self.complete(&lock, row);
        }
        let row = match self.config().backend {
            BackendChoice::Files => ModeRow::serving(first_epoch(None), ModeEngine::Files),
            choice => match self.look().await? {
                Sighting::There(survey) => self.bind(&survey, None).await?,
                Sighting::Gone(error) | Sighting::Away(error) | Sighting::Refusing(error)
                    if choice == BackendChoice::Auto =>
                {
                    let row = ModeRow::serving(first_epoch(None), ModeEngine::Files);
                    ModeRow { reason: Some(reason_of(&error)), ..row }
                }
                // Something else listens where nobody told us to look.
                Sighting::Unusable(_) if choice == BackendChoice::Auto && self.config().redis_url.is_none() => {
                    ModeRow::serving(first_epoch(None), ModeEngine::Files)
                }
                Sighting::Gone(error)
                | Sighting::Away(error)
                | Sighting::Refusing(error)
                | Sighting::Unusable(error) => return Err(error),
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
    async fn admitted(&self, row: ModeRow) -> Result<Opened> {
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
            // Behind the keeper's back, should there be one: applying twice does nothing.
            let known = journal.known(epoch);
            if let Err(error) = replicate::share(self, &engine, known, replica).await {
                tracing::debug!(%error, "the replica lags");
            }
        }
        let host = self.clone();
        let lost = Arc::new(move || host.suspicion().has_lost(epoch));
        let mirror = Arc::new(Mirror::new(Arc::clone(&engine), self.namespace().clone(), journal, lost));
        let feed = MirrorFeed::new(Arc::clone(&mirror), feed);
        Ok(self.opened(mirror, wakes, Arc::new(feed), serving, Some(engine)))
    }

    /// How long to wait for Redis. Where files may take over, what is not answered within half of the time after which
    /// they do is asked again, or elsewhere.
    pub(crate) fn deadlines(&self) -> Deadlines {
        let usual = Deadlines::default();
        if self.config().backend != BackendChoice::Auto {
            return usual;
        }
        let window = self.config().detection;
        Deadlines { connect: usual.connect.min(window / 4), call: usual.call.min(window / 2) }
    }

    fn redis_engine(&self, row: &ModeRow) -> Result<RedisEngine> {
        let admission = Admission {
            run_id: row.run_id.clone().unwrap_or_default(),
            instance: row.instance.clone().unwrap_or_default(),
            epoch: row.epoch,
            generation: row.generation.to_string(),
            owner: row.owner.as_ref().map_or(SHARED.to_owned(), Id::to_string),
        };
        RedisEngine::new(self.url()?, self.namespace().name(), admission, self.deadlines(), self.clock())
    }

    /// What Redis is now, after it was not what the row says: a new epoch when it is ours, else an error.
    async fn rebind(&self, seen: &ModeRow) -> Result<ModeRow> {
        let lock = self.lock_mode().await?;
        let row = match lock.publish()? {
            Some(row) if row.epoch == seen.epoch => row,
            Some(row) => return self.complete(&lock, row),
            None => return Err(mode_is_gone()),
        };
        let survey = self.primary().await.map_err(|error| self.away_for_good(error))?;
        let row = self.bind(&survey, Some(&row)).await?;
        lock.write(&row)?;
        Ok(row)
    }

    /// Binds this host to what was found in Redis: the row under which it serves. `known` is the row so far.
    ///
    /// A restart ends an epoch even when the data are back: an acknowledged tail may be missing, and no token of
    /// before may be given out again. The same holds when the data are gone.
    async fn bind(&self, survey: &Survey, known: Option<&ModeRow>) -> Result<ModeRow> {
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
        if founded {
            // Whatever the files hold is of a namespace that is gone.
            self.namespace().carry_in(Snapshot::default())?;
        }
        let mut row = ModeRow::serving(meta.epoch, ModeEngine::Redis);
        row.run_id = Some(survey.run_id.clone());
        row.instance = Some(meta.instance);
        row.generation = meta.generation.parse().unwrap_or(1);
        row.right_to_take_over = alone && meta.owner == host;
        // What was there before is copied by the keeper; nothing is there yet in what was founded just now.
        row.replica_complete = row.right_to_take_over && founded;
        row.owner = meta.owner.parse().ok();
        Ok(row)
    }

    /// Moves the workspace to another engine, with everything in it, while agents work. A workspace that does not keep what
    /// Redis answers can only be moved while nobody works.
    ///
    /// A switch that was cut off is finished, or undone, by the next one.
    pub(crate) async fn switch(&self, to: EngineKind, by: &str) -> Result<Switched> {
        let lock = self.lock_mode().await?;
        let row = lock
            .publish()?
            .ok_or_else(|| Error::unavailable("no engine has been chosen yet; run any command first"))?;
        let row = match self.complete(&lock, row.clone()) {
            Ok(row) => row,
            // Only Redis has what the files still lack.
            Err(_) if to == EngineKind::Files && row.phase == Phase::Preparing => {
                return self.prepare_files(&lock, &mut row.clone()).await;
            }
            Err(error) => return Err(error),
        };
        match (row.engine, to) {
            (ModeEngine::Files, EngineKind::Redis) => {
                drop(lock);
                self.come_back().await
            }
            (ModeEngine::Redis, EngineKind::Files) if row.is_mirrored() => {
                let taken = self.take_over(&lock, &row, by, BY_HAND)?;
                let records = self.namespace().records()?;
                Ok(Switched { from: EngineKind::Redis, to, epoch: taken.epoch, records })
            }
            (ModeEngine::Redis, EngineKind::Files) => {
                self.nobody_lives(&row).await?;
                let mut next =
                    ModeRow { epoch: above(row.epoch), engine: ModeEngine::Files, phase: Phase::Preparing, ..row };
                lock.write(&next)?;
                self.prepare_files(&lock, &mut next).await
            }
            _ => {
                if row.engine == ModeEngine::Files {
                    // By hand: nobody goes back without being told so.
                    let reason = Some(BY_HAND.to_owned());
                    lock.write(&ModeRow { complainant: Some(by.to_owned()), reason, ..row.clone() })?;
                }
                Ok(Switched { from: to, to, epoch: row.epoch, records: 0 })
            }
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
        let survey = self.primary().await?;
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

    /// Brings the files up to everything that is in Redis, which they do not hold yet: from then on this host may take over.
    ///
    /// Most of it is copied while Redis serves; then a new epoch begins, so that nobody writes while the rest is read.
    ///
    /// # Errors
    /// `Unavailable`: nothing has changed, or Redis serves on in the epoch after.
    pub(crate) async fn fill_files(&self) -> Result<()> {
        let row = self.namespace().row()?.ok_or_else(mode_is_gone)?;
        if row.engine != ModeEngine::Redis || row.is_mirrored() || !row.right_to_take_over {
            return Ok(());
        }
        let (url, name) = (self.url()?, self.namespace().name());
        let snapshot = agentcoord_redis::carry_out(&url, name, &row.generation.to_string(), self.deadlines()).await?;
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
        let engine = self.redis_engine(&next)?;
        engine.admit().await?;
        let mut events = Vec::new();
        let mut last = snapshot.state.csn;
        loop {
            let page = engine.log(last, PAGE).await?;
            last = page.last().map_or(last, |logged| logged.csn);
            let is_all = page.len() < PAGE;
            events.extend(page);
            if is_all {
                break;
            }
        }
        let mut texts = Vec::new();
        for logged in &events {
            texts.extend(logged.event()?.texts);
        }
        let found = agentcoord_core::engine::Engine::blobs(&engine, &texts).await?;
        let blobs = texts.into_iter().zip(found).filter_map(|(name, bytes)| Some((name, bytes?))).collect();
        self.namespace().carry_in(snapshot)?;
        agentcoord_fs::Replica::open(self.namespace(), self.config().durability)?.apply(row.epoch, events, blobs)?;
        // The new epoch is in force with this row only: who had opened Redis in it before would go on without a journal.
        lock.write(&ModeRow { replica_complete: true, ..next })
    }

    /// A look at Redis that must find a primary which takes writes.
    pub(crate) async fn primary(&self) -> Result<Survey> {
        match self.look().await? {
            Sighting::There(survey) => Ok(survey),
            Sighting::Gone(error) | Sighting::Away(error) | Sighting::Refusing(error) | Sighting::Unusable(error) => {
                Err(error)
            }
        }
    }

    pub(crate) async fn look(&self) -> Result<Sighting> {
        agentcoord_redis::look_for(&self.url()?, self.namespace().name(), self.deadlines()).await
    }

    pub(crate) fn url(&self) -> Result<RedisUrl> {
        RedisUrl::parse(self.config().redis_url())
    }

    /// The Redis URL as people may see it.
    pub(crate) fn shown_url(&self) -> String {
        self.url().map_or_else(|_| "an unreadable Redis URL".to_owned(), |url| url.to_string())
    }

    fn away_for_good(&self, error: Error) -> Error {
        let reason = format!(
            "this workspace works on Redis alone, and Redis is away ({error}). Start it again; \
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

/// An epoch that no earlier one of this namespace can reach: hours since 2025, or one above the highest known.
///
/// Loss of Redis and of the state directory together then does not make tokens go back.
pub(crate) fn first_epoch(known: Option<Epoch>) -> Epoch {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let hours = now.saturating_sub(EPOCH_ZERO) / 3_600;
    Epoch(hours.max(known.map_or(0, |e| e.0 + 1)).max(1))
}
