//! File locks: requests, outcomes, and the contract.

mod path;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::{Error, Result};
use crate::ids::{Id, RequestNo, Ticket, Token};
use crate::limits;
use crate::op::{Op, Verb};
use crate::time::{LeaseMs, WallMs};

pub use path::LockPath;

/// How a lock is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockMode {
    /// Nobody else may hold the path.
    #[default]
    Exclusive,
    /// Others may hold the path too, shared as well.
    Shared,
}

/// The kind of index entry of a request that waits and takes nothing. It sorts before those of holders and waiters.
pub(crate) const ONLOOKING: &str = "f";

/// How far a request has come that takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Look {
    /// Somebody is in the way still.
    Waiting,
    /// The paths came free; the caller has not heard it yet.
    Free,
}

impl LockMode {
    /// The kind of index entry of a holder.
    pub(crate) fn holding(self) -> &'static str {
        match self {
            Self::Exclusive => "h",
            Self::Shared => "hs",
        }
    }

    /// The kind of index entry of a waiter.
    pub(crate) fn waiting(self) -> &'static str {
        match self {
            Self::Exclusive => "w",
            Self::Shared => "ws",
        }
    }
}

/// Asks for one grant over one or more paths: all or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcquireLock {
    /// The paths, sorted, without repeats (see [`AcquireLock::new`]).
    pub paths: Vec<LockPath>,
    /// How to hold them.
    pub mode: LockMode,
    /// The owner within the session; independent parts of one program use one each.
    pub lane: String,
    /// Why, for whoever is in the way.
    pub intent: Option<String>,
    /// Own deadline of the grant in milliseconds from the grant; none: the session is the lease.
    pub ttl: Option<u64>,
    /// How long to queue in milliseconds: 0 refuses at once, none waits without limit.
    pub wait: Option<u64>,
}

impl AcquireLock {
    /// A request for some paths in the default lane, queueing without limit.
    #[must_use]
    pub fn new(mut paths: Vec<LockPath>) -> Self {
        paths.sort();
        paths.dedup();
        Self { paths, mode: LockMode::Exclusive, lane: String::new(), intent: None, ttl: None, wait: None }
    }
}

impl Verb for AcquireLock {
    const NAME: &'static str = "lock/acquire";
    type Reply = Acquire;

    fn validate(&self) -> Result<()> {
        check::range("paths", self.paths.len() as u64, 1, limits::PATHS as u64)?;
        if !self.paths.is_sorted_by(|a, b| a < b) {
            return Err(Error::invalid("paths", "a list", "sorted paths without repeats"));
        }
        if !self.lane.is_empty() {
            check::name("lane", &self.lane)?;
        }
        check::note_opt("intent", self.intent.as_deref(), limits::NOTE_BYTES)?;
        check::duration("ttl", self.ttl)?;
        check::range("wait", self.wait.unwrap_or(0), 0, limits::DURATION)
    }
}

/// A grant as the rules answer it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The fencing token of the grant.
    pub token: Token,
    /// The paths it covers.
    pub paths: Vec<LockPath>,
    /// How they are held.
    pub mode: LockMode,
    /// The ticket of the request that was granted: what is told to the holder comes under this topic.
    pub ticket: Ticket,
    /// Its own deadline, when it has one; estimated wall time, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<WallMs>,
    /// True when the lane held exactly these paths already.
    pub reacquired: bool,
}

/// Somebody in the way of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The path.
    pub path: LockPath,
    /// The holder's or older waiter's agent, by key.
    pub agent: String,
    /// Its name.
    pub name: String,
    /// True when it does not hold the path but queues for it.
    pub waiting: bool,
    /// Why it wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// Since when.
    pub since: WallMs,
    /// Until when at the latest, unless renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<WallMs>,
}

/// Somebody who waits, in a circle of those who wait for each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// The agent, by key.
    pub agent: String,
    /// Its name.
    pub name: String,
    /// What it waits for.
    pub path: LockPath,
    /// Why it wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
}

