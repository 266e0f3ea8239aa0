//! File locks: requests, outcomes, and the contract.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::{Error, Result};
use crate::ids::{Id, RequestNo, Ticket, Token};
use crate::limits;
use crate::op::{Op, Verb};
use crate::time::{LeaseMs, WallMs};

/// What a lock protects: a path relative to the worktree root with `/` between its parts, or an `@name`.
///
/// Canonical by construction: `./a`, `x/../a` and `a` are the same path. Symbolic links are resolved by whoever
/// knows the file system (the client library), before a path comes here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LockPath(String);

impl LockPath {
    /// Checks a path and brings it to its canonical form.
    ///
    /// A trailing `/` means the subtree: `src/` is everything below `src`, and `src` itself.
    ///
    /// # Errors
    /// `Invalid` when it is empty, absolute, leads out of the root, is the root, contains control characters, or is
    /// longer than 4,096 bytes or 64 parts.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |allowed: &str| Err(Error::invalid("path", text, allowed));
        if text.is_empty() {
            return refuse("a path relative to the worktree root, or @name");
        }
        if text.len() > limits::PATH_BYTES {
            return refuse("at most 4096 bytes");
        }
        if text.chars().any(char::is_control) {
            return refuse("a path without NUL and other control characters");
        }
        if let Some(name) = text.strip_prefix('@') {
            if name.is_empty() || name.starts_with('/') || name.contains("//") || name.ends_with('/') {
                return refuse("@name, as in @git/index");
            }
            return Ok(Self(text.to_owned()));
        }
        if text.starts_with('/') {
            return refuse("a path relative to the worktree root");
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    if parts.pop().is_none() {
                        return refuse("a path inside the worktree root");
                    }
                }
                part => parts.push(part),
            }
        }
        if parts.is_empty() {
            return refuse("a file or directory below the worktree root");
        }
        if parts.len() > limits::PATH_DEPTH {
            return refuse("at most 64 parts");
        }
        let subtree = matches!(text.rsplit('/').next(), Some("" | "." | ".."));
        Ok(Self(parts.join("/") + if subtree { "/" } else { "" }))
    }

    /// True for a directory with everything below it.
    #[must_use]
    pub fn is_subtree(&self) -> bool {
        self.0.ends_with('/')
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for LockPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

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
    /// The ticket is gone: it waited too long, or its session ended.
    Lapsed {
        /// The ticket.
        ticket: Ticket,
    },
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

    /// Holders and waiters of one path.
    async fn at(&self, path: &LockPath) -> Result<PathState>;

    /// Everything one session holds or waits for.
    async fn of_session(&self, session: &Id) -> Result<Vec<Lock>>;

    /// Says whether a token still protects a path.
    ///
    /// # Behavior
    /// - `verify_knows_stale_tokens`: after release, expiry or the session's end the token is not current.
    async fn verify(&self, path: &LockPath, token: Token) -> Result<Verified>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_path_are_one_lock() {
        for text in ["a", "./a", "x/../a", ".//a"] {
            assert_eq!(LockPath::parse(text).expect(text).as_str(), "a");
        }
    }

    #[test]
    fn a_trailing_slash_is_the_subtree() {
        for text in ["a/", "./a//", "a/b/..", "a/."] {
            assert_eq!(LockPath::parse(text).expect(text).as_str(), "a/");
        }
    }

    #[test]
    fn paths_that_cannot_be_locked_are_refused() {
        let (long, deep) = ("x".repeat(4_097), "x/".repeat(65));
        for text in
            ["", ".", "./", "..", "a/..", deep.as_str(), "a/../..", "/etc/passwd", "a\0b", "a\nb", "@", long.as_str()]
        {
            assert!(matches!(LockPath::parse(text), Err(Error::Invalid { field: "path", .. })), "{text:?}");
        }
    }

    #[test]
    fn names_are_kept_as_they_are() {
        assert_eq!(LockPath::parse("@git/index").expect("a name").as_str(), "@git/index");
    }
}
