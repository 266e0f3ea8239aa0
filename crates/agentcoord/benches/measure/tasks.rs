//! Tasks: what committing together brings on files, and how fast claims go on Redis.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use agentcoord::CoordinationClient;
use agentcoord::core::ids::Id;
use agentcoord::core::task::{Claim, ClaimTask, CompleteTask, CreateTasks, NewTask};
use tokio::task::JoinSet;

use crate::Outcome;
use crate::arguments::Arguments;
use crate::bare::Bare;
use crate::{place, sample};

/// Tasks in one call when they are only made to be claimed.
const CHUNK: usize = 100;

/// The agents of a measurement: one session, and the ids of the tasks it has made, by their short form.
#[derive(Clone)]
struct Queue {
    client: Arc<CoordinationClient>,
    ids: Arc<Mutex<HashMap<String, Id>>>,
}

impl Queue {
    fn new(client: CoordinationClient) -> Self {
        Self { client: Arc::new(client), ids: Arc::default() }
    }

    async fn create(&self, number: usize) -> Outcome<()> {
        let tasks: Vec<NewTask> = (0..number).map(|i| NewTask::titled(format!("Add endpoint {i}"))).collect();
        let ids: Vec<Id> = tasks.iter().map(|task| task.id.clone()).collect();
        let created = self.client.run(CreateTasks::new(tasks)).await?;
        let mut known = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(created.items.into_iter().map(|item| item.key).zip(ids));
        Ok(())
    }

    async fn claim_and_complete(&self) -> Outcome<()> {
        let claim = ClaimTask { wait: Some(0), ..ClaimTask::new(Vec::new()) };
        let Claim::Claimed(claim) = self.client.run(claim).await? else { return Err("no task to claim".into()) };
        let id = self.ids.lock().unwrap_or_else(PoisonError::into_inner).remove(&claim.key);
        let id = id.ok_or("a task that nobody has made")?;
        self.client.run(CompleteTask::new(claim.key, id, claim.token, None)).await?;
        Ok(())
    }

    async fn close(self) -> Outcome<()> {
        let client = Arc::into_inner(self.client).ok_or("somebody still works")?;
        Ok(client.close().await?)
    }
}

/// Runs `times` operations on `clients` at once and returns how many a second there were.
async fn at_once<W, F>(clients: usize, times: usize, work: W) -> Outcome<f64>
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
    let queue = Queue::new(place::on_files(arguments).await?);
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
    queue.close().await
}

/// Claim and complete on Redis by `--clients` at once, over as many at once of two bare scripts.
pub(crate) async fn claim_and_complete(arguments: &Arguments) -> Outcome<()> {
    let queue = Queue::new(place::on_redis(arguments).await?);
    let bare = Bare::connect(arguments).await?;
    let (clients, times) = (arguments.number("clients")?, arguments.operations()?);
    for round in 0..=arguments.rounds()? {
        for _ in 0..(times.div_ceil(clients) * clients).div_ceil(CHUNK) {
            queue.create(CHUNK).await?;
        }
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
    queue.close().await
}
