//! File locks as an agent uses them.

use std::future::IntoFuture;
use std::time::Duration;

use agentcoord_core::error::Noun;
use agentcoord_core::ids::Token;
use agentcoord_core::lock::{
    Acquire, AcquireLock, Grant, LockMode, LockPath, ReleaseLock, RenewLock, RevokeLock, Revoked,
};
use agentcoord_core::op::{Actor, Verb};
use agentcoord_core::store::Backend;
use agentcoord_core::{Error, Result};
use tokio::time::Instant;

use crate::audit::Entry;
use crate::client::{CoordinationClient, Holder, Pending, millis};
use crate::connection::Connection;
use crate::wait::{SAFETY, Withdrawal};
use crate::workspace;

impl CoordinationClient {
    /// Describes a lock on one file; awaiting it takes the lock, waiting in the queue if need be.
    ///
    /// The path is relative to the session's directory, or absolute, or an `@name`; it must lie in the worktree. With a
    /// trailing `/` it is the directory with everything below it. `*`, `?` and `**` stand for the files that are there
    /// (see [`lock_paths`](crate::lock_paths)).
    pub fn lock_file(&self, path: impl Into<String>) -> LockBuilder<'_> {
        self.lock_files([path])
    }

    /// Describes one lock on several files: all or none, with one fencing token.
    pub fn lock_files<P: Into<String>>(&self, paths: impl IntoIterator<Item = P>) -> LockBuilder<'_> {
        LockBuilder {
            client: self,
            paths: paths.into_iter().map(Into::into).collect(),
            intent: None,
            ttl: None,
            wait: None,
            mode: LockMode::Exclusive,
            lane: String::new(),
        }
    }
}

/// A lock to be taken. Await it.
#[derive(Debug)]
#[must_use = "a lock is taken when it is awaited"]
pub struct LockBuilder<'a> {
    client: &'a CoordinationClient,
    paths: Vec<String>,
    intent: Option<String>,
    ttl: Option<Duration>,
    wait: Option<Duration>,
    mode: LockMode,
    lane: String,
}

impl LockBuilder<'_> {
    /// Why; shown to whoever is in the way.
    pub fn intent(mut self, intent: impl Into<String>) -> Self {
        self.intent = Some(intent.into());
        self
    }

    /// An own deadline, counted from the grant. Default: none, the lock lasts as long as the session.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// How long to wait in the queue; zero refuses at once. Default: without limit.
    pub fn timeout(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Shares the files with others that share them. A shared lock is not upgraded: release it, then ask for more.
    pub fn shared(mut self) -> Self {
        self.mode = LockMode::Shared;
        self
    }

    /// The owner within the session: tasks of one program that must exclude each other use a lane each.
    pub fn lane(mut self, lane: impl Into<String>) -> Self {
        self.lane = lane.into();
        self
    }

    /// Waits until the files could be had, and takes nothing: nobody else holds them, and nobody who asked earlier waits
    /// for them. It keeps nobody waiting, so somebody else may have them when this returns.
    ///
    /// # Errors
    /// `Held` when they were not free in time, `Deadlock` when the holder waits for what this lane holds, `Stale` when
    /// the session has ended.
    ///
    /// # Cancel safety
    /// Cancel-safe: dropped, it waits no more.
    pub async fn until_free(self) -> Result<()> {
        let (client, body) = (self.client, self.request()?);
        let first = body.paths.first().map(ToString::to_string).unwrap_or_default();
        match client.connection.wait_free(&client.actor, body.into()).await? {
            Acquire::Free => Ok(()),
            outcome => Err(not_had(client, first, outcome)),
        }
    }

    fn request(&self) -> Result<AcquireLock> {
        let root = &self.client.connection.config().root;
        let mut body = AcquireLock::new(workspace::lock_paths(root, self.client.cwd(), &self.paths)?);
        body.intent.clone_from(&self.intent);
        body.ttl = self.ttl.map(millis);
        body.wait = self.wait.map(millis);
        body.lane.clone_from(&self.lane);
        body.mode = self.mode;
        Ok(body)
    }

    async fn take(self) -> Result<FileLock> {
        let (client, body) = (self.client, self.request()?);
        let first = body.paths.first().map(ToString::to_string).unwrap_or_default();
        // A guard or future that was dropped may hold the same paths for a moment more: the lane would be answered that
        // very grant, and lose it.
        tokio::select! {
            () = client.connection.withdrawals().all_over() => {}
            () = client.lost() => {}
            () = tokio::time::sleep(client.connection.config().patience) => {
                return Err(Error::unavailable("what was dropped before could not be given back yet"));
            }
        }
        // The deadline counts from before the request is sent: we never believe longer than the engine does.
        let sent = Instant::now();
        match client.connection.acquire(&client.actor, body).await? {
            Acquire::Granted(grant) => Ok(FileLock::new(client.holder(), grant, self.ttl.map(|ttl| sent + ttl))),
            outcome => Err(not_had(client, first, outcome)),
        }
    }
}

