//! A worker: claims tasks, hands each to a handler, and says how it went.

mod failure;
mod slot;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use agentcoord_core::task::ClaimTask;
use agentcoord_core::{Error, Noun, Result};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::{CoordinationClient, Holder, millis};
use crate::task::Task;
pub use failure::Failure;
use slot::{Phase, Shared};

type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

impl CoordinationClient {
    /// Describes a worker for tasks that carry any of the tags (none: any task). [`Worker::run`] starts it.
    pub fn worker<T: Into<String>>(&self, tags: impl IntoIterator<Item = T>) -> Worker {
        Worker {
            holder: self.holder(),
            claim: ClaimTask::new(tags.into_iter().map(Into::into).collect()),
            concurrency: 1,
            most: u64::MAX,
            until: Box::pin(std::future::pending()),
            release: Box::pin(std::future::pending()),
        }
    }
}

/// A claim loop in an agent's session.
///
/// Each of its slots claims a task, runs the handler, and completes or fails the task with what the handler returns; then
/// it claims the next one. Where there is none it waits, without polling, until one is handed to it.
///
/// - A handler that returns a [`Failure`], or panics, fails its task with that reason. Errors become failures by `?`. It
///   does not end its task itself: the worker would find the claim over.
/// - A handler whose claim is over (the task was cancelled, or its lease has ended) is dropped at its next `await`.
/// - While Redis is away for a moment, the worker tries again. It ends with `Stale` when the session is lost; all handlers
///   are dropped then, because others may have their tasks.
/// - When the process dies, its tasks go back to their place in the queue and others run them: a task may run more than
///   once. [`Task::token`] tells a resource that checks it which run is the current one.
///
/// ```no_run
/// # async fn resize(_: &str) -> std::io::Result<u32> { Ok(0) }
/// # async fn example() -> agentcoord::Result<()> {
/// use std::time::Duration;
///
/// use agentcoord::{CoordinationClient, Failure};
///
/// let session = CoordinationClient::session("Resizer", "resizer").await?;
/// let worked = session
///     .worker(["images"])
///     .concurrency(4)
///     .until(async { drop(tokio::signal::ctrl_c().await) })
///     .grace(Duration::from_secs(30))
///     .run(|task| async move {
///         let file: String = task.payload().map_err(Failure::fatal)?;
///         task.progress("decoded", Some(10)).await?;
///         let width = resize(&file).await?;
///         Ok(width)
///     })
///     .await?;
/// println!("{} done, {} failed", worked.completed, worked.failed);
/// session.close().await
/// # }
/// ```
#[must_use = "a worker does nothing until it runs"]
pub struct Worker {
    holder: Holder,
    claim: ClaimTask,
    concurrency: usize,
    most: u64,
    until: Signal,
    release: Signal,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("claim", &self.claim)
            .field("concurrency", &self.concurrency)
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

/// What a worker has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Worked {
    /// Tasks that were completed.
    pub completed: u64,
    /// Attempts that failed; the task may be tried again.
    pub failed: u64,
    /// Tasks that were put back.
    pub released: u64,
    /// Claims that were over before it was said how the task went: nothing was written.
    pub lost: u64,
}

impl Worker {
    /// How many tasks run at a time. Default and least: 1.
    pub fn concurrency(mut self, slots: usize) -> Self {
        self.concurrency = slots.max(1);
        self
    }

    /// How long a claim lasts unless the handler extends it. Default: the task's own lease, else as long as the session.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.claim.lease = Some(millis(lease));
        self
    }

    /// Claims so many tasks at most. Default: without limit.
    pub fn limit(mut self, tasks: u64) -> Self {
        self.most = tasks;
        self
    }

    /// Does not wait for tasks: a slot that finds nothing to claim ends.
    pub fn until_empty(mut self) -> Self {
        self.claim.wait = Some(0);
        self
    }

    /// Stops to claim when this resolves; what runs is finished.
    pub fn until(mut self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        self.until = Box::pin(stop);
        self
    }

    /// Drops the handlers that still run when this resolves, and puts their tasks back; it is awaited from the moment at
    /// which the worker stops to claim. Default: never.
    pub fn release_when(mut self, release: impl Future<Output = ()> + Send + 'static) -> Self {
        self.release = Box::pin(release);
        self
    }

    /// [`Worker::release_when`] so much time has passed.
    pub fn grace(self, grace: Duration) -> Self {
        // Counted from the first poll.
        self.release_when(async move { tokio::time::sleep(grace).await })
    }

    /// Claims and works until it is stopped. What the handler returns is stored as the task's result, as JSON; `()` is no
    /// result.
    ///
    /// Handlers are spawned on the current tokio runtime, each claim's as a task of its own.
    ///
    /// # Errors
    /// `Stale` when the session is lost; `Invalid` for tags that are none. What runs then is dropped, and put back.
    ///
    /// # Cancel safety
    /// Dropped, it drops all handlers and puts their tasks back.
    pub async fn run<H, F, T>(self, handler: H) -> Result<Worked>
    where
        H: Fn(Arc<Task>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
        T: Serialize + 'static,
    {
        let Self { holder, claim, concurrency, most, until, release } = self;
        let (phase, phases) = watch::channel(Phase::Claiming);
        let shared = Arc::new(Shared::new(holder.clone(), claim, most, phases, handler));
        let mut slots = JoinSet::new();
        for _ in 0..concurrency {
            slots.spawn(Arc::clone(&shared).work());
        }
        let conduct = conduct(&holder, &phase, until, release);
        tokio::pin!(conduct);
        let mut failure = None;
        loop {
            tokio::select! {
                ended = slots.join_next() => match ended {
                    None => break,
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(error))) => {
                        phase.send_replace(Phase::Releasing);
                        failure.get_or_insert(error);
                    }
                    Some(Err(error)) => {
                        phase.send_replace(Phase::Releasing);
                        failure.get_or_insert(Error::backend("a slot of the worker has ended", error));
                    }
                },
                () = &mut conduct => {}
            }
        }
        if *holder.lost.borrow() {
            failure = Some(lost_session(&holder));
        }
        failure.map_or_else(|| Ok(shared.worked()), Err)
    }
}

/// Moves the worker from phase to phase; never ends.
async fn conduct(holder: &Holder, phase: &watch::Sender<Phase>, until: Signal, release: Signal) {
    let mut session = holder.lost.clone();
    let orders = async {
        until.await;
        phase.send_if_modified(|now| now.advance(Phase::Finishing));
        release.await;
        phase.send_replace(Phase::Releasing);
    };
    tokio::select! {
        lost = session.wait_for(|lost| *lost) => drop(lost),
        () = orders => {}
    }
    phase.send_replace(Phase::Releasing);
    std::future::pending::<()>().await;
}

fn lost_session(holder: &Holder) -> Error {
    let id = match holder.actor.as_ref() {
        agentcoord_core::op::Actor::Session(id) => id.to_string(),
        _ => String::new(),
    };
    Error::Stale { noun: Noun::Session, id, owner: None, current: None }
}
