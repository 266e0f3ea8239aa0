//! The return: Redis is healthy again, and gets everything back.
//!
//! Almost all of the state is copied while the files serve. Then the files are closed, Redis gets what has changed meanwhile,
//! and is opened. Whatever fails before that leaves the files in charge, in a later epoch.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use agentcoord_core::agent::ProcessIdentity;
use agentcoord_core::engine::EngineKind;
use agentcoord_core::ids::{Csn, Epoch, Id};
use agentcoord_core::mode::{ModeEngine, ModeRow, Phase};
use agentcoord_core::record::{Event, SCHEMA};
use agentcoord_core::table::Table;
use agentcoord_core::{Error, Result, waypoint};
use agentcoord_fs::ModeLock;
use agentcoord_fs::health::Health;
use agentcoord_fs::process::{self, Liveness};
use agentcoord_fs::replica::Pages;
use agentcoord_redis::{Change, Meta, Sighting, Survey, Writeback};

use crate::client::millis;
use crate::config::BackendChoice;
use crate::connection::Connection;
use crate::decide::{Switched, owner_of};
use crate::failover::take_over::{complaining_process, mode_is_gone};
use crate::host::Host;

/// Records, or events, that are read and written at once; texts are longer.
const PAGE: usize = 500;
const TEXTS: usize = 16;
/// Events of the past that go along.
const LOG: u64 = 5_000;
/// So few events are left to be copied when the files are closed.
const FEW: usize = 100;
/// Rounds of catching up before the files are closed all the same.
const ROUNDS: usize = 50;
/// Bytes of a database that a command carries back.
const SHARE: u64 = 64 << 20;
/// How long a living complainant is waited for, in hold-offs.
const PATIENCE: u32 = 6;
/// The hold-off doubles at most so often.
const DOUBLINGS: u32 = 6;

/// What the keeper knows of the way back. It looks at Redis once in a while as long as files serve.
#[derive(Debug, Default)]
pub(crate) struct Watchman {
    healthy_since: Option<Instant>,
    /// The last return, and how often the hold-off was doubled since things were calm.
    last: Option<Instant>,
    doubled: u32,
}

impl Watchman {
    /// Looks at Redis. True when it is time to go back.
    ///
    /// # Errors
    /// When the mode cannot be read.
    pub(crate) async fn look(&mut self, host: &Host) -> Result<bool> {
        let Some(row) = host.waits_for_redis()? else {
            self.healthy_since = None;
            return Ok(false);
        };
        let healthy = matches!(host.look().await?, Sighting::There(survey) if host.may_return_to(&row, &survey)?);
        if !healthy {
            self.healthy_since = None;
            return Ok(false);
        }
        let since = *self.healthy_since.get_or_insert_with(Instant::now);
        let hold_off = host.hold_off(&row).map(|hold_off| hold_off * 2u32.pow(self.doubled.min(DOUBLINGS)));
        Ok(hold_off.is_some_and(|hold_off| since.elapsed() >= hold_off))
    }

    /// A return has failed: Redis must have been healthy for as long again before the next one.
    pub(crate) fn has_failed(&mut self) {
        self.healthy_since = None;
    }

    /// The files have served for a while between two returns, or have not.
    pub(crate) fn has_returned(&mut self, host: &Host) {
        let calm = host.config().return_after * 10;
        let flaps = self.last.is_some_and(|last| last.elapsed() < calm);
        self.doubled = if flaps { self.doubled + 1 } else { 0 };
        self.last = Some(Instant::now());
        self.healthy_since = None;
    }
}

