//! The end of a task and the claim of the next one in one round trip, over the least script that does it.

use std::future::Future;
use std::time::Instant;

use tokio::task::JoinSet;

use crate::arguments::Arguments;
use crate::bare::Bare;
use crate::tasks::{CHUNK, Caller};
use crate::{Outcome, place, sample};

/// Lets `clients` work at once, each on its share of `times` tasks, and returns how many tasks a second that were.
pub(crate) async fn shares<W, F>(clients: usize, times: usize, work: W) -> Outcome<f64>
where
    W: Fn(usize) -> F,
    F: Future<Output = Outcome<()>> + Send + 'static,
{
    let (share, begun) = (times.div_ceil(clients), Instant::now());
    let mut working = JoinSet::new();
    for _ in 0..clients {
        working.spawn(work(share));
    }
    while let Some(done) = working.join_next().await {
        done??;
    }
    Ok(sample::rate(share * clients, begun.elapsed()))
}

/// `--clients` at once, ours over the bare script. Both make as many calls: the first one claims only.
pub(crate) async fn over_bare(arguments: &Arguments) -> Outcome<()> {
    let client = place::on_redis(arguments).await?;
    let queue = Caller::from(&client);
    let bare = Bare::fused(arguments).await?;
    let (clients, times) = (arguments.number("clients")?, arguments.operations()?);
    let tasks = (times + clients).next_multiple_of(CHUNK);
    for round in 0..=arguments.rounds()? {
        queue.create(tasks).await?;
        for from in (0..tasks).step_by(CHUNK) {
            bare.clone().hashes(round * tasks + from, CHUNK).await?;
        }
        let ours = shares(clients, times, |share| one_after_another(queue.clone(), share)).await?;
        let limit = shares(clients, times, |share| {
            let mut bare = bare.clone();
            async move {
                let mut task = String::new();
                for _ in 0..=share {
                    task = bare.end_and_claim(&task).await?;
                }
                Ok(())
            }
        });
        let limit = limit.await?;
        if round > 0 {
            sample::say("rate", "/s", ours, Some(limit));
        }
    }
    Ok(client.close().await?)
}

/// One worker's tasks: a claim, then each end with the next claim.
pub(crate) async fn one_after_another(worker: Caller, share: usize) -> Outcome<()> {
    let mut claim = worker.claim().await?;
    for _ in 1..share {
        claim = worker.complete_and_claim(claim).await?;
    }
    worker.complete(claim).await
}
