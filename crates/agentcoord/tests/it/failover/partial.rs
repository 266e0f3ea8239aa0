//! Some processes reach Redis and others do not: all end on one engine, and it does not flap.

use std::time::{Duration, Instant};

use agentcoord::core::engine::EngineKind;
use agentcoord::core::ids::IdPrefix;
use agentcoord::core::store::Backend;
use agentcoord::core::task::{NewTask, Task, TaskStatus};
use agentcoord::{BackendChoice, CoordinationClient, Error, SessionBuilder};
use agentcoord_testkit::fault_proxy::{FaultProxy, Requests};
use agentcoord_testkit::redis_server::RedisServer;

use super::{RETURN_AFTER, engine, quick, served_by, settled, titles};
use crate::place::Place;

/// One who reaches Redis through a proxy, and one who reaches it directly.
async fn stage() -> (RedisServer, FaultProxy, Place, CoordinationClient, CoordinationClient) {
    stage_with(|far| far).await
}

async fn stage_with(
    far: impl FnOnce(SessionBuilder) -> SessionBuilder,
) -> (RedisServer, FaultProxy, Place, CoordinationClient, CoordinationClient) {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let place = Place::on(&server.url());
    // The first one is the keeper, and so the one that would go back.
    let direct = quick(place.session("direct")).await.unwrap();
    let far = far(quick(place.session("far")).redis_url(proxy.url())).await.unwrap();
    (server, proxy, place, direct, far)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_reach_redis_takes_all_others_along() {
    let (_server, proxy, _place, direct, far) = stage().await;
    let lock = direct.lock_file("a").await.unwrap();
    proxy.refuse();
    let refused = far.lock_file("a").timeout(Duration::ZERO).await;
    assert!(matches!(refused, Err(Error::Held { .. })), "{refused:?}");
    assert_eq!(engine(&direct).await, EngineKind::Files);
    // Redis is healthy for all others, but whoever has complained does not agree yet.
    tokio::time::sleep(2 * RETURN_AFTER).await;
    let condition = direct.connection().condition().await.unwrap().unwrap();
    assert_eq!((condition.engine, condition.degraded), ("files", true));
    assert_eq!(condition.complainant, Some(format!("process {}", std::process::id())));
    lock.release().await.unwrap();
    far.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_lost_are_asked_for_again_and_counted_once() {
    let (_server, proxy, _place, direct, far) = stage().await;
    for number in 0..5 {
        proxy.cut_replies(Requests::containing("task_create").times(1));
        far.create_task(NewTask::titled(format!("{number}"))).await.unwrap();
    }
    assert!(proxy.cuts() >= 5, "answers were lost");
    assert_eq!(titles(&direct).await, ["0", "1", "2", "3", "4"]);
    assert_eq!(engine(&far).await, EngineKind::Redis, "a lost answer is no outage");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_break_before_a_request_are_no_outage() {
    let (_server, proxy, _place, direct, far) = stage().await;
    for number in 0..5 {
        proxy.cut_requests(Requests::containing("task_create").times(1));
        far.create_task(NewTask::titled(format!("{number}"))).await.unwrap();
        proxy.reset();
    }
    proxy.slice_bytes(500);
    far.create_task(NewTask::titled("5")).await.unwrap();
    assert_eq!(titles(&direct).await, ["0", "1", "2", "3", "4", "5"]);
    let condition = far.connection().condition().await.unwrap().unwrap();
    assert_eq!(condition.engine, "redis", "{condition:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_lost_with_redis_is_found_on_files() {
    let (mut server, proxy, _place, direct, far) = stage().await;
    // It is executed, its answer is lost, and then Redis is: the journals know its number by what the other one saw.
    proxy.cut_replies(Requests::containing("task_create").times(1));
    let asked = tokio::spawn(async move {
        let created = far.create_task(NewTask::titled("once")).await;
        (far, created)
    });
    assert!(proxy.wait_cuts(1, Duration::from_secs(5)));
    while titles(&direct).await.is_empty() {}
    server.kill9();
    let (far, created) = asked.await.unwrap();
    created.unwrap();
    served_by(&far, EngineKind::Files).await;
    assert_eq!(titles(&far).await, ["once"]);
    server.restart_empty();
    served_by(&direct, EngineKind::Redis).await;
    assert_eq!(titles(&direct).await, ["once"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_is_an_outage_after_the_detection_window() {
    let (_server, proxy, _place, direct, far) = stage().await;
    proxy.half_open();
    far.create_task(NewTask::titled("x")).await.unwrap();
    assert_eq!(engine(&direct).await, EngineKind::Files);
    proxy.heal();
    served_by(&direct, EngineKind::Redis).await;
    assert_eq!(titles(&direct).await, ["x"]);
}

/// Waits until the files have everything.
async fn replicated(client: &CoordinationClient) {
    let replica = async || client.connection().condition().await.unwrap().unwrap().replica.unwrap();
    let give_up = Instant::now() + Duration::from_secs(10);
    while let (known, replica) = replica().await
        && replica < known
    {
        assert!(Instant::now() < give_up, "{replica} of {known}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_caller_has_gone_is_settled_and_no_journal_waits_for_it() {
    let (_server, proxy, _place, direct, far) = stage().await;
    let since = direct.store().await.unwrap().state().await.unwrap().csn;
    proxy.hold_requests(Requests::containing("given up"));
    tokio::select! {
        created = far.create_task(NewTask::titled("given up")) => panic!("{created:?}"),
        () = async { while proxy.held() == 0 { tokio::task::yield_now().await } } => {}
    }
    settled(&direct, since, far.connection().client().as_str()).await;
    let held = proxy.held();
    proxy.release_requests();
    assert!(proxy.wait_delivered(held, Duration::from_secs(5)));
    const TEXT: usize = 64 << 10;
    const TASKS: usize = 60;
    for number in 0..TASKS {
        let mut task = NewTask::titled(format!("{number}"));
        task.description = Some("x".repeat(TEXT));
        far.create_task(task).await.unwrap();
        if number % 10 == 0 {
            replicated(&far).await;
        }
    }
    assert_eq!(titles(&direct).await.len(), TASKS, "it did nothing when it arrived");
    let condition = far.connection().condition().await.unwrap().unwrap();
    assert_eq!(condition.engine, "redis");
    let all = (TASKS * TEXT) as u64;
    assert!(condition.journal_bytes < all / 2, "{} of {all} bytes", condition.journal_bytes);
}

/// One who may not use files, and asks again for as long as the test takes.
fn only_redis(far: SessionBuilder) -> SessionBuilder {
    far.backend(BackendChoice::Redis).patience(Duration::from_secs(60))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_happened_is_unknown_whatever_fails_later() {
    let (_server, proxy, _place, direct, far) = stage_with(only_redis).await;
    proxy.cut_replies(Requests::containing("lock_acquire"));
    let asked = tokio::spawn(async move {
        let lock = far.lock_file("a").await;
        (far, lock)
    });
    assert!(proxy.wait_cuts(1, Duration::from_secs(10)));
    direct.connection().switch(EngineKind::Files, "human:eve").await.unwrap();
    let (_far, lock) = asked.await.unwrap();
    assert!(matches!(lock, Err(Error::OutcomeUnknown { .. })), "{lock:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_answer_was_lost_goes_back_once_its_engine_is_back() {
    let (_server, proxy, _place, direct, far) = stage_with(only_redis).await;
    far.create_task(NewTask::titled("first")).await.unwrap();
    let second = far.create_task(NewTask::titled("second")).await.unwrap().key;
    let first = far.claim_task(["t"; 0]).await.unwrap().unwrap();
    proxy.cut_replies(Requests::containing("task_complete"));
    let asked = tokio::spawn(async move { first.complete_and_claim(None, ["t"; 0]).await.map(drop) });
    assert!(proxy.wait_cuts(1, Duration::from_secs(10)));
    direct.connection().switch(EngineKind::Files, "human:eve").await.unwrap();
    let claimed = asked.await.unwrap();
    assert!(matches!(claimed, Err(Error::OutcomeUnknown { .. })), "{claimed:?}");
    proxy.heal();
    direct.connection().switch(EngineKind::Redis, "human:eve").await.unwrap();
    let give_up = Instant::now() + Duration::from_secs(20);
    let mut task = find(&direct, &second).await;
    while task.status != TaskStatus::Pending {
        assert!(Instant::now() < give_up, "it stays claimed: {task:?}");
        task = find(&direct, &second).await;
    }
    assert_eq!((task.attempt, task.crashes), (0, 0), "withdrawn, and not lost with its session");
}

async fn find(client: &CoordinationClient, key: &str) -> Task {
    client.store().await.unwrap().tasks().find(&IdPrefix::parse("id", key).unwrap()).await.unwrap()
}
