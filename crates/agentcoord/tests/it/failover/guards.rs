//! The guards of the protocol, one by one: without it each of these fails.

use std::time::Duration;

use agentcoord::core::engine::EngineKind;
use agentcoord::core::op::Actor;
use agentcoord::core::task::{CreateTasks, NewTask};
use agentcoord::{Config, Connection, Error, Style};
use agentcoord_fs::{ModeRow, Namespace, StateDir};
use agentcoord_testkit::fault_proxy::{FaultProxy, Requests};
use agentcoord_testkit::redis_server::RedisServer;

use super::{RETURN_AFTER, engine, quick, served_by, titles};
use crate::place::Place;

fn namespace(place: &Place, connection: &Connection) -> Namespace {
    let state_dir = StateDir::open(place.dir.path().join("state")).unwrap();
    Namespace::open(&state_dir, connection.namespace()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_lack_something_do_not_take_over_and_are_filled() {
    let mut server = RedisServer::start();
    let place = Place::on(&server.url());
    let one = quick(place.session("one")).await.unwrap();
    let mut task = NewTask::titled("first");
    task.description = Some("a text".into());
    one.create_task(task).await.unwrap();
    let namespace = namespace(&place, one.connection());
    // As if the state directory had been restored from a backup: nothing of it may be relied on.
    namespace.carry_in(agentcoord::core::snapshot::Snapshot::default()).unwrap();
    let row = namespace.row().unwrap().unwrap();
    let lock = namespace.lock_mode().unwrap();
    lock.write(&ModeRow { replica_complete: false, epoch: agentcoord::core::ids::Epoch(row.epoch.0), ..row.clone() })
        .unwrap();
    drop(lock);
    one.close().await.unwrap();
    server.pause();
    let refused = quick(place.session("two")).patience(Duration::from_millis(800)).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    server.resume();
    let two = quick(place.session("two")).await.unwrap();
    let give_up = std::time::Instant::now() + Duration::from_secs(20);
    while !two.connection().condition().await.unwrap().unwrap().protected {
        assert!(std::time::Instant::now() < give_up, "the files were not filled");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    two.create_task(NewTask::titled("second")).await.unwrap();
    server.kill9();
    served_by(&two, EngineKind::Files).await;
    assert_eq!(titles(&two).await, ["first", "second"]);
    two.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_namespace_is_never_written_over() {
    let mut server = RedisServer::start();
    let place = Place::on(&server.url());
    let one = quick(place.session("one")).namespace("shop").await.unwrap();
    one.create_task(NewTask::titled("ours")).await.unwrap();
    server.kill9();
    served_by(&one, EngineKind::Files).await;
    server.restart_empty();
    // Another state directory finds the name free, before we are back.
    let elsewhere = Place::on(&server.url());
    let other = elsewhere.session("other").namespace("shop").await.unwrap();
    other.create_task(NewTask::titled("theirs")).await.unwrap();
    tokio::time::sleep(3 * RETURN_AFTER).await;
    assert_eq!(engine(&one).await, EngineKind::Files);
    assert_eq!(titles(&one).await, ["ours"]);
    assert_eq!(titles(&other).await, ["theirs"]);
    let refused = one.connection().switch(EngineKind::Redis, "human:eve").await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    assert_eq!(titles(&other).await, ["theirs"]);
    other.close().await.unwrap();
    one.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_state_in_redis_is_not_written_over_by_an_old_copy() {
    let server = RedisServer::start();
    let place = Place::on(&server.url());
    let one = quick(place.session("one")).await.unwrap();
    one.create_task(NewTask::titled("kept")).await.unwrap();
    let namespace = namespace(&place, one.connection());
    let row = namespace.row().unwrap().unwrap();
    one.close().await.unwrap();
    // An old copy of the state directory: it believes in an earlier epoch, and that files serve.
    let meta = format!("ac:{{{}}}:meta", namespace.name());
    drop(server.command(&["HSET", &meta, "epoch", &(row.epoch.0 + 9).to_string()]));
    let refused = quick(place.session("two")).await;
    assert!(matches!(refused, Err(Error::Refused { policy: "newer_in_redis", .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_lacks_what_redis_has_counted_is_a_loss() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let place = Place::on(&server.url());
    // Commands, because nothing reads the log for them meanwhile.
    let open = |url: String| {
        let mut config = Config::new(place.dir.path(), place.dir.path().join("state"));
        config.redis_url = Some(url);
        Connection::open(config, Style::OneShot)
    };
    let near = open(server.url()).await.unwrap();
    let far = open(proxy.url()).await.unwrap();
    let eve = Actor::Human("eve".into());
    let create = |title: &str| CreateTasks::new(vec![NewTask::titled(title)]);
    near.run(&eve, create("first")).await.unwrap();
    proxy.cut_replies(Requests::containing("unheard"));
    let (who, unheard) = (eve.clone(), create("unheard"));
    let asked = tokio::spawn(async move { far.run(&who, unheard).await });
    assert!(proxy.wait_cuts(1, Duration::from_secs(5)));
    asked.abort();
    let generation = namespace(&place, &near).row().unwrap().unwrap().generation;
    assert_eq!(server.command(&["DEL", &format!("ac:{{{}}}:{generation}:events", near.namespace())]), ":1");
    let created = tokio::time::timeout(Duration::from_secs(20), near.run(&eve, create("second"))).await;
    created.expect("it does not read the log for ever").unwrap();
    assert_eq!(near.opened().await.unwrap().serving.engine, EngineKind::Files);
}