/// A circle of waits in words.
pub(crate) fn circle(cycle: &[Waits]) -> String {
    let mut words: Vec<String> = cycle.iter().map(|w| format!("{} waits for {}", w.name, w.path)).collect();
    if let Some(first) = cycle.first() {
        words.push(format!("which {} holds", first.name));
    }
    words.join(", ")
}

/// The outcome of an acquire or a confirm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[must_use]
pub enum Acquire {
    /// The lock is held now.
    Granted(Grant),
    /// The request waits under this ticket.
    Queued {
        /// The ticket to confirm with after a wake-up.
        ticket: Ticket,
        /// Milliseconds until the earliest deadline of whoever blocks it; `tick` then. None: nothing is due.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tick_in: Option<u64>,
    },
    /// Somebody is in the way and the request did not want to wait.
    Contended {
        /// At most eight of those in the way.
        conflicts: Vec<Conflict>,
    },
    /// Waiting would close a circle: each waits for the next one, the last for the caller, which comes first.
    Deadlock {
        /// Who waits for what.
        cycle: Vec<Waits>,
    },
    /// Nobody was in the way, and nothing was taken: the answer of [`WaitLock`].
    Free,
    /// The ticket is gone: it waited too long, or its session ended.
    Lapsed {
        /// The ticket.
        ticket: Ticket,
    },
}

/// Waits until paths could be had, and does not take them.
///
/// It ends when nobody else holds them and nobody who asked earlier waits for them. It keeps nobody waiting: whoever
/// asks later does not queue behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitLock {
    /// The paths, sorted, without repeats (see [`WaitLock::new`]).
    pub paths: Vec<LockPath>,
    /// How they could be held.
    pub mode: LockMode,
    /// Who waits within the session; what this lane holds itself is not in the way.
    pub lane: String,
    /// Why, for whoever looks.
    pub intent: Option<String>,
    /// How long to wait in milliseconds: 0 answers at once, none waits without limit.
    pub wait: Option<u64>,
}

impl WaitLock {
    /// A wait of the default lane until nobody holds some paths, without limit.
    #[must_use]
    pub fn new(paths: Vec<LockPath>) -> Self {
        AcquireLock::new(paths).into()
    }
}

impl From<AcquireLock> for WaitLock {
    fn from(AcquireLock { paths, mode, lane, intent, wait, ttl: _ }: AcquireLock) -> Self {
        Self { paths, mode, lane, intent, wait }
    }
}

impl From<WaitLock> for AcquireLock {
    fn from(WaitLock { paths, mode, lane, intent, wait }: WaitLock) -> Self {
        Self { paths, mode, lane, intent, wait, ttl: None }
    }
}

impl Verb for WaitLock {
    const NAME: &'static str = "lock/wait";
    type Reply = Acquire;

    fn validate(&self) -> Result<()> {
        AcquireLock::from(self.clone()).validate()
    }
}

/// Takes up the grant that a wake-up announced; before this no user code may run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmLock {
    /// The ticket from [`Acquire::Queued`].
    pub ticket: Ticket,
}

impl Verb for ConfirmLock {
    const NAME: &'static str = "lock/confirm";
    type Reply = Acquire;

    fn validate(&self) -> Result<()> {
        Ok(())
    }
}

/// Moves the deadline of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewLock {
    /// The grant.
    pub token: Token,
    /// New deadline in milliseconds from now; none removes the deadline.
    pub ttl: Option<u64>,
}

impl Verb for RenewLock {
    const NAME: &'static str = "lock/renew";
    type Reply = Grant;

    fn validate(&self) -> Result<()> {
        check::duration("ttl", self.ttl)
    }
}

/// Gives a grant back, or some of its paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseLock {
    /// The grant.
    pub token: Token,
    /// The paths to give back; empty means all.
    pub paths: Vec<LockPath>,
}

impl Verb for ReleaseLock {
    const NAME: &'static str = "lock/release";
    type Reply = Released;