/// A command's share, where no keeper is: looks at Redis once in a while, and goes back when it was healthy for long enough
/// and there is not too much to carry.
///
/// # Errors
/// When it did not come about; the files serve on.
pub(crate) async fn share(link: &Connection) -> Result<()> {
    let host = link.host();
    let (namespace, now) = (host.namespace(), host.clock().read());
    let Some(row) = host.waits_for_redis()? else { return Ok(()) };
    let Some(hold_off) = host.hold_off(&row) else { return Ok(()) };
    let before = namespace.health(&now);
    let pause = millis(look_every(host.config().return_after));
    if before.is_some_and(|before| now.boot < before.looked.saturating_add(pause)) {
        return Ok(());
    }
    let Some(_office) = namespace.try_become_keeper() else { return Ok(()) };
    let healthy = matches!(host.look().await?, Sighting::There(survey) if host.may_return_to(&row, &survey)?);
    let since = healthy.then(|| before.and_then(|before| before.since).unwrap_or(now.boot));
    namespace.leave_health(&now, Health { looked: now.boot, since })?;
    let is_time = since.is_some_and(|since| now.boot - since >= millis(hold_off));
    if is_time && namespace.size() <= SHARE {
        link.come_back("Redis was healthy again").await?;
    }
    Ok(())
}

