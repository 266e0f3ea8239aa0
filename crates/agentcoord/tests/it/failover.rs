//! Redis goes and comes back while agents work.

use std::time::Duration;

use agentcoord::core::engine::EngineKind;
use agentcoord::core::task::{NewTask, TaskFilter, TaskQueue};
use agentcoord::{CoordinationClient, Error, SessionBuilder};
use agentcoord_testkit::redis_server::RedisServer;

use crate::place::Place;

/// Short times, so that tests need not wait.
fn quick(builder: SessionBuilder) -> SessionBuilder {
    builder.detection(Duration::from_millis(400)).return_after(Duration::from_millis(300))
}

async fn engine(client: &CoordinationClient) -> EngineKind {
    client.run(agentcoord::core::agent::Heartbeat { progress: false }).await.unwrap();
    client.connection().opened().await.unwrap().serving.engine
}

/// Waits until an engine serves.
async fn served_by(client: &CoordinationClient, wanted: EngineKind) {
    let patience = std::time::Instant::now() + Duration::from_secs(20);
    while engine(client).await != wanted {
        assert!(std::time::Instant::now() < patience, "{wanted:?} did not come to serve");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn titles(client: &CoordinationClient) -> Vec<String> {
    let page =
        TaskQueue::list(&client.store().await.unwrap(), &TaskFilter { limit: 100, ..TaskFilter::default() }).await;
    let mut titles: Vec<String> = page.unwrap().items.into_iter().map(|task| task.title).collect();
    titles.sort();
    titles
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_go_on_when_redis_is_killed_and_go_back_when_it_returns_empty() {
    let mut server = RedisServer::start_with("redis-server", &["--appendonly", "no"]);
    let place = Place::on(&server.url());
    let (one, two) = (quick(place.session("one")).await.unwrap(), quick(place.session("two")).await.unwrap());
    assert!(one.connection().opened().await.unwrap().serving.protected);
    let lock = one.lock_file("a").await.unwrap();
    let mut task = NewTask::titled("first");
    task.description = Some("a text".into());
    one.create_task(task).await.unwrap();

    server.kill9();
    let refused = two.lock_file("a").timeout(Duration::ZERO).await;
    assert!(matches!(refused, Err(Error::Held { .. })), "{refused:?}");
    assert_eq!(engine(&two).await, EngineKind::Files);
    two.create_task(NewTask::titled("second")).await.unwrap();
    assert_eq!(titles(&one).await, ["first", "second"]);
    let taken = one.lock_file("b").await.unwrap();
    assert!(taken.token() > lock.token());

    server.restart();
    served_by(&one, EngineKind::Redis).await;
    assert_eq!(titles(&two).await, ["first", "second"]);
    let refused = two.lock_file("a").timeout(Duration::ZERO).await;
    assert!(matches!(refused, Err(Error::Held { .. })), "{refused:?}");
    lock.release().await.unwrap();
    let passed_on = two.lock_file("a").timeout(Duration::ZERO).await.unwrap();
    assert!(passed_on.token() > taken.token());
    one.close().await.unwrap();
    two.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_go_along_in_both_directions() {
    let mut server = RedisServer::start();
    let place = Place::on(&server.url());
    let (one, two) = (quick(place.session("one")).await.unwrap(), quick(place.session("two")).await.unwrap());
    let lock = one.lock_file("a").await.unwrap();
    let asked = lock.token();
    let mut waiter = Box::pin(two.lock_file("a").into_future());
    let mut worker = Box::pin(two.claim_task(["t"]).into_future());
    for _ in 0..20 {
        drop(tokio::time::timeout(Duration::from_millis(5), &mut waiter).await);
        drop(tokio::time::timeout(Duration::from_millis(5), &mut worker).await);
    }
    server.kill9();
    lock.release().await.unwrap();
    let lock = tokio::time::timeout(Duration::from_secs(5), waiter).await.expect("it is its turn").unwrap();
    assert!(lock.token() > asked);
    assert_eq!(engine(&one).await, EngineKind::Files);
    server.restart();
    served_by(&one, EngineKind::Redis).await;
    let mut task = NewTask::titled("late");
    task.tags = vec!["t".into()];
    one.create_task(task).await.unwrap();
    let claimed = tokio::time::timeout(Duration::from_secs(5), worker).await.expect("it is its turn").unwrap();
    assert_eq!(claimed.expect("a task").title(), "late");
    lock.release().await.unwrap();
}