    fn validate(&self) -> Result<()> {
        check::range("paths", self.paths.len() as u64, 0, limits::PATHS as u64)
    }
}

/// What was given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// The paths.
    pub paths: Vec<LockPath>,
}

/// Undoes an acquire whose caller has gone: leaves the queue, gives the grant back, or makes a late request void.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawLock {
    /// The request number of the acquire, of the same client.
    pub request: RequestNo,
    /// The request number of a confirm of its ticket that may be under way.
    pub confirm: Option<RequestNo>,
}

impl Verb for WithdrawLock {
    const NAME: &'static str = "lock/withdraw";
    type Reply = Released;

    fn validate(&self) -> Result<()> {
        Ok(())
    }
}

/// Ends the locks on a path, whoever holds them. Only people do that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeLock {
    /// The path, as listings show it; its grants end as a whole.
    pub path: LockPath,
    /// The encoded audit entry that goes with it, with the reason.
    pub audit: String,
}

impl Verb for RevokeLock {
    const NAME: &'static str = "lock/revoke";
    type Reply = Revoked;

    fn validate(&self) -> Result<()> {
        check::blob("audit", Some(self.audit.as_bytes()))
    }
}

/// What was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The grants that have ended.
    pub grants: Vec<RevokedGrant>,
}

/// A grant that has ended by revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedGrant {
    /// Its token, stale from now on.
    pub token: Token,
    /// The holding agent, by key.
    pub agent: String,
    /// The holding agent's name.
    pub name: String,
    /// The paths it covered.
    pub paths: Vec<LockPath>,
}

/// A held lock, as listings show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The fencing token of the grant.
    pub token: Token,
    /// The paths of the grant.
    pub paths: Vec<LockPath>,
    /// How they are held.
    pub mode: LockMode,
    /// The holding session.
    pub session: Id,
    /// The holding agent, by key.
    pub agent: String,
    /// The holding agent's name.
    pub name: String,
    /// The lane within the session.
    pub lane: String,
    /// Why.
    pub intent: Option<String>,
    /// Since when.
    pub since: WallMs,
    /// Own deadline, in lease time.
    pub deadline: Option<LeaseMs>,
    /// Own deadline as estimated wall time.
    pub deadline_at: Option<WallMs>,
    /// True while a woken waiter has not confirmed yet.
    pub offered: bool,
}

/// A request that queues for paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// Its ticket.
    pub ticket: Ticket,
    /// Its paths.
    pub paths: Vec<LockPath>,
    /// How it wants them.
    pub mode: LockMode,
    /// The waiting session.
    pub session: Id,
    /// The waiting agent, by key.
    pub agent: String,
    /// The waiting agent's name.
    pub name: String,
    /// Why.
    pub intent: Option<String>,
    /// Since when.
    pub since: WallMs,
    /// False when it only waits until they are free, see [`WaitLock`].
    pub takes: bool,
}

/// Everything that stands at one path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathState {
    /// The holders: several when the lock is shared, or when one lane took the path twice.
    pub holders: Vec<Lock>,
    /// The waiters, oldest first.
    pub waiters: Vec<Waiter>,
}

/// The answer of `verify`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// True when the token is one of the path's live holders.
    pub current: bool,
    /// The newest live token on the path, when it is held.
    pub current_token: Option<Token>,
}