impl Host {
    /// The row, when files serve and this host would rather be on Redis.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn waits_for_redis(&self) -> Result<Option<ModeRow>> {
        let Some(row) = self.namespace().row()? else { return Ok(None) };
        let serves = row.engine == ModeEngine::Files && row.phase == Phase::Serving;
        let asked = self.config().redis_url.is_some() || row.instance.is_some();
        Ok((serves && asked && self.config().backend == BackendChoice::Auto).then_some(row))
    }

    /// How long Redis must be healthy before it gets everything back; none: until the person who has moved the workspace says so.
    /// Whoever has found Redis gone is waited for, unless it is the caller, which sees Redis healthy, or has ended.
    fn hold_off(&self, row: &ModeRow) -> Option<Duration> {
        let usual = self.config().return_after;
        let Some(who) = row.complainant.as_deref() else { return Some(usual) };
        let complains = complaining_process(who)?;
        let is_content = who == self.complainant() || has_ended(&complains);
        Some(if is_content { usual } else { usual * PATIENCE })
    }

    /// Whether the state of the files may be written over what is there.
    pub(crate) fn may_return_to(&self, row: &ModeRow, survey: &Survey) -> Result<bool> {
        Ok(self.as_owner(row)?.judge(&survey.found()).may_be_written_over())
    }

    /// The complaint of this process is over, when it has one and sees Redis healthy: a return need not wait for it.
    ///
    /// # Errors
    /// When the mode cannot be read or written.
    pub(crate) async fn withdraw_complaint(&self) -> Result<()> {
        let is_own = |row: &ModeRow| row.complainant.as_deref() == Some(self.complainant());
        let Some(row) = self.waits_for_redis()?.filter(is_own) else { return Ok(()) };
        if !matches!(self.look().await?, Sighting::There(survey) if self.may_return_to(&row, &survey)?) {
            return Ok(());
        }
        let lock = self.lock_mode().await?;
        match lock.row()? {
            Some(current) if current == row => lock.write(&ModeRow { complainant: None, ..row }),
            _ => Ok(()),
        }
    }

    /// The row with this host as the owner of what it will write, unless it was in Redis before: what many share stays theirs.
    fn as_owner(&self, row: &ModeRow) -> Result<ModeRow> {
        let owner = match &row.instance {
            Some(_) => row.owner.clone(),
            None => Some(self.state_dir().host_id()?),
        };
        Ok(ModeRow { owner, ..row.clone() })
    }

    /// Carries everything back to Redis while agents work, and switches to it.
    ///
    /// # Errors
    /// `Unavailable` when it did not come about: the files serve on. `Refused` when Redis holds what is not ours, or is later.
    pub(crate) async fn come_back(&self) -> Result<Switched> {
        let row = self.namespace().row()?.ok_or_else(mode_is_gone)?;
        self.to_be_written_over(&row).await?;
        let mut copy = Copy::begin(self).await?;
        let crossing = match self.carry_over(row.epoch, &mut copy).await {
            Ok(crossing) => crossing,
            Err(error) => {
                copy.undo().await;
                return Err(error);
            }
        };
        // From here on an error does not say whether the copy counts: it stays, until the next one does.
        let arrived = match self.open_again(&crossing).await {
            Ok(arrived) => arrived,
            Err(error) => {
                crossing.give_up()?;
                return Err(error);
            }
        };
        crossing.lock.write(&arrived)?;
        tracing::warn!(epoch = %arrived.epoch, records = copy.records, "Redis serves again");
        waypoint::reached("return/arrived");
        drop(crossing);
        self.sweep(&copy.writeback, arrived.epoch).await;
        let (from, to) = (EngineKind::Files, EngineKind::Redis);
        Ok(Switched { from, to, epoch: arrived.epoch, records: copy.records })
    }

    /// Copies everything, closes the files and Redis, and copies what has changed meanwhile. Redis is as it is to be then, but
    /// closed. On failure the files serve on.
    async fn carry_over(&self, begun_in: Epoch, copy: &mut Copy) -> Result<Crossing> {
        copy.everything().await?;
        for _ in 0..ROUNDS {
            if copy.catch_up().await? < FEW {
                break;
            }
        }
        waypoint::reached("return/copied");
        let crossing = self.leave(begun_in, copy.generation).await?;
        match self.hand_over(copy, &crossing).await {
            Ok(()) => Ok(crossing),
            Err(error) => {
                crossing.give_up()?;
                Err(error)
            }
        }
    }

    /// Closes the files, if they have served since the copy was begun and Redis may still be written over.
    async fn leave(&self, begun_in: Epoch, generation: u64) -> Result<Crossing> {
        let lock = self.lock_mode().await?;
        let row = lock.publish()?.ok_or_else(mode_is_gone)?;
        if row.epoch != begun_in {
            return Err(Error::unavailable("the engine has changed meanwhile"));
        }
        let survey = self.to_be_written_over(&row).await?;
        let known = survey.meta.as_ref().map(|meta| meta.epoch);
        let leaving = self.as_owner(&row)?.leave(known, Id::random().as_str());
        let leaving = leaving.ok_or_else(|| Error::unavailable("the engine has changed meanwhile"))?;
        lock.write(&leaving)?;
        waypoint::reached("return/leaving");
        Ok(Crossing { lock, row: leaving, generation, run_id: survey.run_id })
    }

    /// The last part of the copy, in which nobody is served.
    async fn hand_over(&self, copy: &mut Copy, crossing: &Crossing) -> Result<()> {
        let (url, name, wanted) = (self.url()?, self.namespace().name(), crossing.wanted()?);
        let closed = agentcoord_redis::close(&url, name, &wanted, crossing.row.attempt, self.deadlines()).await?;
        if !closed.closed
            || closed.epoch != wanted.epoch
            || closed.instance != wanted.instance
            || closed.schema > SCHEMA
        {
            return Err(self.not_ours());
        }
        waypoint::reached("return/closed");
        while copy.catch_up().await? > 0 {}
        copy.signs_of_life().await?;
        let (csn, state) = copy.pages.state()?;
        if csn != copy.csn {
            return Err(Error::unavailable("the files have changed although they are closed"));
        }
        copy.writeback.state(&state).await?;
        waypoint::reached("return/written");
        Ok(())
    }

    /// Opens Redis on the copy. The row that says so.
    async fn open_again(&self, crossing: &Crossing) -> Result<ModeRow> {
        let (url, name, wanted) = (self.url()?, self.namespace().name(), crossing.wanted()?);
        let Crossing { row, generation, run_id, .. } = crossing;
        let opened = agentcoord_redis::reopen(&url, name, &wanted, row.attempt, run_id, self.deadlines()).await?;
        if opened != wanted {
            return Err(Error::unavailable("the namespace in Redis was changed or flushed meanwhile"));
        }
        waypoint::reached("return/opened");
        row.arrive(run_id, *generation).ok_or_else(|| Error::unavailable("the return was given up by somebody else"))
    }

    /// A look at a Redis over whose state that of the files may be written.
    async fn to_be_written_over(&self, row: &ModeRow) -> Result<Survey> {
        let survey = self.primary().await?;
        if self.may_return_to(row, &survey)? { Ok(survey) } else { Err(self.not_ours()) }
    }

    /// Deletes what earlier switches have left in Redis. Whoever waits for the mode does not wait for this.
    async fn sweep(&self, writeback: &Writeback, epoch: Epoch) {
        // While this epoch lasts no other generation comes to count. Who has lost against this return may still fill one: what is
        // left of it goes with the next return.
        let lasts = || Ok(self.namespace().row()?.is_some_and(|row| row.epoch == epoch));
        if let Err(error) = writeback.forget_others(lasts).await {
            tracing::debug!(%error, "left-overs of earlier switches stay in Redis");
        }
    }

    fn not_ours(&self) -> Error {
        let reason = format!(
            "{} holds another or a later state of namespace {}, which is not written over",
            self.shown_url(),
            self.namespace().name()
        );
        Error::Refused { policy: "foreign_namespace", reason }
    }
}

