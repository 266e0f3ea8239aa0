//! Both engines hold the same: the replica what Redis has, and Redis what the files had.

use std::time::{Duration, Instant};

use agentcoord::core::engine::EngineKind;
use agentcoord::core::history::PruneHistory;
use agentcoord::core::op::Actor;
use agentcoord::core::snapshot::Snapshot;
use agentcoord::core::table::Table;
use agentcoord::core::task::{CreateTasks, NewTask};
use agentcoord::{Config, Connection, CoordinationClient, Style};
use agentcoord_fs::{Namespace, StateDir};
use agentcoord_redis::{Deadlines, RedisUrl, carry_out};
use agentcoord_testkit::redis_server::RedisServer;

use super::{quick, served_by};
use crate::place::Place;

/// A little of everything.
async fn work(client: &CoordinationClient, round: u64) {
    let mut first = NewTask::titled(format!("first {round}"));
    first.description = Some("a long text".into());
    first.tags = vec![format!("t{round}")];
    let first = client.create_task(first).await.unwrap().key;
    let mut second = NewTask::titled(format!("second {round}"));
    second.depends_on = vec![first];
    client.create_task(second).await.unwrap();
    let task = client.claim_task([format!("t{round}")]).await.unwrap().unwrap();
    let lock = client.lock_files(["src/", "b"]).intent("because").await.unwrap();
    task.progress("half way", Some(50)).await.unwrap();
    task.complete(Some("{\"done\":true}".into())).await.unwrap();
    let kept = client.lock_file(format!("kept {round}")).await.unwrap();
    std::mem::forget(kept);
    lock.release().await.unwrap();
    let thread = client.post_thread(format!("hello {round}"), "first").await.unwrap().thread;
    client.reply(thread.as_str(), "second").await.unwrap();
    client.log_decision("design", "engines", "because").await.unwrap();
    std::mem::forget(client.request_approval("deploy", format!("it {round}")).diff("+ a").await.unwrap());
    let eve = Actor::Human("eve".into());
    client.connection().run(&eve, PruneHistory { older_than: 0, keep: 1 }).await.unwrap();
}

/// What is to be the same: everything but signs of life, which are in no log.
fn comparable(mut snapshot: Snapshot) -> Snapshot {
    snapshot.records.retain(|(table, ..)| *table != Table::Pulse);
    snapshot.records.sort();
    snapshot.blobs.sort();
    snapshot
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_hold_what_redis_holds_and_the_other_way_round() {
    let mut server = RedisServer::start();
    let place = Place::on(&server.url());
    let one = quick(place.session("one")).await.unwrap();
    let state_dir = StateDir::open(place.dir.path().join("state")).unwrap();
    let namespace = Namespace::open(&state_dir, one.connection().namespace()).unwrap();
    for round in 0..3 {
        work(&one, 3 * round).await;
        same(&server, &namespace).await;
        server.kill9();
        work(&one, 3 * round + 1).await;
        served_by(&one, EngineKind::Files).await;
        work(&one, 3 * round + 2).await;
        server.restart();
        served_by(&one, EngineKind::Redis).await;
        same(&server, &namespace).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stays_without_a_session_lets_its_journal_not_grow_for_ever() {
    const TEXT: usize = 64 << 10;
    const MUCH: u64 = 8 << 20;
    let server = RedisServer::start();
    let place = Place::on(&server.url());
    let mut config = Config::new(place.dir.path(), place.dir.path().join("state"));
    config.redis_url = Some(server.url());
    let connection = Connection::open(config, Style::LongRunning).await.unwrap();
    let eve = Actor::Human("eve".into());
    let create = async || {
        let mut task = NewTask::titled("more");
        task.description = Some("x".repeat(TEXT));
        connection.run(&eve, CreateTasks::new(vec![task])).await.unwrap();
        connection.condition().await.unwrap().unwrap().journal_bytes
    };
    while create().await <= MUCH {}
    let give_up = Instant::now() + Duration::from_secs(20);
    while create().await > MUCH {
        assert!(Instant::now() < give_up, "{:?}", connection.condition().await);
    }
}

/// Waits until the replica is as far as Redis, and compares both.
async fn same(server: &RedisServer, namespace: &Namespace) {
    let give_up = Instant::now() + Duration::from_secs(10);
    loop {
        let row = namespace.row().unwrap().unwrap();
        let url = RedisUrl::parse(&server.url()).unwrap();
        let redis = carry_out(&url, namespace.name(), &row.generation.to_string(), Deadlines::default()).await.unwrap();
        let files = namespace.carry_out().unwrap();
        let is_now = redis.state.csn == files.state.csn;
        let (mut redis, mut files) = (comparable(redis), comparable(files));
        if is_now && redis.records == files.records {
            assert_eq!(redis.blobs, files.blobs);
            assert_eq!(redis.derive().unwrap().counts, files.derive().unwrap().counts);
            assert_eq!(redis.state.token, files.state.token);
            return;
        }
        assert!(Instant::now() < give_up, "{:?} and {:?}", redis.state.csn, files.state.csn);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