/// The lock service.
///
/// Every method may be called again with the same `(client, request)` and then returns the first answer.
#[async_trait]
pub trait FileLocks: Send + Sync {
    /// Takes paths, queues for them, or says who is in the way.
    ///
    /// # Behavior
    /// - `acquire_is_exclusive`: of two sessions only one holds a path.
    /// - `acquire_is_all_or_none`: with one path taken, none of the request's paths is held.
    /// - `acquire_is_fair`: a request that conflicts with an older waiter waits behind it.
    /// - `acquire_again_is_the_same_lease`: the same paths in the same lane give the same token.
    /// - `tokens_strictly_increase`: every new grant has a higher token than all before it.
    /// - `shared_locks_coexist`, `a_reader_waits_behind_an_older_writer`, `readers_go_together`.
    /// - `a_shared_lock_is_not_upgraded`: an exclusive request of a lane that shares the path is refused.
    /// - `a_subtree_conflicts_with_everything_inside`, `a_file_conflicts_with_the_subtrees_above`.
    /// - `a_deadlock_is_answered_when_it_would_arise`: the request that would close the circle is not queued.
    /// - `acquire_is_idempotent`: repeating a request returns the first answer.
    ///
    /// # Errors
    /// `Stale` when the session has ended; `Invalid` for paths that cannot be locked.
    ///
    /// # Cancel safety
    /// Dropped before the answer, the outcome is unknown: send [`FileLocks::withdraw`] with the same request number.
    async fn acquire(&self, op: Op<AcquireLock>) -> Result<Acquire>;

    /// Waits until paths could be had, and does not take them.
    ///
    /// # Behavior
    /// - `a_wait_ends_when_the_path_is_free`: nobody holds it, nobody who asked earlier waits for it; nothing is taken.
    /// - `a_wait_keeps_nobody_waiting`: whoever asks later goes first.
    /// - `a_wait_that_would_close_a_circle_is_a_deadlock`: as with a request that takes.
    ///
    /// # Errors
    /// As [`FileLocks::acquire`].
    ///
    /// # Cancel safety
    /// As [`FileLocks::acquire`].
    async fn wait(&self, op: Op<WaitLock>) -> Result<Acquire>;

    /// Takes up a grant after a wake-up.
    ///
    /// # Behavior
    /// - `release_grants_to_the_oldest_waiter`: the release itself moves the grant; confirm takes it up.
    /// - `unconfirmed_offer_moves_on`: a waiter that does not confirm within the offer time loses the grant to the next.
    async fn confirm(&self, op: Op<ConfirmLock>) -> Result<Acquire>;

    /// Moves the deadline.
    ///
    /// # Behavior
    /// - `renew_checks_the_owner`: only the holding session may renew.
    async fn renew(&self, op: Op<RenewLock>) -> Result<Grant>;

    /// Gives paths back.
    ///
    /// # Behavior
    /// - `release_never_frees_anothers_lock`: a stale token releases nothing.
    async fn release(&self, op: Op<ReleaseLock>) -> Result<Released>;

    /// Undoes an acquire by its request number.
    ///
    /// # Behavior
    /// - `withdraw_leaves_the_queue`, `withdraw_gives_the_grant_back`, `withdraw_voids_a_late_request`.
    async fn withdraw(&self, op: Op<WithdrawLock>) -> Result<Released>;

    /// Ends the locks on a path, whoever holds them.
    ///
    /// # Behavior
    /// - `only_people_revoke_locks`: an agent is refused.
    /// - `a_revoked_lock_passes_on`: the token is stale, the next waiter gets the path, the audit log tells it.
    async fn revoke(&self, op: Op<RevokeLock>) -> Result<Revoked>;

    /// Every path that is held or waited for, in order of the path.
    async fn list(&self) -> Result<Vec<(LockPath, PathState)>>;

    /// Holders and waiters of exactly this path.
    async fn at(&self, path: &LockPath) -> Result<PathState>;

    /// Everything that may be in the way at a path, in order of the path: what stands at itself, at the subtrees above,
    /// and, for a subtree, at everything inside.
    ///
    /// # Behavior
    /// - `a_file_in_a_held_subtree_is_held`
    async fn around(&self, path: &LockPath) -> Result<Vec<(LockPath, PathState)>>;

    /// Everything one session holds or waits for.
    async fn of_session(&self, session: &Id) -> Result<Vec<Lock>>;

    /// Says whether a token still protects a path, by a lock on it or on a subtree that it lies in.
    ///
    /// # Behavior
    /// - `verify_knows_stale_tokens`: after release, expiry or the session's end the token is not current.
    /// - `a_file_in_a_held_subtree_is_held`
    async fn verify(&self, path: &LockPath, token: Token) -> Result<Verified>;
}
