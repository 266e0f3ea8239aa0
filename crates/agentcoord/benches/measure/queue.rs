//! Tasks: how soon an idle worker has one, what the tasks of others cost, and what a waiting task weighs.

use std::time::Instant;

use agentcoord::CoordinationClient;
use agentcoord::core::task::{Claim, ClaimRef, ClaimTask, CreateTasks, NewTask, ReleaseTask};
use futures_util::StreamExt;

use crate::arguments::Arguments;
use crate::bare::Bare;
use crate::sample::{self, Sample, both_in_turn};
use crate::{Outcome, place};

/// Tasks in one call.
const CHUNK: usize = 100;
/// The tag that a measured claim asks for.
const MINE: &str = "mine";
const CHANNEL: &str = "bare:news";

fn tell(ours: &mut Sample, limit: &mut Sample) {
    sample::say("p50", "us", ours.percentile(50), Some(limit.percentile(50)));
}

/// A task as most are.
pub(crate) fn task(number: usize, tag: &str, priority: u8) -> NewTask {
    let mut task = NewTask::titled(format!("Add endpoint {number}"));
    task.tags = vec![tag.to_owned()];
    task.priority = priority;
    task
}

pub(crate) async fn create(client: &CoordinationClient, tasks: impl Iterator<Item = NewTask>) -> Outcome<()> {
    let mut tasks = tasks.peekable();
    while tasks.peek().is_some() {
        client.run(CreateTasks::new(tasks.by_ref().take(CHUNK).collect())).await?;
    }
    Ok(())
}

/// Claims a task that is there.
async fn claim(client: &CoordinationClient, tags: &[&str]) -> Outcome<ClaimRef> {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    match client.run(ClaimTask { wait: Some(0), ..ClaimTask::new(tags) }).await? {
        Claim::Claimed(claim) => Ok(claim),
        other => Err(format!("no task to claim: {other:?}").into()),
    }
}

/// Puts it back to its place, so that the next claim finds the same.
async fn put_back(client: &CoordinationClient, claim: ClaimRef) -> Outcome<()> {
    client.run(ReleaseTask { key: claim.key, token: claim.token }).await?;
    Ok(())
}

/// Claims on two workspaces in turn: one as it is to be measured, and one to compare with.
async fn compare(arguments: &Arguments, ours: &CoordinationClient, limit: &CoordinationClient) -> Outcome<()> {
    let claimed = async |client: &CoordinationClient| {
        let begun = Instant::now();
        let claim = claim(client, &[MINE]).await?;
        let taken = begun.elapsed();
        put_back(client, claim).await?;
        Ok(taken)
    };
    let (ours, limit) = (async || claimed(ours).await, async || claimed(limit).await);
    both_in_turn(arguments.rounds()?, arguments.operations()?, ours, limit, tell).await
}

/// A claim with `--records` ready tasks, over one with a thousand.
pub(crate) async fn deep(arguments: &Arguments) -> Outcome<()> {
    let (many, few) = (place::at(arguments, "many", "one").await?, place::at(arguments, "few", "one").await?);
    create(&many, (0..arguments.number("records")?).map(|n| task(n, MINE, 3))).await?;
    create(&few, (0..1_000).map(|n| task(n, MINE, 3))).await?;
    compare(arguments, &many, &few).await
}

/// A claim with `--ahead` tasks of a higher priority that do not match, over one with none.
pub(crate) async fn behind_others(arguments: &Arguments) -> Outcome<()> {
    let (many, few) = (place::at(arguments, "many", "one").await?, place::at(arguments, "few", "one").await?);
    create(&many, (0..arguments.number("ahead")?).map(|n| task(n, "others", 5))).await?;
    for client in [&many, &few] {
        create(client, (0..CHUNK).map(|n| task(n, MINE, 3))).await?;
    }
    compare(arguments, &many, &few).await
}

/// A claim with `--tags` distinct tags in the store, over one with ten.
pub(crate) async fn many_tags(arguments: &Arguments) -> Outcome<()> {
    let (many, few) = (place::at(arguments, "many", "one").await?, place::at(arguments, "few", "one").await?);
    for (client, tags) in [(&many, arguments.number("tags")?), (&few, 10)] {
        create(client, (0..tags).map(|n| task(n, &format!("tag-{n}"), 3))).await?;
        create(client, (0..CHUNK).map(|n| task(n, MINE, 3))).await?;
    }
    compare(arguments, &many, &few).await
}

