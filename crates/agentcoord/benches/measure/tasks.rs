//! Tasks: what committing together brings on files, and how fast claims go on Redis.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use agentcoord::core::ids::Id;
use agentcoord::core::op::{Actor, Verb};
use agentcoord::core::task::{Claim, ClaimRef, ClaimTask, CompleteTask, CreateTasks, NewTask, NextTask};
use agentcoord::{Connection, CoordinationClient};
use tokio::task::JoinSet;

use crate::Outcome;
use crate::arguments::Arguments;
use crate::bare::Bare;
use crate::{place, sample};

/// Tasks in one call when they are only made to be claimed.
pub(crate) const CHUNK: usize = 100;
/// How long a claim lasts: every claim here has a lease.
const LEASE: u64 = 30_000;

/// Somebody with a session, and the ids of the tasks that were made, by their short form.
#[derive(Clone)]
pub(crate) struct Caller {
    connection: Connection,
    actor: Actor,
    ids: Arc<Mutex<HashMap<String, Id>>>,
}

impl Caller {
    pub(crate) fn new(connection: Connection, actor: Actor) -> Self {
        Self { connection, actor, ids: Arc::default() }
    }

    /// Makes so many tasks.
    pub(crate) async fn create(&self, number: usize) -> Outcome<()> {
        self.make((0..number).map(|i| NewTask::titled(format!("Add endpoint {i}")))).await
    }

    /// Makes these tasks.
    pub(crate) async fn make(&self, tasks: impl Iterator<Item = NewTask>) -> Outcome<()> {
        let mut tasks = tasks.peekable();
        while tasks.peek().is_some() {
            let chunk: Vec<NewTask> = tasks.by_ref().take(CHUNK).collect();
            let ids: Vec<Id> = chunk.iter().map(|task| task.id.clone()).collect();
            let created = self.run(CreateTasks::new(chunk)).await?;
            let mut known = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
            known.extend(created.items.into_iter().map(|item| item.key).zip(ids));
        }
        Ok(())
    }

    /// Claims a task that is there, under a lease.
    pub(crate) async fn claim(&self) -> Outcome<ClaimRef> {
        match self.run(ClaimTask { wait: Some(0), lease: Some(LEASE), ..ClaimTask::new(Vec::new()) }).await? {
            Claim::Claimed(claim) => Ok(claim),
            other => Err(format!("no task to claim: {other:?}").into()),
        }
    }

    pub(crate) async fn complete(&self, claim: ClaimRef) -> Outcome<()> {
        self.end(claim, None).await.map(drop)
    }

    /// Completes a task and claims the next one in the same call.
    pub(crate) async fn complete_and_claim(&self, claim: ClaimRef) -> Outcome<ClaimRef> {
        let next = NextTask { wait: Some(0), lease: Some(LEASE), ..NextTask::new(Vec::new()) };
        match self.end(claim, Some(next)).await? {
            Some(Claim::Claimed(claim)) => Ok(claim),
            other => Err(format!("no task to claim: {other:?}").into()),
        }
    }

    async fn end(&self, claim: ClaimRef, next: Option<NextTask>) -> Outcome<Option<Claim>> {
        let id = self.ids.lock().unwrap_or_else(PoisonError::into_inner).remove(&claim.key);
        let id = id.ok_or("a task that nobody has made")?;
        let body = CompleteTask { next, ..CompleteTask::new(claim.key, id, claim.token, None) };
        Ok(self.run(body).await?.next)
    }

    pub(crate) async fn claim_and_complete(&self) -> Outcome<()> {
        self.complete(self.claim().await?).await
    }

    async fn run<V: Verb>(&self, body: V) -> Outcome<V::Reply> {
        Ok(self.connection.run(&self.actor, body).await?)
    }
}

impl From<&CoordinationClient> for Caller {
    fn from(client: &CoordinationClient) -> Self {
        Self::new(client.connection().clone(), Actor::Session(client.session_id().clone()))
    }
}

/// Runs `times` operations on `clients` at once and returns how many a second there were.
pub(crate) async fn at_once<W, F>(clients: usize, times: usize, work: W) -> Outcome<f64>
where
    W: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = Outcome<()>> + Send + 'static,
{
    let (share, begun) = (times.div_ceil(clients), Instant::now());
    let mut working = JoinSet::new();
    for _ in 0..clients {
        let work = work.clone();
        working.spawn(async move {
            for _ in 0..share {
                work().await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(done) = working.join_next().await {
        done??;
    }
    Ok(sample::rate(share * clients, begun.elapsed()))
}

/// Create, claim and complete on files: `--clients` at once over one after the other.
pub(crate) async fn group_commit(arguments: &Arguments) -> Outcome<()> {
    let client = place::on_files(arguments).await?;
    let queue = Caller::from(&client);
    let (clients, times) = (arguments.number("clients")?, arguments.operations()?);
    let work = || {
        let queue = queue.clone();
        move || {
            let queue = queue.clone();
            async move {
                queue.create(1).await?;
                queue.claim_and_complete().await
            }
        }
    };
    for round in 0..=arguments.rounds()? {
        let together = at_once(clients, times, work()).await?;
        let alone = at_once(1, times, work()).await?;
        if round > 0 {
            sample::say("rate", "/s", together, Some(alone));
        }
    }
    Ok(client.close().await?)
}

/// Claim and complete on Redis by `--clients` at once, over as many at once of two bare scripts.
pub(crate) async fn claim_and_complete(arguments: &Arguments) -> Outcome<()> {
    let client = place::on_redis(arguments).await?;
    let queue = Caller::from(&client);
    let bare = Bare::connect(arguments).await?;
    let (clients, times) = (arguments.number("clients")?, arguments.operations()?);
    for round in 0..=arguments.rounds()? {
        queue.create(times.div_ceil(clients) * clients).await?;
        let worker = queue.clone();
        let work = move || {
            let queue = worker.clone();
            async move { queue.claim_and_complete().await }
        };
        let ours = at_once(clients, times, work).await?;
        let bare = bare.clone();
        let work = move || {
            let mut bare = bare.clone();
            async move {
                bare.run("bare:claim").await?;
                bare.run("bare:complete").await
            }
        };
        let limit = at_once(clients, times, work).await?;
        if round > 0 {
            sample::say("rate", "/s", ours, Some(limit));
        }
    }
    Ok(client.close().await?)
}
