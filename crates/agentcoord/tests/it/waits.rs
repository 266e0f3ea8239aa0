//! Waits of one client beside everything else that it asks, and what dropped waits and guards leave behind.

use std::sync::Arc;
use std::time::Duration;

use agentcoord::core::ids::IdPrefix;
use agentcoord::core::limits::REPLAY_WINDOW;
use agentcoord::core::lock::FileLocks;
use agentcoord::core::store::Backend;
use agentcoord::core::task::{CreateTasks, NewTask, TaskStatus};
use agentcoord::{BackendChoice, CoordinationClient, Error, lock_path};
use agentcoord_testkit::fault_proxy::{FaultProxy, Requests};
use agentcoord_testkit::redis_server::RedisServer;
use tokio::task::JoinSet;

use crate::place::Place;

on_both_engines!(
    a_long_wait_holds_up_nothing_else,
    a_client_has_more_waits_than_answers_are_kept,
    a_wait_that_is_dropped_after_many_requests_is_withdrawn,
);

/// So that what never ends fails.
async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("it ends")
}

/// More requests than the store keeps answers of.
async fn ask_much(client: &CoordinationClient) {
    for number in 0..2 * REPLAY_WINDOW + 100 {
        client.working_on(number.to_string()).await.unwrap();
    }
}

async fn create(client: &CoordinationClient, tasks: usize) -> Vec<String> {
    let mut keys = Vec::new();
    for _ in 0..tasks {
        let created = client.run(CreateTasks::new(vec![NewTask::titled("t")])).await.unwrap();
        keys.extend(created.items.into_iter().map(|task| task.key));
    }
    keys
}

async fn a_long_wait_holds_up_nothing_else(place: &Place) {
    let (holder, agent) = (place.session("holder").await.unwrap(), place.session("agent").await.unwrap());
    let held = holder.lock_file("a").await.unwrap();
    let others = async {
        ask_much(&agent).await;
        create(&agent, 1).await;
        held.release().await.unwrap();
    };
    let waits = async { tokio::join!(agent.claim_task(["t"; 0]).into_future(), agent.lock_file("a").into_future()) };
    let ((task, lock), ()) = in_time(async { tokio::join!(waits, others) }).await;
    task.unwrap().unwrap().complete(None).await.unwrap();
    lock.unwrap().release().await.unwrap();
    in_time(agent.close()).await.unwrap();
    holder.close().await.unwrap();
}

async fn a_client_has_more_waits_than_answers_are_kept(place: &Place) {
    let (lead, agent) = (place.session("lead").await.unwrap(), Arc::new(place.session("agent").await.unwrap()));
    let waits = usize::try_from(REPLAY_WINDOW).unwrap() + 50;
    let mut claims = JoinSet::new();
    for _ in 0..waits {
        let agent = Arc::clone(&agent);
        claims.spawn(async move { agent.claim_task(["t"; 0]).await.unwrap().unwrap().complete(None).await });
    }
    in_time(async {
        create(&lead, waits).await;
        for completed in claims.join_all().await {
            completed.unwrap();
        }
    })
    .await;
    in_time(Arc::into_inner(agent).unwrap().close()).await.unwrap();
    lead.close().await.unwrap();
}

async fn a_wait_that_is_dropped_after_many_requests_is_withdrawn(place: &Place) {
    let (holder, agent) = (place.session("holder").await.unwrap(), place.session("agent").await.unwrap());
    let held = holder.lock_file("a").await.unwrap();
    in_time(async {
        tokio::select! {
            _ = agent.claim_task(["t"; 0]).into_future() => panic!("there is no task"),
            _ = agent.lock_file("a").into_future() => panic!("the lock is held"),
            () = ask_much(&agent) => {}
        }
        // A lock is taken when everything that was dropped is withdrawn.
        agent.lock_file("b").await.unwrap().release().await.unwrap();
    })
    .await;
    let path = lock_path(place.dir.path(), place.dir.path(), "a").unwrap();
    let store = holder.store().await.unwrap();
    assert!(store.at(&path).await.unwrap().waiters.is_empty());
    let key = create(&holder, 1).await.remove(0);
    let task = store.tasks().find(&IdPrefix::parse("id", &key).unwrap()).await.unwrap();
    assert_eq!(task.status, TaskStatus::Pending);
    held.release().await.unwrap();
    in_time(agent.close()).await.unwrap();
    holder.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_while_redis_is_away_is_withdrawn_when_it_is_back() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let mut place = Place::on(&server.url());
    place.backend = BackendChoice::Redis;
    let near = place.session("near").await.unwrap();
    let far = place.session("far").redis_url(proxy.url()).patience(Duration::from_millis(100)).await.unwrap();
    let lock = far.lock_file("a").await.unwrap();
    proxy.refuse();
    drop(lock);
    for _ in 0..3 {
        let refused = in_time(far.lock_file("b").into_future()).await;
        assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    }
    proxy.heal();
    // Well before the session of the one who was away would end.
    near.lock_file("a").timeout(Duration::from_secs(15)).await.unwrap().release().await.unwrap();
    in_time(far.lock_file("b").into_future()).await.unwrap().release().await.unwrap();
    in_time(far.close()).await.unwrap();
    near.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_comes_while_another_wait_begins_to_listen_is_taken_at_once() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let place = Place::on(&server.url());
    let lead = place.session("lead").await.unwrap();
    let agent = Arc::new(place.session("agent").redis_url(proxy.url()).await.unwrap());
    let claim = |tag: &'static str| {
        let agent = Arc::clone(&agent);
        tokio::spawn(async move { agent.claim_task([tag]).await })
    };
    proxy.hold_requests(Requests::naming("SUBSCRIBE"));
    let _other = claim("other");
    assert!(proxy.wait_held(1, Duration::from_secs(10)));
    let claimed = claim("t");
    while lead.store().await.unwrap().state().await.unwrap().counts.task_waiters < 2 {}
    let task = NewTask { tags: vec!["t".to_owned()], ..NewTask::titled("t") };
    lead.create_task(task).await.unwrap();
    proxy.release_requests();
    // Without a wake-up it would look only after 5 s.
    let claimed = tokio::time::timeout(Duration::from_secs(4), claimed).await.expect("it looks again");
    claimed.unwrap().unwrap().unwrap().complete(None).await.unwrap();
}