/// From before a task is created to the code of the worker that waits, over a bare publish and one claim after it.
pub(crate) async fn to_idle_worker(arguments: &Arguments) -> Outcome<()> {
    let (lead, worker) = (place::at(arguments, "only", "lead").await?, place::at(arguments, "only", "worker").await?);
    let store = lead.store().await?;
    let mut bare = Bare::connect(arguments).await?;
    let mut subscriber = Bare::subscriber(arguments, CHANNEL).await?;
    let mut news = subscriber.on_message();
    let ours = async || {
        let give = async {
            while store.now().await?.0.task_waiters == 0 {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(REST).await;
            let begun = Instant::now();
            lead.create_task(task(0, "given", 3)).await?;
            Ok(begun)
        };
        let take = async {
            let task = worker.claim_task(["given"]).await?;
            Ok((task, Instant::now()))
        };
        let (begun, (task, runs)) = tokio::try_join!(give, take).map_err(|e: agentcoord::Error| e)?;
        task.ok_or("no task")?.complete(None).await?;
        Ok(runs - begun)
    };
    create(&lead, (0..CHUNK).map(|n| task(n, MINE, 3))).await?;
    let limit = async || {
        let begun = Instant::now();
        let (published, heard) = tokio::join!(bare.publish(CHANNEL), news.next());
        published?;
        heard.ok_or("the subscription has ended")?;
        let claim = claim(&worker, &[MINE]).await?;
        let taken = begun.elapsed();
        put_back(&worker, claim).await?;
        Ok(taken)
    };
    both_in_turn(arguments.rounds()?, arguments.operations()?, ours, limit, tell).await
}

/// For the worker to come to rest once it waits.
const REST: std::time::Duration = std::time::Duration::from_millis(1);

/// Tasks a second, a hundred a call, over as many bare hashes and members of a sorted set; and the longest command.
pub(crate) async fn bulk(arguments: &Arguments) -> Outcome<()> {
    let client = place::at(arguments, "only", "one").await?;
    let mut bare = Bare::connect(arguments).await?;
    let calls = arguments.operations()?.div_ceil(CHUNK);
    for round in 0..=arguments.rounds()? {
        bare.note_slow(500).await?;
        let begun = Instant::now();
        create(&client, (0..calls * CHUNK).map(|n| task(n, MINE, 3))).await?;
        let ours = sample::rate(calls * CHUNK, begun.elapsed());
        let slowest = bare.slowest().await?;
        let begun = Instant::now();
        for call in 0..calls {
            bare.hashes((round * calls + call) * CHUNK, CHUNK).await?;
        }
        let limit = sample::rate(calls * CHUNK, begun.elapsed());
        if round > 0 {
            sample::say("rate", "/s", ours, Some(limit));
            sample::say("longest command", "ms", f64::from(slowest) / 1e3, None);
        }
    }
    Ok(client.close().await?)
}

/// Bytes of a waiting task, over those of a bare hash with the same fields and its member of a sorted set. Without the
/// log of events, whose length is bounded.
pub(crate) async fn weight(arguments: &Arguments) -> Outcome<()> {
    let client = place::at(arguments, "only", "one").await?;
    let mut bare = Bare::connect(arguments).await?;
    let number = arguments.operations()?.next_multiple_of(CHUNK);
    for round in 0..arguments.rounds()? {
        let empty = bare.bytes_without_events().await?;
        create(&client, (0..number).map(|n| task(n, MINE, 3))).await?;
        let full = bare.bytes_without_events().await?;
        for call in 0..number / CHUNK {
            bare.hashes(round * number + call * CHUNK, CHUNK).await?;
        }
        let fuller = bare.bytes_without_events().await?;
        let each = |from: f64, to: f64| (to - from) / f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        sample::say("each", "bytes", each(empty, full), Some(each(full, fuller)));
    }
    Ok(client.close().await?)
}
