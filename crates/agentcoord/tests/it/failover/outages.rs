//! Every way in which Redis can be lost: agents go on without an error, and everything is there afterwards.

use std::time::{Duration, Instant};

use agentcoord::core::approval::ApprovalStatus;
use agentcoord::core::audit::AuditLog;
use agentcoord::core::engine::EngineKind;
use agentcoord::core::ids::IdPrefix;
use agentcoord::core::store::Backend;
use agentcoord::core::task::{NewTask, TaskQueue};
use agentcoord::{CoordinationClient, Error};
use agentcoord_testkit::redis_server::RedisServer;

use super::{engine, quick, served_by, titles};
use crate::place::Place;

/// Two agents with a lock, a task with a text, and Redis.
struct Stage {
    server: RedisServer,
    place: Place,
    one: CoordinationClient,
    two: CoordinationClient,
}

impl Stage {
    async fn set(args: &[&str]) -> Self {
        let server = RedisServer::start_with("redis-server", args);
        let place = Place::on(&server.url());
        let (one, two) = (quick(place.session("one")).await.unwrap(), quick(place.session("two")).await.unwrap());
        assert!(one.connection().opened().await.unwrap().serving.protected);
        Self { server, place, one, two }
    }

    /// Loses Redis by `lose`, goes on, gets it back by `heal`, goes on there.
    async fn survives(self, lose: impl FnOnce(&mut RedisServer), heal: impl FnOnce(&mut RedisServer)) {
        let Self { mut server, place, one: first, two: second } = self;
        let (one, two) = (&first, &second);
        let lock = one.lock_file("a").await.unwrap();
        let mut task = NewTask::titled("first");
        task.description = Some("a text".into());
        let key = one.create_task(task).await.unwrap().key;
        let approval = one.request_approval("deploy", "it").await.unwrap();
        drop(server.command(&["SET", "somebody:elses", "kept"]));

        lose(&mut server);
        let refused = two.lock_file("a").timeout(Duration::ZERO).await;
        assert!(matches!(refused, Err(Error::Held { .. })), "{refused:?}");
        two.create_task(NewTask::titled("second")).await.unwrap();
        served_by(one, EngineKind::Files).await;
        assert_eq!(titles(one).await, ["first", "second"]);
        let taken = one.lock_file("b").await.unwrap();
        assert!(taken.token() > lock.token());
        let fresh = quick(place.session("three")).await.unwrap();
        assert_eq!(engine(&fresh).await, EngineKind::Files, "who comes in the middle lands where all are");

        heal(&mut server);
        served_by(one, EngineKind::Redis).await;
        assert!(one.connection().opened().await.unwrap().serving.protected);
        assert_eq!(titles(two).await, ["first", "second"]);
        let store = two.store().await.unwrap();
        let detail = TaskQueue::show(&store, &IdPrefix::parse("id", &key).unwrap()).await.unwrap();
        assert_eq!(detail.description.as_deref(), Some("a text"));
        let refused = fresh.lock_file("a").timeout(Duration::ZERO).await;
        assert!(matches!(refused, Err(Error::Held { .. })), "{refused:?}");
        lock.release().await.unwrap();
        let passed_on = two.lock_file("a").timeout(Duration::ZERO).await.unwrap();
        assert!(passed_on.token() > taken.token());
        let pending = two.store().await.unwrap().approvals().list(Some(ApprovalStatus::Pending)).await.unwrap();
        assert_eq!(pending.len(), 1, "it is still asked for");
        approval.cancel().await.unwrap();
        let give_up = Instant::now() + Duration::from_secs(10);
        loop {
            let log = AuditLog::read(&store, 0, 100).await.unwrap().items;
            // The one of the return comes right after it.
            if log.iter().filter(|entry| entry.entry.contains("\"engine_switch\"")).count() == 2 {
                break;
            }
            assert!(Instant::now() < give_up, "each switch is an entry: {log:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for client in [first, second, fresh] {
            client.close().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_go_on_when_redis_is_killed() {
    Stage::set(&[]).await.survives(RedisServer::kill9, RedisServer::restart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_go_on_when_redis_stops_to_answer() {
    Stage::set(&[]).await.survives(|server| server.pause(), |server| server.resume()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_go_on_when_redis_is_flushed() {
    Stage::set(&[]).await.survives(|server| drop(server.command(&["FLUSHALL"])), |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_go_on_when_another_server_is_on_the_port() {
    Stage::set(&[]).await.survives(RedisServer::restart_empty, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_go_on_when_redis_is_restarted_at_once() {
    Stage::set(&[]).await.survives(RedisServer::restart, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_go_on_when_redis_comes_back_from_an_old_dump() {
    let stage = Stage::set(&[]).await;
    stage.one.create_task(NewTask::titled("after")).await.unwrap();
    stage.server.keep_copy();
    let task = stage.one.claim_task(["none"]).timeout(Duration::ZERO).await.unwrap();
    assert!(task.is_none());
    stage.one.claim_task::<&str>([]).await.unwrap().unwrap().complete(None).await.unwrap();
    let Stage { mut server, place, one, two } = stage;
    server.restart_from_copy();
    two.create_task(NewTask::titled("more")).await.unwrap();
    assert!(one.claim_task::<&str>([]).await.unwrap().is_some_and(|task| task.title() == "more"));
    served_by(&one, EngineKind::Redis).await;
    assert_eq!(titles(&two).await, ["after", "more"]);
    drop(place);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_go_on_when_redis_is_full() {
    let set = |server: &mut RedisServer, bytes: &str| drop(server.command(&["CONFIG", "SET", "maxmemory", bytes]));
    Stage::set(&[]).await.survives(|server| set(server, "1"), |server| set(server, "0")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_go_on_when_redis_has_become_a_replica() {
    let follow = |server: &mut RedisServer, host: &str, port: &str| drop(server.command(&["REPLICAOF", host, port]));
    let stage = Stage::set(&[]).await;
    stage.survives(|server| follow(server, "127.0.0.1", "1"), |server| follow(server, "NO", "ONE")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_go_on_when_redis_cannot_save() {
    let save = |server: &mut RedisServer, points: &str| drop(server.command(&["CONFIG", "SET", "save", points]));
    let lose = |server: &mut RedisServer| {
        save(server, "1 1");
        drop(server.command(&["BGSAVE"]));
        let give_up = Instant::now() + Duration::from_secs(20);
        while !server.command(&["SET", "somebody:elses", "refused"]).starts_with("-MISCONF") {
            assert!(Instant::now() < give_up, "Redis saves although it cannot");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // A directory is where the dump should be.
    let stage = Stage::set(&["--dbfilename", "appendonlydir"]).await;
    stage.survives(lose, |server| save(server, "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_go_along_in_both_directions() {
    let Stage { mut server, place: _place, one, two } = Stage::set(&[]).await;
    let lock = one.lock_file("a").await.unwrap();
    let asked = lock.token();
    let waiter = two.lock_file("a").into_future();
    let worker = two.claim_task(["t"]);
    let turn = async {
        while one.store().await.unwrap().now().await.unwrap().0.lock_waiters == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.kill9();
        lock.release().await.unwrap();
    };
    let both = async { tokio::join!(waiter, turn) };
    let (lock, ()) = tokio::time::timeout(Duration::from_secs(10), both).await.expect("it is its turn");
    let lock = lock.unwrap();
    assert!(lock.token() > asked);
    assert_eq!(engine(&one).await, EngineKind::Files);
    let claiming = async { worker.await.unwrap().expect("a task") };
    let rest = async {
        while one.store().await.unwrap().now().await.unwrap().0.task_waiters == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.restart();
        served_by(&one, EngineKind::Redis).await;
        let mut task = NewTask::titled("late");
        task.tags = vec!["t".into()];
        one.create_task(task).await.unwrap();
    };
    let both = async { tokio::join!(claiming, rest) };
    let (claimed, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("it is its turn");
    assert_eq!(claimed.title(), "late");
    lock.release().await.unwrap();
}
