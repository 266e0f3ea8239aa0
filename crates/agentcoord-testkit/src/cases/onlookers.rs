//! Waiting until paths are free without taking them: in turn, and at nobody's cost.

use agentcoord_core::Error;
use agentcoord_core::limits;
use agentcoord_core::lock::{Acquire, AcquireLock, LockMode, WaitLock};
use agentcoord_core::store::Backend;

use crate::actor::{Scene, contended, granted, lock_path, locking, queued};
use crate::refused;

/// It ends with the release, in the same step, and nothing is taken. A free path is answered at once.
pub async fn a_wait_ends_when_the_path_is_free(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    assert_eq!(bob.wait_free(&["a"]).await, Acquire::Free);
    let held = ada.hold(&["a"]).await;
    assert_eq!(ada.wait_free(&["a"]).await, Acquire::Free, "one's own lock is not in one's way");
    let ticket = queued(bob.wait_free(&["a"]).await);
    assert_eq!(queued(bob.confirm_lock(&ticket).await), ticket, "not yet");
    let before = scene.csn().await;
    ada.release(held.token).await.expect("held");
    assert_eq!(scene.wakes(before).await, [ticket.as_str()]);
    assert_eq!(bob.confirm_lock(&ticket).await, Acquire::Free);
    assert!(scene.holders("a").await.is_empty());
    assert!(matches!(bob.confirm_lock(&ticket).await, Acquire::Lapsed { .. }), "it has left");
}

/// Whoever asks later goes first, by request and by hand-over.
pub async fn a_wait_keeps_nobody_waiting(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    let share = |paths: &[&str]| AcquireLock { mode: LockMode::Shared, ..locking(paths) };
    let read = granted(ada.ask(share(&["a"])).await.expect("accepted"));
    let ticket = queued(eve.wait_free(&["a"]).await);
    let other = granted(bob.ask(share(&["a"])).await.expect("accepted"));
    ada.release(read.token).await.expect("held");
    assert_eq!(queued(eve.confirm_lock(&ticket).await), ticket, "bob reads");
    let write = queued(ada.lock(&["a"]).await);
    bob.release(other.token).await.expect("held");
    assert_eq!(eve.confirm_lock(&ticket).await, Acquire::Free, "eve asked before ada");
    granted(ada.confirm_lock(&write).await);
}

/// It ends after those who asked before, and not between two of them.
pub async fn a_wait_comes_after_those_who_asked_before(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    let held = ada.hold(&["a"]).await;
    let write = queued(bob.lock(&["a"]).await);
    let ticket = queued(eve.wait_free(&["a"]).await);
    ada.release(held.token).await.expect("held");
    assert_eq!(queued(eve.confirm_lock(&ticket).await), ticket);
    let written = granted(bob.confirm_lock(&write).await);
    bob.release(written.token).await.expect("held");
    assert_eq!(eve.confirm_lock(&ticket).await, Acquire::Free);
}

/// Several paths are free when all of them are at one time; subtrees count with what is in them.
pub async fn a_wait_for_several_paths_ends_when_all_are_free(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    let (file, tree) = (ada.hold(&["src/deep/a"]).await, bob.hold(&["docs/"]).await);
    let ticket = queued(eve.wait_free(&["src/", "docs/index"]).await);
    ada.release(file.token).await.expect("held");
    assert_eq!(queued(eve.confirm_lock(&ticket).await), ticket);
    bob.release(tree.token).await.expect("held");
    assert_eq!(eve.confirm_lock(&ticket).await, Acquire::Free);
}

