//! Processes that are stopped in the middle of a switch and go on later, when Redis has been through something else.
//! The lock of the mode is never broken: others wait.

use std::time::{Duration, Instant};

use agentcoord::core::engine::EngineKind;
use agentcoord::{Config, Connection, Error, Style};

use super::matrix::{Case, each};
use super::process::{End, Fall, PATIENCE, READY};
use super::scene::Scene;

fn stop_at(place: &'static str) -> End {
    End { fall: Fall::Stopped, ..Case { place, nth: 1, after: READY, is_keeper: true }.end() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_stopped_in_a_take_over_is_waited_for() {
    each(["take-over/preparing", "take-over/read", "take-over/installed"], taking_over).await;
}

/// Redis is back meanwhile, and the others ask: none of them may go on without the one that is stopped.
async fn taking_over(place: &'static str) {
    let mut scene = stopped_in_a_take_over(place).await;
    scene.redis_comes();
    scene.other().go_on();
    scene.nobody_is_served().await;
    scene.falling().go_on();
    scene.all_is_well(false).await;
    scene.an_outage_later(false).await;
    scene.ends(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_too_long_for_a_stopped_process_is_told_which() {
    let mut scene = stopped_in_a_take_over("take-over/preparing").await;
    scene.other().go_on();
    let mut config = Config::new(scene.place.dir.path(), scene.place.dir.path().join("state"));
    config.redis_url.clone_from(&scene.place.redis_url);
    config.patience = Duration::from_millis(100);
    let begun = Instant::now();
    let refused = Connection::open(config, Style::OneShot).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
    assert!(refused.to_string().contains(&scene.falling().pid().to_string()), "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    scene.falling().go_on();
    scene.all_is_well(false).await;
    scene.redis_comes();
    scene.an_outage_later(false).await;
    scene.ends(false).await;
}

/// The process stands at the place, and the other one, stopped too, has not noticed anything.
async fn stopped_in_a_take_over(place: &'static str) -> Scene {
    let mut scene = Scene::new(false);
    scene.both_work(stop_at(place), true, false).await;
    scene.falling().gets_on().await;
    scene.other().stop().await;
    scene.server.kill9();
    scene.falling().falls().await;
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_that_is_stopped_in_a_return_is_waited_for_and_redis_dies_meanwhile() {
    each(["return/leaving", "return/closed", "return/written", "return/opened"], returning).await;
}

async fn returning(place: &'static str) {
    let mut scene = stopped_in_a_return(place).await;
    scene.nobody_is_served().await;
    scene.redis_comes();
    scene.falling().go_on();
    scene.all_is_well(false).await;
    scene.an_outage_later(false).await;
    scene.ends(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_flushed_in_the_middle_of_a_return_does_not_serve_half_of_it() {
    each(["return/copied", "return/leaving"], flushed_in_a_return).await;
}

/// The server and the connection stay, and what was copied is gone.
async fn flushed_in_a_return(place: &'static str) {
    let mut scene = stopped_in_a_return(place).await;
    drop(scene.server.command(&["FLUSHALL"]));
    scene.falling().go_on();
    scene.served_by("redis").await;
    scene.all_is_well(false).await;
    scene.an_outage_later(false).await;
    scene.ends(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_stops_to_answer_in_the_middle_of_a_return_leaves_the_files_in_charge() {
    each(["return/closed", "return/written"], stopping_to_answer_in_a_return).await;
}

async fn stopping_to_answer_in_a_return(place: &'static str) {
    let mut scene = stopped_in_a_return(place).await;
    scene.server.pause();
    scene.falling().go_on();
    scene.all_is_well(false).await;
    assert_eq!(scene.condition().await.engine, "files");
    scene.server.resume();
    scene.an_outage_later(false).await;
    scene.ends(false).await;
}

/// The one that is stopped has copied everything, and does not hold the lock yet: others may return before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_return_that_others_have_overtaken_is_not_finished() {
    let mut scene = stopped_in_a_return("return/copied").await;
    scene.all_is_well(false).await;
    scene.watch.switch(EngineKind::Redis, "human:eve").await.unwrap();
    let epoch = scene.condition().await.epoch;
    scene.falling().go_on();
    scene.falling().gets_on().await;
    scene.all_is_well(false).await;
    assert_eq!(scene.condition().await.epoch, epoch);
    scene.an_outage_later(false).await;
    scene.ends(false).await;
}

/// What a switch has left behind in Redis is removed at its end. A process that is stopped there must not remove what
/// counts when it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_that_is_stopped_at_the_end_of_a_return_removes_nothing_that_counts() {
    let mut scene = stopped_in_a_return("return/arrived").await;
    scene.all_is_well(false).await;
    let moves = scene.watch.clone();
    let moved = tokio::spawn(async move {
        moves.switch(EngineKind::Files, "human:eve").await?;
        moves.switch(EngineKind::Redis, "human:eve").await
    });
    // As far as it comes while the process is stopped.
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.falling().go_on();
    moved.await.unwrap().unwrap();
    scene.falling().gets_on().await;
    scene.all_is_well(false).await;
    scene.an_outage_later(false).await;
    scene.ends(false).await;
}

/// Before the files hold everything, nobody may be served in the epoch in which they do: what Redis answered to somebody
/// who keeps no journal would be lost with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_that_is_stopped_while_it_fills_files_that_were_lost_is_waited_for() {
    let mut scene = Scene::that_has_lost_its_files().await;
    // What the log has beyond the copy is applied twice: before the lock, and under it.
    scene.start_falling(End { after: String::new(), nth: 2, ..stop_at("replica/applied") }, false);
    scene.falling().falls().await;
    scene.start_other();
    scene.nobody_is_served().await;
    scene.falling().go_on();
    scene.all_is_well(false).await;
    scene.an_outage_later(false).await;
    scene.ends(false).await;
}

/// Neither the keeper's other work nor anybody else waits for what is copied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_ends_the_sessions_of_the_dead_while_it_copies_a_state() {
    let mut scene = in_a_return(End { fall: Fall::HeldUp, ..stop_at("return/copied") }).await;
    scene.other().is_killed().await;
    let give_up = Instant::now() + PATIENCE;
    while scene.watch.store().await.unwrap().now().await.unwrap().0.sessions > 1 {
        assert!(Instant::now() < give_up, "the keeper does not look");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(scene.condition().await.engine, "files");
    scene.falling().go_on();
    scene.served_by("redis").await;
}

async fn stopped_in_a_return(place: &'static str) -> Scene {
    in_a_return(stop_at(place)).await
}

/// The keeper has come to its end in a return.
async fn in_a_return(end: End) -> Scene {
    let mut scene = Scene::new(false);
    scene.both_work(end, true, false).await;
    scene.other().gets_on().await;
    scene.redis_goes().await;
    scene.other().gets_on().await;
    scene.falling().rests().await;
    scene.redis_comes();
    scene.falling().falls().await;
    scene
}