/// Whether a process of this host has ended, if only with the boot in which it ran.
fn has_ended(process: &ProcessIdentity) -> bool {
    process.boot_id != process::own_identity().boot_id || process::is_alive(process) == Liveness::Dead
}

/// A generation that nobody has used: numbers of failed attempts are never met again.
fn fresh_generation() -> u64 {
    u64::from_str_radix(&Id::random().as_str()[..12], 16).unwrap_or(0) | 1 << 47
}

/// A return whose row is written: nobody is served until it has arrived or was given up.
struct Crossing {
    lock: ModeLock,
    row: ModeRow,
    /// The generation that is to count, on this run of the server.
    generation: u64,
    run_id: String,
}

impl Crossing {
    /// What Redis is to say at the end.
    fn wanted(&self) -> Result<Meta> {
        let instance = self.row.instance.as_ref().ok_or_else(mode_is_gone)?;
        Ok(Meta::new(self.row.epoch, instance, self.generation.to_string(), owner_of(&self.row)))
    }

    /// The files serve on.
    fn give_up(&self) -> Result<()> {
        self.row.stay().map_or(Ok(()), |staying| self.lock.write(&staying))
    }
}

/// A copy on its way.
struct Copy {
    pages: Pages,
    writeback: Writeback,
    generation: u64,
    /// Everything up to this change is in the copy.
    csn: Csn,
    records: usize,
    /// What has changed while pages were copied.
    changed: BTreeSet<(Table, String)>,
    texts: BTreeSet<String>,
    gone: Vec<String>,
}

impl Copy {
    async fn begin(host: &Host) -> Result<Self> {
        let (url, name, generation) = (host.url()?, host.namespace().name(), fresh_generation());
        let writeback = Writeback::begin(&url, name, generation, host.deadlines_of_pages()).await?;
        let pages = host.namespace().pages()?;
        let (csn, _) = pages.state()?;
        let (changed, texts, gone) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        Ok(Self { pages, writeback, generation, csn, records: 0, changed, texts, gone })
    }

    /// Deletes what was copied to no end: a Redis that is full is not to stay so.
    async fn undo(self) {
        if let Err(error) = self.writeback.forget().await {
            tracing::debug!(%error, "a part of what was copied stays in Redis");
        }
    }

    /// Copies what there is, page by page. Later pages may be younger than earlier ones; the events tell.
    async fn everything(&mut self) -> Result<()> {
        // Those who follow the log find its end again.
        let mut read = Csn(self.csn.0.saturating_sub(LOG));
        loop {
            let events = self.pages.events(read, PAGE)?;
            let events: Vec<Event> = events.into_iter().filter(|event| event.csn <= self.csn).collect();
            let Some(last) = events.last() else { break };
            read = last.csn;
            self.writeback.log(&events).await?;
        }
        for table in Table::ALL.into_iter().filter(|table| *table != Table::Pulse) {
            let mut after = String::new();
            loop {
                let page = self.pages.records(table, &after, PAGE)?;
                self.writeback.records(table, &page).await?;
                self.records += page.len();
                self.note_changes().await?;
                match page.last() {
                    Some((key, _)) if page.len() == PAGE => after.clone_from(key),
                    _ => break,
                }
            }
        }
        let mut after = String::new();
        loop {
            let page = self.pages.blobs(&after, TEXTS)?;
            self.writeback.blobs(&page).await?;
            match page.last() {
                Some((name, _)) if page.len() == TEXTS => after.clone_from(name),
                _ => break,
            }
            self.note_changes().await?;
        }
        self.carry_changed().await
    }

