//! The keeper: one process per host and namespace that ends the sessions of processes that have ended, and settles what
//! is due when nobody else does. It also seals the audit log.
//!
//! Every process with a session waits for the keeper's lock on a thread; the kernel gives it to the next one when the
//! keeper dies. The keeper decides nothing: it tells the engine what the kernel says, and the engine's rules do the rest.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentcoord_core::agent::{EvictAgent, Tick};
use agentcoord_core::engine::{Channel, KEEPER};
use agentcoord_core::ids::{Id, IdPrefix};
use agentcoord_core::op::Actor;
use agentcoord_core::record::SessionRecord;
use agentcoord_core::{Error, Result, limits};
use agentcoord_fs::process::{Liveness, own_identity};
use agentcoord_fs::watch::{self, Sight};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch as value};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::audit::{self, Entry};
use crate::connection::Connection;
use crate::failover::{attend, replicate};
use crate::wait::InTheWay;

/// The slow look behind wake-ups and pidfds; also how often locks of processes that cannot be seen are tried.
const SAFETY: Duration = Duration::from_secs(2);
/// Pause when more is due than one look settles.
const BREATH: Duration = Duration::from_millis(5);
/// Pause between two looks for what is to be forgotten, and between two portions of it.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
const PRUNE_PORTION: Duration = Duration::from_millis(50);
/// Ticks of one look.
const TICKS: usize = 16;
/// Audit entries that one look seals.
const SEALED: u64 = 16 * limits::SEAL_RUN;
/// Sessions that one waiter ends.
const SHARE: usize = 4;

/// The threads of this process that are keeper or wait to be, by the keeper's file.
static SEATS: Mutex<BTreeMap<PathBuf, value::Sender<usize>>> = Mutex::new(BTreeMap::new());

fn seats() -> MutexGuard<'static, BTreeMap<PathBuf, value::Sender<usize>>> {
    SEATS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session's part in the election. Without any, this process lets go of the office.
#[derive(Debug)]
pub(crate) struct Seat {
    file: PathBuf,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(members) = seats().get(&self.file) {
            members.send_modify(|n| *n -= 1);
        }
    }
}

/// Makes this process a candidate. One thread serves all seats of a namespace; none when it cannot be started: others may
/// keep, and every session has its time to live.
pub(crate) fn join(connection: &Connection) -> Option<Seat> {
    let file = connection.host().namespace().keeper_file().to_owned();
    let link = connection.stranger();
    let thread = std::thread::Builder::new().name("agentcoord-keeper".into());
    let seat = sit(file, |count| thread.spawn(move || candidate(&link, &count)).map(drop));
    seat.inspect_err(|error| tracing::warn!(%error, "the keeper's thread cannot be started")).ok()
}

/// Takes a seat; the first one starts the thread, which gets the count of them.
fn sit(file: PathBuf, start: impl FnOnce(value::Receiver<usize>) -> std::io::Result<()>) -> std::io::Result<Seat> {
    let mut seats = seats();
    if let Some(members) = seats.get(&file) {
        members.send_modify(|n| *n += 1);
        return Ok(Seat { file });
    }
    let (members, count) = value::channel(1);
    start(count)?;
    seats.insert(file.clone(), members);
    Ok(Seat { file })
}

