//! File locks as an agent uses them.

use std::future::IntoFuture;
use std::time::Duration;

use agentcoord_core::error::Noun;
use agentcoord_core::ids::Token;
use agentcoord_core::lock::{Acquire, AcquireLock, Grant, LockMode, LockPath, ReleaseLock, RenewLock};
use agentcoord_core::store::Backend;
use agentcoord_core::{Error, Result};
use tokio::time::Instant;

use crate::client::{CoordinationClient, Holder, Pending, millis};
use crate::wait::{SAFETY, Withdrawal};
use crate::workspace;

impl CoordinationClient {
    /// Describes a lock on one file; awaiting it takes the lock, waiting in the queue if need be.
    ///
    /// The path is relative to the session's directory, or absolute, or an `@name`; it must lie in the worktree. With a
    /// trailing `/` it is the directory with everything below it.
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

    async fn take(self) -> Result<FileLock> {
        let client = self.client;
        let root = &client.connection.config().root;
        let paths: Result<Vec<LockPath>> =
            self.paths.iter().map(|path| workspace::lock_path(root, client.cwd(), path)).collect();
        let mut body = AcquireLock::new(paths?);
        body.intent = self.intent;
        body.ttl = self.ttl.map(millis);
        body.wait = self.wait.map(millis);
        body.lane = self.lane;
        body.mode = self.mode;
        let first = body.paths.first().map(ToString::to_string).unwrap_or_default();
        // A guard or future that was dropped may hold the same paths for a moment more: the lane would be answered that
        // very grant, and lose it.
        tokio::select! {
            () = client.connection.all_withdrawn() => {}
            () = client.lost() => {}
        }
        // The deadline counts from before the request is sent: we never believe longer than the engine does.
        let sent = Instant::now();
        match client.connection.acquire(&client.actor, body).await? {
            Acquire::Granted(grant) => Ok(FileLock::new(client.holder(), grant, self.ttl.map(|ttl| sent + ttl))),
            Acquire::Contended { conflicts } => {
                let holder = conflicts.first().map(|c| (c.path.to_string(), c.name.clone()));
                let (id, holder) = holder.unwrap_or((first, "somebody".to_owned()));
                Err(Error::Held { noun: Noun::Lock, id, holder })
            }
            Acquire::Deadlock { cycle } => Err(Error::Deadlock { cycle }),
            Acquire::Queued { .. } | Acquire::Lapsed { .. } => {
                if client.is_lost() {
                    return Err(Error::Stale {
                        noun: Noun::Session,
                        id: client.session_id().to_string(),
                        owner: None,
                        current: None,
                    });
                }
                Err(Error::Held {
                    noun: Noun::Lock,
                    id: first,
                    holder: "others, for the whole time it waited".to_owned(),
                })
            }
        }
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
