//! kill -9 at every place.

use std::fmt::Debug;

use agentcoord::core::engine::EngineKind;
use agentcoord::core::waypoint;
use futures_util::StreamExt;

use super::process::{End, Fall, READY};
use super::scene::Scene;

/// Cases that are played at the same time.
const AT_ONCE: usize = 2;

/// A place, how often it is reached before the process is killed there, and from where on that counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) place: &'static str,
    pub(super) nth: u32,
    pub(super) after: &'static str,
    /// The process that falls is the keeper.
    pub(super) is_keeper: bool,
}

const fn at(place: &'static str, nth: u32, after: &'static str, is_keeper: bool) -> Case {
    Case { place, nth, after, is_keeper }
}

impl Case {
    pub(super) fn end(&self) -> End {
        let (place, after) = (self.place.to_owned(), self.after.to_owned());
        End { place, nth: self.nth, after, fall: Fall::Killed, kills_redis: false }
    }
}

const REQUESTS: [Case; 9] = [
    at("request/intended", 1, "", false),
    at("request/intended", 3, READY, false),
    at("request/intended", 7, READY, true),
    at("request/answered", 1, READY, true),
    at("request/answered", 4, READY, false),
    at("request/noted", 1, READY, false),
    at("request/noted", 5, READY, true),
    at("request/confirmed", 1, READY, true),
    at("request/confirmed", 6, READY, false),
];

const REPLICA: [Case; 4] = [
    at("replica/read", 1, READY, true),
    at("replica/read", 3, READY, true),
    at("replica/applied", 1, READY, true),
    at("replica/applied", 3, READY, true),
];

const TAKE_OVER: [Case; 6] = [
    at("take-over/preparing", 1, READY, true),
    at("take-over/preparing", 2, READY, true),
    at("take-over/read", 1, READY, true),
    at("take-over/read", 2, READY, true),
    at("take-over/installed", 1, READY, true),
    at("take-over/installed", 2, READY, true),
];

const RETURN: [Case; 12] = [
    at("return/copied", 1, READY, true),
    at("return/leaving", 1, READY, true),
    at("return/closed", 1, READY, true),
    at("return/written", 1, READY, true),
    at("return/opened", 1, READY, true),
    at("return/arrived", 1, READY, true),
    at("return/copied", 2, READY, true),
    at("return/leaving", 2, READY, true),
    at("return/closed", 2, READY, true),
    at("return/written", 2, READY, true),
    at("return/opened", 2, READY, true),
    at("return/arrived", 2, READY, true),
];

/// Changes of the mode while Redis goes and comes: the row of the take-over; then the complaint that is withdrawn, or the
/// return that begins; the return that begins; and the one that is over.
const MODE_ROW: [Case; 4] = [
    at("mode/row", 1, READY, true),
    at("mode/row", 1, "take-over/installed", true),
    at("mode/row", 1, "return/copied", true),
    at("mode/row", 1, "return/opened", true),
];

/// Some cases at the same time: most of each is waiting. A failure names its case.
pub(super) async fn each<C: Debug + Clone, F: Future<Output = ()> + Send + 'static>(
    cases: impl IntoIterator<Item = C>,
    play: impl Fn(C) -> F,
) {
    let played = cases.into_iter().map(|case| {
        let played = tokio::spawn(play(case.clone()));
        async move { played.await.unwrap_or_else(|failure| panic!("{case:?}: {failure}")) }
    });
    futures_util::stream::iter(played).for_each_concurrent(AT_ONCE, |played| played).await;
}

