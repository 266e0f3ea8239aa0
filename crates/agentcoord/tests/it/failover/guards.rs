//! The guards of the protocol, one by one: without it each of these fails.

use std::time::{Duration, Instant};

use agentcoord::core::agent::ProcessIdentity;
use agentcoord::core::engine::EngineKind;
use agentcoord::core::op::Actor;
use agentcoord::core::task::{CreateTasks, NewTask};
use agentcoord::{Config, Connection, CoordinationClient, Error, Style, process};
use agentcoord_fs::{ModeEngine, ModeRow, Namespace};
use agentcoord_testkit::fault_proxy::{FaultProxy, Requests};
use agentcoord_testkit::redis_server::RedisServer;

use super::{RETURN_AFTER, engine, keeper_has_ended, namespace, quick, served_by, titles};
use crate::place::Place;

/// A workspace that Redis serves, and in which nobody lives any more.
async fn left_on_redis(place: &Place) -> Namespace {
    let one = quick(place.session("one")).await.unwrap();
    let namespace = namespace(place, one.connection());
    one.close().await.unwrap();
    namespace
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
    is_protected(&two).await;
    two.create_task(NewTask::titled("second")).await.unwrap();
    server.kill9();
    served_by(&two, EngineKind::Files).await;
    assert_eq!(titles(&two).await, ["first", "second"]);
    two.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_filled_leave_redis_in_its_epoch() {
    let server = RedisServer::start();
    let place = Place::on(&server.url());
    let namespace = left_on_redis(&place).await;
    let row = namespace.row().unwrap().unwrap();
    namespace.lock_mode().unwrap().write(&ModeRow { replica_complete: false, ..row.clone() }).unwrap();
    let unreadable = format!("ac:{{{}}}:{}:task:unreadable", namespace.name(), row.generation);
    drop(server.command(&["SET", &unreadable, "?"]));
    let two = quick(place.session("two")).await.unwrap();
    // The keeper tries at once.
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(server.command(&["DEL", &unreadable]));
    is_protected(&two).await;
    assert_eq!(namespace.row().unwrap().unwrap().epoch.0, row.epoch.0 + 1, "one for the files that hold everything");
    two.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_continued_are_filled_anew() {
    let mut server = RedisServer::start();
    let place = Place::on(&server.url());
    let one = quick(place.session("one")).await.unwrap();
    one.create_task(NewTask::titled("first")).await.unwrap();
    let namespace = namespace(&place, one.connection());
    one.close().await.unwrap();
    keeper_has_ended(&namespace).await;
    // As if all but the row had been restored from a backup that is older than what the log of Redis goes back to.
    namespace.carry_in(agentcoord::core::snapshot::Snapshot::default()).unwrap();
    std::fs::remove_dir_all(namespace.directory().join("journals")).unwrap();
    std::fs::remove_file(namespace.directory().join("extent")).unwrap();
    let events = format!("ac:{{{}}}:{}:events", namespace.name(), namespace.row().unwrap().unwrap().generation);
    drop(server.command(&["XTRIM", &events, "MAXLEN", "1"]));
    let two = quick(place.session("two")).await.unwrap();
    two.create_task(NewTask::titled("second")).await.unwrap();
    is_protected(&two).await;
    server.kill9();
    served_by(&two, EngineKind::Files).await;
    assert_eq!(titles(&two).await, ["first", "second"]);
    two.close().await.unwrap();
}

/// Waits until Redis may be lost without loss.
async fn is_protected(client: &CoordinationClient) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !client.connection().condition().await.unwrap().unwrap().protected {
        assert!(Instant::now() < give_up, "the files were not filled");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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
    assert_eq!(generations(&server, "shop"), 1);
    tokio::time::sleep(3 * RETURN_AFTER).await;
    assert_eq!(engine(&one).await, EngineKind::Files);
    assert_eq!(titles(&one).await, ["ours"]);
    assert_eq!(titles(&other).await, ["theirs"]);
    let refused = one.connection().switch(EngineKind::Redis, "human:eve").await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    assert_eq!(generations(&server, "shop"), 1, "a copy of ours is left there");
    assert_eq!(titles(&other).await, ["theirs"]);
    other.close().await.unwrap();
    one.close().await.unwrap();
}

/// How many generations of a namespace Redis has keys of.
fn generations(server: &RedisServer, namespace: &str) -> usize {
    let count = "local n, seen = 0, {}
        for _, key in ipairs(redis.call('KEYS', 'ac:{' .. ARGV[1] .. '}:*:*')) do
            local generation = string.match(key, '}:(%d+):')
            if generation and not seen[generation] then n, seen[generation] = n + 1, true end
        end
        return n";
    let answer = server.command(&["EVAL", count, "0", namespace]);
    answer.trim().trim_start_matches(':').parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_return_for_which_redis_is_too_small_leaves_nothing_behind() {
    let mut server = RedisServer::start();
    let place = Place::on(&server.url());
    let one = quick(place.session("one")).await.unwrap();
    server.kill9();
    for _ in 0..9 {
        let large = NewTask { description: Some("x".repeat(500_000)), ..NewTask::titled("large") };
        one.create_task(large).await.unwrap();
    }
    one.connection().switch(EngineKind::Files, "human:eve").await.unwrap();
    server.restart_empty();
    drop(server.command(&["CONFIG", "SET", "maxmemory", "4mb"]));
    let refused = one.connection().switch(EngineKind::Redis, "human:eve").await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    assert_eq!(generations(&server, one.connection().namespace()), 0);
    assert_eq!(engine(&one).await, EngineKind::Files);
    one.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_whose_purge_was_cut_off_says_so() {
    let server = RedisServer::start();
    let place = Place::on(&server.url());
    let namespace = left_on_redis(&place).await;
    let row = namespace.row().unwrap().unwrap();
    // As the first steps of a purge leave it.
    namespace.lock_mode().unwrap().write(&ModeRow { right_to_take_over: false, ..row.clone() }).unwrap();
    let meta = format!("ac:{{{}}}:meta", namespace.name());
    drop(server.command(&["HSET", &meta, "closed", "1", "leaving", "1"]));
    let refused = quick(place.session("two")).patience(Duration::from_millis(100)).await;
    assert!(
        matches!(&refused, Err(Error::Unavailable { reason, .. }) if reason.contains("store purge")),
        "{refused:?}"
    );
    assert_eq!(namespace.row().unwrap().unwrap().epoch, row.epoch);
}

/// Files serve because of somebody, and only commands run. How long it takes until Redis serves again.
async fn commands_go_back(because_of: &str) -> Duration {
    let server = RedisServer::start();
    let place = Place::on(&server.url());
    let namespace = left_on_redis(&place).await;
    let taken = namespace.row().unwrap().unwrap().take_over(because_of, "gone").and_then(|row| row.installed());
    namespace.lock_mode().unwrap().write(&taken.unwrap()).unwrap();
    let begun = Instant::now();
    while namespace.row().unwrap().unwrap().engine != ModeEngine::Redis {
        assert!(begun.elapsed() < Duration::from_secs(20), "no command goes back");
        let mut config = Config::new(place.dir.path(), place.dir.path().join("state"));
        config.redis_url.clone_from(&place.redis_url);
        config.return_after = RETURN_AFTER;
        Connection::open(config, Style::OneShot).await.unwrap();
        tokio::time::sleep(RETURN_AFTER / 10).await;
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_complained_before_the_last_boot_is_not_waited_for() {
    commands_go_back("process 1 1 another-boot 1 x").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_wait_for_a_living_complainant_but_not_for_ever() {
    let ProcessIdentity { pid, started, boot_id, pid_namespace } = process::own_identity();
    let waited = commands_go_back(&format!("process {pid} {started} {boot_id} {pid_namespace} x")).await;
    assert!(waited >= 6 * RETURN_AFTER, "{waited:?}");
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