/// Waits for the office, again and again while this process has a session.
fn candidate(link: &Connection, members: &value::Receiver<usize>) {
    let namespace = link.host().namespace();
    loop {
        let office = match namespace.become_keeper() {
            Ok(office) => Some(office),
            Err(error) => {
                tracing::warn!(%error, "this process cannot be the keeper");
                None
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let (Some(_), Ok(runtime)) = (&office, &runtime) {
            let (office, replica, way) = (link.sibling(), link.sibling(), link.sibling());
            runtime.block_on(async {
                tokio::select! {
                    () = keep(&office, members.clone()) => {}
                    () = replicate::follow(&replica) => {}
                    () = attend::attend(&way) => {}
                }
            });
        } else {
            std::thread::sleep(SAFETY);
        }
        drop(office);
        let mut seats = seats();
        if *members.borrow() == 0 {
            seats.remove(namespace.keeper_file());
            return;
        }
    }
}

/// A session whose process is watched until this is dropped.
struct Watched {
    task: JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Keeper<'a> {
    link: &'a Connection,
    watched: HashMap<Id, Watched>,
    ended: mpsc::UnboundedSender<(Id, u32)>,
    /// The opening of the engine whose news are heard.
    heard: Option<u64>,
    /// When to look for what is to be forgotten.
    prune_at: Instant,
}

async fn keep(link: &Connection, mut members: value::Receiver<usize>) {
    let (ended, mut ends) = mpsc::unbounded_channel();
    let news = link.news().listen(KEEPER);
    let mut keeper = Keeper { link, watched: HashMap::new(), ended, heard: None, prune_at: Instant::now() };
    let mut first = true;
    loop {
        let pause = match keeper.look(std::mem::take(&mut first)).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::debug!(%error, "the keeper could not look");
                SAFETY
            }
        };
        let pause = pause.min(keeper.prune().await);
        tokio::select! {
            _ = members.wait_for(|n| *n == 0) => return,
            () = news.changed() => {}
            Some(end) = ends.recv() => {
                let mut next = Some(end);
                while let Some((session, pid)) = next {
                    keeper.watched.remove(&session);
                    report(evict(link, &session, pid).await);
                    next = ends.try_recv().ok();
                }
            }
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl Keeper<'_> {
    /// Watches what is new, ends what has ended, settles what is due. How long nothing else will be due.
    async fn look(&mut self, first: bool) -> Result<Duration> {
        let opened = self.link.opened().await?;
        if self.heard != Some(opened.serial) {
            opened.wakes.subscribe(&Channel::Keeper).await?;
            self.heard = Some(opened.serial);
        }
        let sessions: HashMap<Id, SessionRecord> = opened.store.bound_sessions().await?.into_iter().collect();
        self.watched.retain(|session, _| sessions.contains_key(session));
        let own = own_identity();
        for (session, record) in &sessions {
            let Some(process) = record.process.as_ref().filter(|process| **process != own) else { continue };
            if self.watched.contains_key(session) {
                continue;
            }
            match watch::watch(process) {
                Sight::Watched(fd) => self.watch(session, process.pid, fd),
                Sight::Ended => report(evict(self.link, session, process.pid).await),
                Sight::Unseen => {
                    if self.link.host().namespace().session_liveness(session) == Liveness::Dead {
                        report(evict(self.link, session, process.pid).await);
                    }
                }
            }
        }
        if first {
            self.tidy(&sessions);
        }
        self.settle().await
    }

    #[allow(deprecated, reason = "the successor is unsafe; an OwnedFd that is moved in meets all that it asks for")]
    fn watch(&mut self, session: &Id, pid: u32, fd: std::os::fd::OwnedFd) {
        // Without a place in the poller, the next look sees the end.
        let Ok(fd) = AsyncFd::with_interest(fd, Interest::READABLE) else { return };
        let (ended, id) = (self.ended.clone(), session.clone());
        let task = tokio::spawn(async move {
            if fd.readable().await.is_ok() {
                drop(ended.send((id, pid)));
            }
        });
        self.watched.insert(session.clone(), Watched { task });
    }

    /// Removes the lock files of processes that ended while nobody looked.
    fn tidy(&self, live: &HashMap<Id, SessionRecord>) {
        let namespace = self.link.host().namespace();
        for session in namespace.held_sessions() {
            if !live.contains_key(&session) && namespace.session_liveness(&session) == Liveness::Dead {
                namespace.forget_session(&session);
            }
        }
    }

    /// Forgets a portion of what has come to an end, when it is time to. How long until the next.
    async fn prune(&mut self) -> Duration {
        if self.prune_at <= Instant::now() {
            let pruned = self.link.run(&Actor::System, self.link.config().retention).await;
            let more = match pruned {
                Ok(pruned) => pruned.more,
                Err(error) => {
                    tracing::debug!(%error, "nothing was forgotten");
                    false
                }
            };
            self.prune_at = Instant::now() + if more { PRUNE_PORTION } else { PRUNE_EVERY };
        }
        self.prune_at.saturating_duration_since(Instant::now())
    }

    async fn settle(&self) -> Result<Duration> {
        let store = self.link.store().await?;
        for _ in 0..TICKS {
            let state = store.state().await?;
            if state.counts.work == 0 && state.next_due > state.clock.now && state.next_calendar > state.clock.wall {
                if state.sealed < state.audit && self.seal().await {
                    return Ok(BREATH);
                }
                let lease = state.next_due - state.clock.now;
                let next = Duration::from_millis(lease.min(state.next_calendar - state.clock.wall));
                return Ok(next.min(SAFETY));
            }
            self.link.run(&Actor::System, Tick { most: limits::WORK_PER_STEP as u64 }).await?;
        }
        Ok(BREATH)
    }

    /// Seals new audit entries; true when there are more.
    async fn seal(&self) -> bool {
        match audit::seal(self.link, SEALED).await {
            Ok(extent) => extent.sealed < extent.entries,
            Err(error) => {
                tracing::warn!(%error, "the audit log could not be sealed");
                false
            }
        }
    }
}

/// A waiter's share: ends the sessions in its way whose process has ended, at most a few.
pub(crate) async fn evict_dead(link: &Connection, in_the_way: &InTheWay) -> Result<usize> {
    let store = link.store().await?;
    let bound = match in_the_way {
        InTheWay::Holders(paths) => store.bound_holders(paths).await?,
        InTheWay::Workers(None) => store.bound_workers(None).await?,
        InTheWay::Workers(Some(typed)) => store.bound_workers(Some(&IdPrefix::parse("task", typed)?)).await?,
    };
    let mut evicted = 0;
    for (session, record) in bound {
        if evicted == SHARE {
            break;
        }
        let Some(process) = &record.process else { continue };
        let liveness = match agentcoord_fs::process::is_alive(process) {
            Liveness::Unknown => link.host().namespace().session_liveness(&session),
            known => known,
        };
        if liveness == Liveness::Dead {
            evict(link, &session, process.pid).await?;
            evicted += 1;
        }
    }
    Ok(evicted)
}

async fn evict(link: &Connection, session: &Id, pid: u32) -> Result<()> {
    let reason = format!("its process {pid} has ended");
    let audit = Entry::new("system", "eviction", format!("session {session}"), &reason).encode()?;
    let body = EvictAgent { session: Some(session.clone()), agent: None, reason, audit };
    match link.run(&Actor::System, body).await {
        Ok(_) => tracing::info!(%session, pid, "a session's process has ended"),
        // It has said so itself, or somebody else has.
        Err(Error::WrongState { .. } | Error::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    link.host().namespace().forget_session(session);
    Ok(())
}

/// An eviction that failed is tried again at the next look.
fn report(outcome: Result<()>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "a session could not be ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_could_not_start_the_thread_has_no_seat_to_leave() {
        let file = PathBuf::from("a keeper's file of this test");
        assert!(sit(file.clone(), |_| Err(std::io::ErrorKind::WouldBlock.into())).is_err());
        let mut count = None;
        let start = |members| {
            count = Some(members);
            Ok(())
        };
        let seat = sit(file.clone(), start).expect("the thread is there");
        let count = count.expect("the thread was started by this one");
        assert_eq!(*count.borrow(), 1);
        drop(seat);
        assert_eq!(*count.borrow(), 0);
        seats().remove(&file);
    }
}
