//! The decision which engine serves a workspace: the first one, what follows when Redis has changed since, and the
//! switch that a person asks for. All under the mode lock, row before word.

mod purge;

use std::time::{Duration, SystemTime};

use agentcoord_core::agent::Tick;
use agentcoord_core::audit::AppendAudit;
use agentcoord_core::engine::EngineKind;
use agentcoord_core::ids::{Csn, Epoch, Id, RequestNo};
use agentcoord_core::mode::above;
use agentcoord_core::op::{Actor, Op};
use agentcoord_core::replica::Gap;
use agentcoord_core::snapshot::Snapshot;
use agentcoord_core::{Error, Result};
use agentcoord_fs::{ModeEngine, ModeLock, ModeRow, Phase};
use agentcoord_redis::{Deadlines, Meta, RedisUrl, Sighting, Survey};

use crate::audit::Entry;
use crate::config::BackendChoice;
use crate::failover::take_over::{closed, mode_is_gone, reason_of};
use crate::host::{Host, Opened};
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

    /// What Redis is now, after it was not what the row says: a new epoch when it is ours, else an error.
    pub(crate) async fn rebind(&self, seen: &ModeRow) -> Result<ModeRow> {
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
        // Of those who share it, whoever came first after a loss of data has founded it anew for all.
        let ours = known.is_none_or(|row| row.instance.as_ref() == Some(&meta.instance) || row.owner.is_none())
            || meta.instance == wanted.instance;
        if !ours {
            return Err(Error::Refused {
                policy: "foreign_namespace",
                reason: format!("{url} holds another founding of namespace {name}; choose another namespace or Redis"),
            });
        }
        if meta.closed {
            return Err(if shared { moved_away() } else { closed() });
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
            Err(error) if to == EngineKind::Files && lacks_state(&row, &error) => {
                return self.prepare_files(&lock, row, by, Gap::behind(&error)).await;
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
                let next =
                    ModeRow { epoch: above(row.epoch), engine: ModeEngine::Files, phase: Phase::Preparing, ..row };
                lock.write(&next)?;
                self.prepare_files(&lock, next, by, None).await
            }
            _ => {
                if row.engine == ModeEngine::Files {
                    lock.write(&by_hand(&row, by))?;
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

    /// Redis to files: from here on nobody is served until the files hold everything. `gap` is what a take-over lacks.
    async fn prepare_files(&self, lock: &ModeLock, row: ModeRow, by: &str, gap: Option<Gap>) -> Result<Switched> {
        let serving = match (self.held_by_redis(&row).await?, gap) {
            (Some(snapshot), _) => {
                self.namespace().carry_in(snapshot)?;
                ModeRow { phase: Phase::Serving, ..row }
            }
            (None, Some(gap)) => self.go_on_without(lock, &row, by, gap)?,
            (None, None) => {
                return Err(Error::unavailable(format!("{} does not hold this workspace", self.shown_url())));
            }
        };
        lock.write(&by_hand(&serving, by))?;
        let records = self.namespace().records()?;
        Ok(Switched { from: EngineKind::Redis, to: EngineKind::Files, epoch: serving.epoch, records })
    }

    /// Everything that Redis holds of this workspace, which no straggler changes any more; none when that is nothing, or less
    /// than this host knows of.
    async fn held_by_redis(&self, row: &ModeRow) -> Result<Option<Snapshot>> {
        let survey = self.primary().await?;
        let Some(meta) = survey.meta.as_ref().filter(|meta| Some(&meta.instance) == row.instance.as_ref()) else {
            return Ok(None);
        };
        let (url, name, limits) = (self.url()?, self.namespace().name(), self.deadlines_of_pages());
        let fenced = if meta.epoch >= row.epoch {
            meta.clone()
        } else if row.owner.is_some() {
            agentcoord_redis::raise(&url, name, meta, row.epoch, &meta.generation, limits).await?
        } else {
            // Others would go on in the new epoch.
            let closing = Meta { epoch: row.epoch, ..meta.clone() };
            agentcoord_redis::close(&url, name, &closing, row.attempt, limits).await?
        };
        let snapshot = agentcoord_redis::carry_out(&url, name, &fenced.generation, limits).await?;
        // Whoever has raised the epoch further, or has flushed all of it, has done so for this state, too.
        let is_whole = fenced.epoch == row.epoch && self.primary().await? == Survey { meta: Some(fenced), ..survey };
        if !is_whole {
            return Err(Error::unavailable("Redis has changed meanwhile"));
        }
        Ok((snapshot.state.csn >= self.known_of(row)?).then_some(snapshot))
    }

    /// How far this host knows the log of a Redis from which it is taking over.
    fn known_of(&self, row: &ModeRow) -> Result<Csn> {
        let Some(epoch) = row.epoch_taken_over() else { return Ok(Csn(0)) };
        let journals = self.namespace().read_journals(epoch)?;
        Ok(journals.last().max(self.namespace().csn()?))
    }

    /// Ends a take-over with what comes before a gap, because nobody has what was in it: after a power cut the disk may lack
    /// what was told last.
    fn go_on_without(&self, lock: &ModeLock, row: &ModeRow, by: &str, gap: Gap) -> Result<ModeRow> {
        let epoch = row.epoch_taken_over().ok_or_else(mode_is_gone)?;
        let mut found = self.namespace().read_journals(epoch)?;
        let (first, last) = (gap.from, found.last());
        found.events.retain(|csn, _| *csn < first);
        let reason =
            format!("neither journals nor Redis have all changes from {first} on; those up to {last} are missing");
        tracing::warn!(epoch = %row.epoch, reason, "files serve without");
        let note = Entry::new(by, "engine_switch", format!("redis to files, epoch {}", row.epoch), reason).encode()?;
        Ok(lock.install(found, &self.clock().read(), &note)?.row)
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

/// Whether a switch to files failed for what only Redis may still have.
fn lacks_state(row: &ModeRow, error: &Error) -> bool {
    let is_take_over = row.epoch_taken_over().is_some();
    row.phase == Phase::Preparing && (!is_take_over || Gap::behind(error).is_some())
}

/// Files that serve because somebody wants it so: nobody goes back without being told to.
fn by_hand(row: &ModeRow, by: &str) -> ModeRow {
    ModeRow { complainant: Some(by.to_owned()), reason: Some(BY_HAND.to_owned()), ..row.clone() }
}

/// The owner of the namespace, as Redis has it.
pub(crate) fn owner_of(row: &ModeRow) -> String {
    row.owner.as_ref().map_or_else(|| SHARED.to_owned(), Id::to_string)
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

fn moved_away() -> Error {
    Error::unavailable("this namespace is closed: another state directory has moved it to its files, or is deleting it")
}

/// Puts a restart of Redis into the audit log. A note that cannot be written stops nobody.
pub(crate) async fn note_restart(opened: &Opened, before: &ModeRow, after: &ModeRow) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_gap_in_a_take_over_is_filled_from_redis() {
        let row = ModeRow { phase: Phase::Preparing, ..ModeRow::serving(Epoch(8), ModeEngine::Files) };
        let full = Error::unavailable("the disk is full");
        assert!(lacks_state(&row, &full), "no take-over: all of it is in Redis");
        let taking_over = ModeRow { replica_complete: true, ..row };
        assert!(!lacks_state(&taking_over, &full));
        let gap = Gap { from: Csn(2), to: Csn(3) };
        let missing = Error::Unavailable { reason: "a gap".to_owned(), source: Some(gap.into()) };
        assert!(lacks_state(&taking_over, &missing));
        let serving = ModeRow { phase: Phase::Serving, ..taking_over };
        assert!(!lacks_state(&serving, &missing));
    }
}