#[test]
fn every_place_has_its_case() {
    let cases = [&REQUESTS[..], &REPLICA, &TAKE_OVER, &RETURN, &MODE_ROW].concat();
    for place in waypoint::ALL {
        assert!(cases.iter().any(|case| case.place == place), "{place}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_on_the_way_of_a_request_is_survived() {
    each(REQUESTS, at_work).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_that_is_killed_on_the_way_of_the_replica_is_survived() {
    each(REPLICA, at_work).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_in_a_take_over_is_survived() {
    each(TAKE_OVER, taking_over).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_that_is_killed_in_its_first_return_is_survived() {
    each(RETURN[..6].to_vec(), returning).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_that_is_killed_in_its_second_return_is_survived() {
    each(RETURN[6..].to_vec(), returning).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_between_row_and_word_of_the_mode_is_survived() {
    each(MODE_ROW[..2].to_vec(), taking_over_and_back).await;
    each(MODE_ROW[2..].to_vec(), returning).await;
}

/// Killed while Redis serves.
async fn at_work(case: Case) {
    let mut scene = Scene::new(false);
    scene.both_work(case.end(), case.is_keeper, false).await;
    scene.falling().falls().await;
    scene.all_is_well(true).await;
    scene.an_outage_later(true).await;
    scene.ends(true).await;
}

/// Killed while it takes over for the n-th time. The other one is stopped meanwhile, so that it must be this one.
async fn taking_over(case: Case) {
    let mut scene = Scene::new(case.nth > 1);
    scene.both_work(case.end(), case.is_keeper, false).await;
    for turn in 1..=case.nth {
        scene.falling().gets_on().await;
        scene.other().stop().await;
        scene.server.kill9();
        if turn < case.nth {
            scene.served_by("files").await;
            scene.other().go_on();
            scene.redis_comes();
            scene.served_by("redis").await;
        }
    }
    scene.falling().falls().await;
    scene.other().go_on();
    scene.all_is_well(true).await;
    assert_eq!(scene.condition().await.engine, "files");
    scene.redis_comes();
    scene.an_outage_later(true).await;
    scene.ends(true).await;
}

/// As before, but Redis is back before anybody else can look.
async fn taking_over_and_back(case: Case) {
    let mut scene = Scene::new(false);
    scene.both_work(case.end(), case.is_keeper, false).await;
    scene.falling().gets_on().await;
    scene.other().stop().await;
    scene.server.kill9();
    if case.after == READY {
        scene.falling().falls().await;
        scene.redis_comes();
    } else {
        scene.served_by("files").await;
        scene.redis_comes();
        scene.falling().falls().await;
    }
    scene.other().go_on();
    scene.all_is_well(true).await;
    scene.an_outage_later(true).await;
    scene.ends(true).await;
}

/// Killed while it carries everything back for the n-th time.
async fn returning(case: Case) {
    let mut scene = Scene::new(case.nth > 1);
    scene.both_work(case.end(), case.is_keeper, false).await;
    for turn in 1..=case.nth {
        scene.other().gets_on().await;
        scene.redis_goes().await;
        scene.other().gets_on().await;
        scene.redis_comes();
        if turn < case.nth {
            scene.served_by("redis").await;
        }
    }
    scene.falling().falls().await;
    scene.all_is_well(true).await;
    scene.an_outage_later(true).await;
    scene.ends(true).await;
}

/// Killed while it carries a state to Redis that has never been there.
const FIRST_RETURN: [Case; 3] =
    [at("return/closed", 1, READY, true), at("return/written", 1, READY, true), at("return/opened", 1, READY, true)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_that_is_killed_in_the_return_of_a_workspace_begun_on_files_is_survived() {
    each(FIRST_RETURN, returning_what_began_on_files).await;
}

async fn returning_what_began_on_files(case: Case) {
    let mut scene = Scene::new(true);
    scene.server.kill9();
    scene.both_work(case.end(), case.is_keeper, false).await;
    scene.other().gets_on().await;
    scene.redis_comes();
    scene.falling().falls().await;
    scene.all_is_well(true).await;
    scene.an_outage_later(true).await;
    scene.ends(true).await;
}

/// The first decision of a workspace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_in_the_first_decision_is_survived() {
    let mut scene = Scene::new(false);
    scene.start_falling(at("mode/row", 1, "", true).end(), false);
    scene.falling().falls().await;
    scene.start_other();
    scene.go();
    scene.all_is_well(true).await;
    scene.an_outage_later(true).await;
    scene.ends(true).await;
}

/// What Redis holds is copied to files that know nothing of it: the row of the first decision, the end of the copy, that of
/// the rest, and the row that says that the files hold everything.
const FILLING: [Case; 4] = [
    at("mode/row", 1, "", true),
    at("replica/applied", 1, "", true),
    at("replica/applied", 2, "", true),
    at("mode/row", 2, "", true),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_that_is_killed_while_it_fills_files_that_were_lost_is_survived() {
    each(FILLING, filling_files).await;
}

async fn filling_files(case: Case) {
    let mut scene = Scene::that_has_lost_its_files().await;
    scene.start_falling(case.end(), false);
    scene.falling().falls().await;
    scene.start_other();
    scene.all_is_well(true).await;
    scene.an_outage_later(true).await;
    scene.ends(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_in_a_move_by_hand_is_survived() {
    each(["mode/row", "take-over/preparing", "take-over/read", "take-over/installed"], moving_by_hand).await;
}

/// A take-over by hand, with a Redis that serves on: the others hear of nothing, and the keeper goes on with it.
async fn moving_by_hand(place: &'static str) {
    let mut scene = Scene::new(false);
    scene.start_other();
    scene.go();
    // It has opened all that it opens, and sent its first sign of life.
    scene.other().has_done(60).await;
    scene.start_falling(at(place, 1, READY, false).end(), true);
    scene.falling().falls().await;
    scene.served_by("files").await;
    scene.all_is_well(true).await;
    scene.watch.switch(EngineKind::Redis, "human:eve").await.unwrap();
    scene.all_is_well(true).await;
    scene.an_outage_later(true).await;
    scene.ends(true).await;
}

/// A return that fails because Redis dies in the middle of it, and whose end is then cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_that_is_killed_while_it_gives_up_a_return_is_survived() {
    let mut scene = Scene::new(false);
    let end = End { kills_redis: true, ..at("mode/row", 1, "return/closed", true).end() };
    scene.both_work(end, true, false).await;
    scene.redis_goes().await;
    scene.redis_comes();
    scene.falling().falls().await;
    scene.all_is_well(true).await;
    scene.redis_comes();
    scene.an_outage_later(true).await;
    scene.ends(true).await;
}