    /// Notes what has changed meanwhile, before the log forgets it; it is copied when all pages are.
    async fn note_changes(&mut self) -> Result<()> {
        loop {
            let events = self.next_events()?;
            self.writeback.log(&events).await?;
            for event in &events {
                self.changed.extend(event.images.iter().map(|image| (image.table, image.key.clone())));
                self.texts.extend(event.texts.iter().cloned());
                self.gone.extend(event.gone.iter().cloned());
            }
            self.csn = events.last().map_or(self.csn, |event| event.csn);
            if events.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Copies what has changed since its page was copied, as it is now: what changes after this comes with its events.
    async fn carry_changed(&mut self) -> Result<()> {
        let changed: Vec<(Table, String)> = std::mem::take(&mut self.changed).into_iter().collect();
        for keys in changed.chunks(PAGE) {
            let now = |(table, key): &(Table, String)| Ok((*table, key.clone(), self.pages.record(*table, key)?));
            let changes: Vec<Change> = keys.iter().map(now).collect::<Result<_>>()?;
            self.writeback.changes(&changes).await?;
        }
        for name in std::mem::take(&mut self.texts) {
            if let Some(bytes) = self.pages.blob(&name)? {
                self.writeback.blobs(&[(name, bytes)]).await?;
            }
        }
        self.writeback.forget_blobs(&std::mem::take(&mut self.gone)).await
    }

    /// The next events, without a gap.
    fn next_events(&self) -> Result<Vec<Event>> {
        let events = self.pages.events(self.csn, PAGE)?;
        if events.first().is_some_and(|first| first.csn.0 != self.csn.0 + 1) {
            return Err(Error::unavailable("more has changed meanwhile than the log of events keeps"));
        }
        Ok(events)
    }

    /// Copies what a page of events has changed. How many events those were.
    async fn catch_up(&mut self) -> Result<usize> {
        let events = self.next_events()?;
        let Some(last) = events.last().map(|event| event.csn) else { return Ok(0) };
        let changes: Vec<Change> = events
            .iter()
            .flat_map(|event| &event.images)
            .map(|image| {
                let record = (!image.record.is_empty()).then(|| image.record.clone());
                (image.table, image.key.clone(), record)
            })
            .collect();
        self.writeback.changes(&changes).await?;
        for name in events.iter().flat_map(|event| &event.texts) {
            if let Some(bytes) = self.pages.blob(name)? {
                self.writeback.blobs(&[(name.clone(), bytes)]).await?;
            }
        }
        let gone: Vec<String> = events.iter().flat_map(|event| event.gone.clone()).collect();
        self.writeback.forget_blobs(&gone).await?;
        self.writeback.log(&events).await?;
        self.csn = last;
        Ok(events.len())
    }

    /// Signs of life are in no event: they go last, all of them.
    async fn signs_of_life(&mut self) -> Result<()> {
        let mut after = String::new();
        loop {
            let page = self.pages.records(Table::Pulse, &after, PAGE)?;
            self.writeback.records(Table::Pulse, &page).await?;
            match page.last() {
                Some((key, _)) if page.len() == PAGE => after.clone_from(key),
                _ => return Ok(()),
            }
        }
    }
}

/// How often the keeper looks at Redis while files serve.
pub(crate) fn look_every(return_after: Duration) -> Duration {
    (return_after / 10).clamp(Duration::from_millis(20), Duration::from_secs(1))
}
