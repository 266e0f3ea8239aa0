//! Which engine serves a workspace: one decision, whoever asks.

use std::time::Duration;

use agentcoord::core::audit::AuditLog;
use agentcoord::core::board::Board;
use agentcoord::core::engine::EngineKind;
use agentcoord::core::ids::IdPrefix;
use agentcoord::core::task::{NewTask, TaskQueue};
use agentcoord::{BackendChoice, CoordinationClient, Error};
use agentcoord_testkit::redis_server::RedisServer;

use crate::place::Place;

async fn engine(client: &CoordinationClient) -> EngineKind {
    client.connection().opened().await.unwrap().serving.engine
}

async fn first_audit_entry(client: &CoordinationClient) -> String {
    let store = client.store().await.unwrap();
    let log = AuditLog::read(&store, 0, 1).await.unwrap();
    log.items[0].entry.clone()
}

#[tokio::test]
async fn new_workspace_that_finds_redis_uses_it() {
    let server = RedisServer::start();
    let place = Place::on(&server.url());
    let one = place.session("one").await.unwrap();
    assert_eq!(engine(&one).await, EngineKind::Redis);
    one.close().await.unwrap();
}

#[tokio::test]
async fn new_workspace_without_redis_uses_files_and_stays_there_when_redis_comes() {
    let mut server = RedisServer::start();
    let place = Place::on(&server.url());
    server.kill9();
    let one = place.session("one").await.unwrap();
    assert_eq!(engine(&one).await, EngineKind::Files);
    assert!(one.connection().opened().await.unwrap().serving.degraded);
    server.restart();
    let two = place.session("two").await.unwrap();
    assert_eq!(engine(&two).await, EngineKind::Files, "everybody is where the workspace is");
    let held = one.lock_file("a").await.unwrap();
    let refused = two.lock_file("a").timeout(Duration::ZERO).await;
    assert!(matches!(refused, Err(Error::Held { .. })));
    held.release().await.unwrap();
    one.close().await.unwrap();
    two.close().await.unwrap();
}

#[tokio::test]
async fn redis_alone_is_not_replaced_behind_its_back() {
    let mut server = RedisServer::start();
    let mut place = Place::on(&server.url());
    place.backend = BackendChoice::Redis;
    let one = place.session("one").patience(Duration::from_millis(200)).await.unwrap();
    server.kill9();
    let refused = one.lock_file("a").await;
    assert!(matches!(refused, Err(Error::Unavailable { .. } | Error::OutcomeUnknown { .. })), "{refused:?}");
    let refused = place.session("two").patience(Duration::from_millis(200)).await;
    assert!(
        matches!(&refused, Err(Error::Unavailable { reason, .. }) if reason.contains("Redis is away")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn restart_of_redis_alone_begins_a_new_epoch_and_sessions_go_on() {
    let mut server = RedisServer::start_with("redis-server", &["--appendonly", "yes", "--appendfsync", "always"]);
    let mut place = Place::on(&server.url());
    place.backend = BackendChoice::Redis;
    let one = place.session("one").patience(Duration::from_secs(10)).await.unwrap();
    let before = one.lock_file("a").await.unwrap();
    let epoch = one.connection().opened().await.unwrap().serving.epoch;
    server.kill9();
    server.restart();
    let after = one.lock_file("b").await.unwrap();
    assert!(after.token() > before.token());
    assert!(one.connection().opened().await.unwrap().serving.epoch > epoch);
    assert!(first_audit_entry(&one).await.contains("what it acknowledged last may be missing"));
    before.release().await.unwrap();
    after.release().await.unwrap();
    one.close().await.unwrap();
}

#[tokio::test]
async fn tokens_do_not_go_back_when_redis_alone_loses_everything() {
    let mut server = RedisServer::start_with("redis-server", &["--appendonly", "no"]);
    let mut place = Place::on(&server.url());
    place.backend = BackendChoice::Redis;
    let one = place.session("one").await.unwrap();
    let before = one.lock_file("a").await.unwrap().token();
    server.kill9();
    server.restart();
    let two = place.session("two").await.unwrap();
    let after = two.lock_file("a").await.unwrap();
    assert!(after.token() > before);
    assert!(first_audit_entry(&two).await.contains("without the data of this workspace"));
    let refused = one.lock_file("c").await;
    assert!(matches!(refused, Err(Error::Stale { .. })), "the session went with the data: {refused:?}");
    after.release().await.unwrap();
    two.close().await.unwrap();
}

#[tokio::test]
async fn second_state_directory_is_refused() {
    let server = RedisServer::start();
    let (one, two) = (Place::on(&server.url()), Place::on(&server.url()));
    let owner = one.session("one").namespace("shop").await.unwrap();
    let refused = two.session("two").namespace("shop").await;
    assert!(matches!(refused, Err(Error::Refused { policy: "second_host", .. })), "{refused:?}");
    owner.close().await.unwrap();
}

#[tokio::test]
async fn shared_namespace_serves_several_state_directories() {
    let server = RedisServer::start();
    let (mut one, mut two) = (Place::on(&server.url()), Place::on(&server.url()));
    one.backend = BackendChoice::Redis;
    two.backend = BackendChoice::Redis;
    let first = one.session("one").namespace("shop").await.unwrap();
    let second = two.session("two").namespace("shop").await.unwrap();
    let held = first.lock_file("a").await.unwrap();
    assert!(matches!(second.lock_file("a").timeout(Duration::ZERO).await, Err(Error::Held { .. })));
    held.release().await.unwrap();
    first.close().await.unwrap();
    second.close().await.unwrap();
}

#[tokio::test]
async fn switch_carries_everything_there_and_back() {
    let server = RedisServer::start();
    let place = Place::on(&server.url());
    let one = place.session("one").await.unwrap();
    let mut task = NewTask::titled("kept");
    task.description = Some("long text".into());
    let key = one.create_task(task).await.unwrap().key;
    let thread = one.post_thread("hello", "first").await.unwrap().thread;
    one.log_decision("design", "engines", "because").await.unwrap();
    let token = one.lock_file("a").await.unwrap().token();
    let connection = one.connection().clone();
    one.close().await.unwrap();

    for (from, to, entries) in [(EngineKind::Redis, EngineKind::Files, 2), (EngineKind::Files, EngineKind::Redis, 3)] {
        let switched = connection.switch(to, "human:eve").await.unwrap();
        assert_eq!((switched.from, switched.to), (from, to));
        let two = place.session("two").await.unwrap();
        assert_eq!(engine(&two).await, to);
        let store = two.store().await.unwrap();
        let detail = store.show(&IdPrefix::parse("id", &key).unwrap()).await.unwrap();
        assert_eq!(detail.description.as_deref(), Some("long text"));
        let found = Board::find(&store, &IdPrefix::parse("id", &thread).unwrap()).await.unwrap();
        assert_eq!(store.messages(&found, 0, 10).await.unwrap()[0].content, "first");
        let log = AuditLog::read(&store, 0, 10).await.unwrap().items;
        assert_eq!(log.len(), entries, "each switch is an entry");
        let last = &log[entries - 1].entry;
        assert!(last.contains("\"engine_switch\"") && last.contains("\"human:eve\""), "{last}");
        let lock = two.lock_file("a").await.unwrap();
        assert!(lock.token() > token, "tokens do not go back");
        lock.release().await.unwrap();
        two.close().await.unwrap();
    }
}
