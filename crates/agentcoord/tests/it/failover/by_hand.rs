//! A workspace that a person moves to files, also when a take-over could not be completed.

use std::time::{Duration, Instant};

use agentcoord::core::audit::AuditLog;
use agentcoord::core::engine::EngineKind;
use agentcoord::core::ids::Csn;
use agentcoord::core::replica::{Logged, Told};
use agentcoord::core::task::NewTask;
use agentcoord::{Config, Connection, Durability, Error, Style, Switched};
use agentcoord_fs::{ModeRow, Namespace};
use agentcoord_redis::{Deadlines, RedisUrl, carry_out};
use agentcoord_testkit::redis_server::RedisServer;

use super::{RETURN_AFTER, keeper_has_ended, namespace, quick, titles};
use crate::place::Place;

const EVE: &str = "human:eve";

/// A workspace whose power failed, in the middle of the take-over that follows: the disk lacks what was told last, but for a
/// later change in a journal.
struct AfterAPowerCut {
    server: RedisServer,
    place: Place,
    /// How far the files go without a gap.
    held: Csn,
}

impl AfterAPowerCut {
    /// "first" is in the files; "second" is only in Redis, of which a copy was kept before that.
    async fn set() -> Self {
        let server = RedisServer::start();
        let place = Place::on(&server.url());
        let one = quick(place.session("one")).await.unwrap();
        let namespace = namespace(&place, one.connection());
        one.create_task(NewTask::titled("first")).await.unwrap();
        replicated(&namespace, in_redis(&server, &namespace).await).await;
        one.close().await.unwrap();
        let on_disk = namespace.carry_out().unwrap();
        let held = on_disk.state.csn;
        server.keep_copy();
        let two = quick(place.session("two")).await.unwrap();
        two.create_task(NewTask::titled("second")).await.unwrap();
        two.close().await.unwrap();
        let last = in_redis(&server, &namespace).await;
        keeper_has_ended(&namespace).await;
        let row = namespace.row().unwrap().unwrap();
        let taking_over = row.take_over("process 1 1 boot 1 x", "Redis was restarted").unwrap();
        namespace.lock_mode().unwrap().write(&taking_over).unwrap();
        namespace.carry_in(on_disk).unwrap();
        std::fs::remove_dir_all(namespace.directory().join("journals")).unwrap();
        let journal = namespace.open_journal(Durability::Process).unwrap();
        journal.begin(row.epoch, Csn(last.0 - 1));
        let events = vec![Logged { csn: last, event: Vec::new(), state: Vec::new() }];
        journal.note(row.epoch, None, Told { answer: (), after: Csn(last.0 - 1), events }).unwrap();
        Self { server, place, held }
    }

    /// What is there when files serve.
    async fn titles(&self) -> Vec<String> {
        let client = quick(self.place.session("three")).await.unwrap();
        let titles = titles(&client).await;
        assert_eq!(client.connection().opened().await.unwrap().serving.by_hand.as_deref(), Some(EVE));
        client.close().await.unwrap();
        titles
    }
}

/// `agentcoord store use files`.
async fn moved_to_files(place: &Place) -> Result<Switched, Error> {
    let mut config = Config::new(place.dir.path(), place.dir.path().join("state"));
    config.redis_url.clone_from(&place.redis_url);
    Connection::unopened(config, Style::OneShot).unwrap().switch(EngineKind::Files, EVE).await
}

async fn in_redis(server: &RedisServer, namespace: &Namespace) -> Csn {
    let generation = namespace.row().unwrap().unwrap().generation.to_string();
    let url = RedisUrl::parse(&server.url()).unwrap();
    carry_out(&url, namespace.name(), &generation, Deadlines::default()).await.unwrap().state.csn
}

/// Waits until the files go so far.
async fn replicated(namespace: &Namespace, csn: Csn) {
    let give_up = Instant::now() + Duration::from_secs(10);
    while namespace.csn().unwrap() < csn {
        assert!(Instant::now() < give_up, "the files do not get to {csn}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_files_lack_after_a_power_cut_is_taken_from_redis() {
    let stage = AfterAPowerCut::set().await;
    moved_to_files(&stage.place).await.unwrap();
    assert_eq!(stage.titles().await, ["first", "second"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_not_set_back_by_an_older_redis_and_go_on_with_what_they_have() {
    let mut stage = AfterAPowerCut::set().await;
    stage.server.restart_from_copy();
    moved_to_files(&stage.place).await.unwrap();
    assert_eq!(stage.titles().await, ["first"]);
    let client = quick(stage.place.session("four")).await.unwrap();
    let log = AuditLog::read(&client.store().await.unwrap(), 0, 100).await.unwrap().items;
    let first = stage.held.0 + 1;
    assert!(log.iter().any(|entry| entry.entry.contains(&format!("all changes from {first} on"))), "{log:?}");
    client.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_that_is_not_mirrored_stays_where_it_was_moved_by_hand() {
    let server = RedisServer::start();
    let place = Place::on(&server.url());
    let one = quick(place.session("one")).await.unwrap();
    one.create_task(NewTask::titled("kept")).await.unwrap();
    let namespace = namespace(&place, one.connection());
    one.close().await.unwrap();
    let row = namespace.row().unwrap().unwrap();
    namespace.lock_mode().unwrap().write(&ModeRow { replica_complete: false, ..row }).unwrap();
    moved_to_files(&place).await.unwrap();
    let two = quick(place.session("two")).await.unwrap();
    tokio::time::sleep(3 * RETURN_AFTER).await;
    let serving = two.connection().opened().await.unwrap().serving.clone();
    assert_eq!((serving.engine, serving.by_hand.as_deref()), (EngineKind::Files, Some(EVE)));
    assert_eq!(titles(&two).await, ["kept"]);
    two.close().await.unwrap();
}