/// Who holds what the holder waits for waits for ever, whether it takes or not: either is told.
pub async fn a_wait_that_would_close_a_circle_is_a_deadlock(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let (a, b) = (ada.hold(&["a"]).await, bob.hold(&["b"]).await);
    let ticket = queued(bob.wait_free(&["a"]).await);
    let Acquire::Deadlock { cycle } = ada.lock(&["b"]).await else { panic!("a circle") };
    let told: Vec<_> = cycle.iter().map(|waits| (waits.name.as_str(), waits.path.as_str())).collect();
    assert_eq!(told, [("ada", "b"), ("bob", "a")]);
    ada.release(a.token).await.expect("held");
    assert_eq!(bob.confirm_lock(&ticket).await, Acquire::Free);
    let a = ada.hold(&["a"]).await;
    queued(ada.lock(&["b"]).await);
    assert!(matches!(bob.wait_free(&["a"]).await, Acquire::Deadlock { .. }));
    bob.release(b.token).await.expect("held");
    ada.release(a.token).await.expect("held");
}

/// It ends at its time, with its session, and when it is withdrawn; nothing stays.
pub async fn a_wait_leaves_nothing_behind(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    let held = ada.hold(&["a"]).await;
    let refusing = WaitLock { wait: Some(0), ..locking(&["a"]).into() };
    assert_eq!(contended(bob.ask(refusing).await.expect("accepted"))[0].name, "ada");
    let ticket = queued(bob.ask(WaitLock { wait: Some(1_000), ..locking(&["a"]).into() }).await.expect("accepted"));
    let withdrawn = bob.op(WaitLock::new(vec![lock_path("a")]));
    queued(bob.send(&withdrawn).await.expect("accepted"));
    queued(eve.wait_free(&["a"]).await);
    assert_eq!(scene.waiters("a").await, ["bob", "bob", "eve"]);
    scene.pass(1_000).await;
    scene.settle().await;
    assert!(matches!(bob.confirm_lock(&ticket).await, Acquire::Lapsed { .. }));
    assert!(bob.withdraw_lock(withdrawn.request).await.paths.is_empty());
    eve.leave().await;
    assert!(scene.waiters("a").await.is_empty());
    // An answer that nobody hears is dropped as well.
    let unheard = queued(bob.wait_free(&["a"]).await);
    ada.release(held.token).await.expect("held");
    scene.pass(limits::OFFER).await;
    scene.settle().await;
    assert!(matches!(bob.confirm_lock(&unheard).await, Acquire::Lapsed { .. }));
    assert!(scene.store().locks().list().await.expect("readable").is_empty());
}

/// Many who wait are told in bounded steps, and the one who takes is not kept from it.
pub async fn many_waits_end_in_bounded_steps(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let tree = ada.hold(&["src/"]).await;
    let crowd = scene.agent("crowd").await;
    let many = 2 * limits::WORK_PER_STEP + 7;
    let mut tickets = Vec::new();
    for number in 0..many {
        let body = WaitLock { lane: format!("lane {number}"), ..locking(&["src/a"]).into() };
        tickets.push(queued(crowd.ask(body).await.expect("accepted")));
    }
    let write = queued(bob.lock(&["src/a"]).await);
    let before = scene.csn().await;
    ada.release(tree.token).await.expect("held");
    scene.settle().await;
    let events = scene.events(before).await;
    assert!(events.iter().all(|event| event.wakes.len() <= limits::WORK_PER_STEP));
    assert_eq!(events.iter().map(|event| event.wakes.len()).sum::<usize>(), many + 1);
    granted(bob.confirm_lock(&write).await);
    for ticket in tickets {
        assert_eq!(crowd.confirm_lock(&ticket).await, Acquire::Free);
    }
}

/// Bad input is refused with the field's name before anything is written, and only agents wait.
pub async fn bad_wait_requests_write_nothing(scene: Scene) {
    let ada = scene.agent("ada").await;
    let before = scene.csn().await;
    let good = WaitLock::new(vec![lock_path("a")]);
    for (field, bad) in [
        ("paths", WaitLock { paths: Vec::new(), ..good.clone() }),
        ("lane", WaitLock { lane: " x".to_owned(), ..good.clone() }),
        ("wait", WaitLock { wait: Some(u64::MAX), ..good.clone() }),
    ] {
        refused!(ada.ask(bad).await, Error::Invalid { field: named, .. } if named == field);
    }
    refused!(scene.human("eve").await.ask(good).await, Error::Refused { policy: "no_session", .. });
    assert_eq!(scene.csn().await, before);
}