/// Why a request for some paths, of which this is the first, did not get them.
fn not_had(client: &CoordinationClient, first: String, outcome: Acquire) -> Error {
    match outcome {
        Acquire::Contended { conflicts } => {
            let holder = conflicts.first().map(|c| (c.path.to_string(), c.name.clone()));
            let (id, holder) = holder.unwrap_or((first, "somebody".to_owned()));
            Error::Held { noun: Noun::Lock, id, holder }
        }
        Acquire::Deadlock { cycle } => Error::Deadlock { cycle },
        _ if client.is_lost() => {
            Error::Stale { noun: Noun::Session, id: client.session_id().to_string(), owner: None, current: None }
        }
        _ => Error::Held { noun: Noun::Lock, id: first, holder: "others, for the whole time it waited".to_owned() },
    }
}

impl Connection {
    /// A person ends the locks on a path, whoever holds them. The path is one that listings show; each grant on it ends
    /// as a whole. The holder is told, and the audit log keeps who did it and why.
    ///
    /// # Errors
    /// `NotFound` when nobody holds the path; as [`Connection::run`].
    ///
    /// # Cancel safety
    /// As [`Connection::run`].
    pub async fn revoke_lock(&self, person: &str, path: &LockPath, reason: &str) -> Result<Revoked> {
        let entry = Entry::new(format!("human:{person}"), "revocation", format!("lock on {path}"), reason);
        let body = RevokeLock { path: path.clone(), audit: entry.encode()? };
        self.run(&Actor::Human(person.to_owned()), body).await
    }
}

impl<'a> IntoFuture for LockBuilder<'a> {
    type Output = Result<FileLock>;
    type IntoFuture = Pending<'a, FileLock>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.take())
    }
}

/// A held lock. Dropping it gives it back in the background, as well as time allows; [`FileLock::release`] waits.
#[derive(Debug)]
#[must_use = "a lock that is dropped at once protects nothing"]
pub struct FileLock {
    holder: Holder,
    grant: Grant,
    deadline: Option<Instant>,
    released: bool,
}

impl FileLock {
    fn new(holder: Holder, grant: Grant, deadline: Option<Instant>) -> Self {
        Self { holder, grant, deadline, released: false }
    }

    /// The fencing token: hand it to whatever the lock protects, so that it can refuse a holder that was paused too long.
    #[must_use]
    pub fn token(&self) -> Token {
        self.grant.token
    }

    /// The canonical paths.
    #[must_use]
    pub fn paths(&self) -> &[LockPath] {
        &self.grant.paths
    }

    /// When the lock ends by itself; none: with the session.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Resolves when the lock is, or may be, no longer held: its deadline has passed, its session was lost, or a person
    /// has revoked it.
    pub async fn lost(&self) {
        let mut lost = self.holder.lost.clone();
        let session = async { drop(lost.wait_for(|lost| *lost).await) };
        let deadline = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = session => {}
            () = deadline => {}
            () = self.revoked() => {}
        }
    }

    /// Resolves when the engine says that the token is stale. It is asked when there is news for the lock's ticket, and
    /// now and then, because news can be lost.
    async fn revoked(&self) {
        let connection = &self.holder.connection;
        let interest = connection.news().listen(self.grant.ticket.as_str());
        loop {
            let asked = async {
                // Listened to before it is asked, so that nothing falls between the two.
                connection.hear_tickets().await?;
                let store = connection.store().await?;
                for path in &self.grant.paths {
                    if !store.locks().verify(path, self.grant.token).await?.current {
                        return Ok(false);
                    }
                }
                Ok::<_, Error>(true)
            };
            if matches!(asked.await, Ok(false)) {
                return;
            }
            tokio::select! {
                () = interest.changed() => {}
                () = tokio::time::sleep(SAFETY) => {}
            }
        }
    }

    /// Runs a verb in the session's name under this lock: a write on tasks, threads, approvals or the audit log is
    /// refused when the lock is no longer held.
    ///
    /// # Errors
    /// `Stale` when the lock has ended, and then nothing was written; those of the verb.
    ///
    /// # Cancel safety
    /// As [`Connection::run`].
    pub async fn run<V: Verb>(&self, body: V) -> Result<V::Reply> {
        self.holder.connection.under(self.grant.token).run(&self.holder.actor, body).await
    }

    /// Moves the deadline to so long from now.
    ///
    /// # Errors
    /// `Stale` when the lock is no longer held.
    pub async fn renew(&mut self, ttl: Duration) -> Result<()> {
        let sent = Instant::now();
        let body = RenewLock { token: self.grant.token, ttl: Some(millis(ttl)) };
        self.holder.connection.run(&self.holder.actor, body).await?;
        self.deadline = Some(sent + ttl);
        Ok(())
    }

    /// Gives the lock back and waits until it is free.
    ///
    /// # Errors
    /// `Stale` when it was not held any more: what was written meanwhile may have met somebody else's writes.
    pub async fn release(mut self) -> Result<()> {
        let body = ReleaseLock { token: self.grant.token, paths: Vec::new() };
        let outcome = self.holder.connection.run(&self.holder.actor, body).await;
        self.released = !matches!(outcome, Err(Error::Unavailable { .. } | Error::OutcomeUnknown { .. }));
        outcome.map(drop)
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // A lock that the lane held before belongs to the first guard.
        if !self.released && !self.grant.reacquired {
            let actor = self.holder.actor.as_ref().clone();
            self.holder.connection.withdraw_later(Withdrawal::Release(actor, self.grant.token));
        }
    }
}
