//! From the release of a lock to the next holder's own code, over the least that can carry it there.

use std::time::{Duration, Instant};

use agentcoord::CoordinationClient;
use agentcoord::core::lock::{FileLocks, LockPath};
use futures_util::StreamExt;
use rusqlite::Connection as Sqlite;

use crate::arguments::Arguments;
use crate::bare::Bare;
use crate::sample::{self, Sample, both_in_turn};
use crate::{Outcome, place};

const FILE: &str = "src/main.rs";
const OTHER: &str = "src/other.rs";
const CHANNEL: &str = "bare:news";
/// For the waiter to come to rest once it is in the queue.
const REST: Duration = Duration::from_millis(1);

/// On Redis: over a bare publish and one whole acquire after it.
pub(crate) async fn on_redis(arguments: &Arguments) -> Outcome<()> {
    let (one, two) = (place::at(arguments, "only", "one").await?, place::at(arguments, "only", "two").await?);
    let mut bare = Bare::connect(arguments).await?;
    let mut subscriber = Bare::subscriber(arguments, CHANNEL).await?;
    let mut news = subscriber.on_message();
    let limit = async || {
        let begun = Instant::now();
        let (published, heard) = tokio::join!(bare.publish(CHANNEL), news.next());
        published?;
        heard.ok_or("the subscription has ended")?;
        let lock = two.lock_file(OTHER).await?;
        let taken = begun.elapsed();
        lock.release().await?;
        Ok(taken)
    };
    both_in_turn(arguments.rounds()?, arguments.operations()?, async || pass(&one, &two).await, limit, tell).await?;
    one.close().await?;
    Ok(two.close().await?)
}

/// On files: over one bare transaction that changes a row.
pub(crate) async fn on_files(arguments: &Arguments) -> Outcome<()> {
    let (one, two) = (place::at(arguments, "only", "one").await?, place::at(arguments, "only", "two").await?);
    let bare = transactions(arguments)?;
    let limit = async || {
        let begun = Instant::now();
        bare.execute_batch("begin immediate; update t set n = n + 1; commit")?;
        Ok(begun.elapsed())
    };
    both_in_turn(arguments.rounds()?, arguments.operations()?, async || pass(&one, &two).await, limit, tell).await?;
    one.close().await?;
    Ok(two.close().await?)
}

/// A bare database with the settings of ours.
fn transactions(arguments: &Arguments) -> Outcome<Sqlite> {
    let bare = Sqlite::open(arguments.path("dir")?.join("bare.db"))?;
    bare.execute_batch(
        "pragma journal_mode = wal; pragma synchronous = normal; create table t (n integer); insert into t values (0)",
    )?;
    Ok(bare)
}

fn tell(ours: &mut Sample, limit: &mut Sample) {
    let p50 = ours.percentile(50);
    sample::say("p50", "us", p50, Some(limit.percentile(50)));
    sample::say_against("p99", "us", ours.percentile(99), p50, "its own p50");
}

/// From before the release is sent to when the other one's code runs.
async fn pass(from: &CoordinationClient, to: &CoordinationClient) -> Outcome<Duration> {
    let held = from.lock_file(FILE).await?;
    let store = from.store().await?;
    let file = LockPath::parse(FILE)?;
    let release = async {
        while store.at(&file).await?.waiters.is_empty() {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(REST).await;
        let begun = Instant::now();
        held.release().await?;
        Ok(begun)
    };
    let wait = async {
        let lock = to.lock_file(FILE).await?;
        Ok((lock, Instant::now()))
    };
    let (begun, (lock, runs)) = tokio::try_join!(release, wait).map_err(|e: agentcoord::Error| e)?;
    lock.release().await?;
    Ok(runs - begun)
}
