//! Locks that meet without being the same: shared ones, subtrees, and what people take away.

use agentcoord_core::Error;
use agentcoord_core::ids::Token;
use agentcoord_core::limits;
use agentcoord_core::lock::{Acquire, AcquireLock, LockMode, ReleaseLock, RevokeLock};
use agentcoord_core::store::Backend;

use crate::actor::{Player, Scene, contended, granted, lock_path, locking, queued};
use crate::refused;

/// A request to read.
fn reading(paths: &[&str]) -> AcquireLock {
    AcquireLock { mode: LockMode::Shared, ..locking(paths) }
}

async fn share(player: &Player, paths: &[&str]) -> Acquire {
    player.ask(reading(paths)).await.expect("the request is well-formed")
}

fn revoking(path: &str) -> RevokeLock {
    RevokeLock { path: lock_path(path), audit: r#"{"decision_type":"lock_revoked","reason":"urgent"}"#.to_owned() }
}

/// Many may share a path; each has a token of its own, and nobody may have it alone meanwhile.
pub async fn shared_locks_coexist(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    let one = granted(share(&ada, &["a"]).await);
    let two = granted(share(&bob, &["a"]).await);
    assert_ne!(one.token, two.token);
    assert_eq!(one.mode, LockMode::Shared);
    assert!(scene.is_current("a", one.token).await && scene.is_current("a", two.token).await);
    assert_eq!(contended(eve.try_lock(&["a"]).await).len(), 2);
    let ticket = queued(eve.lock(&["a"]).await);
    ada.release(one.token).await.expect("held");
    assert_eq!(queued(eve.confirm_lock(&ticket).await), ticket, "bob still reads");
    bob.release(two.token).await.expect("held");
    granted(eve.confirm_lock(&ticket).await);
    contended(ada.ask(AcquireLock { wait: Some(0), ..reading(&["a"]) }).await.expect("accepted"));
}

/// A stream of readers does not starve a writer: whoever comes after it waits behind it.
pub async fn a_reader_waits_behind_an_older_writer(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    let read = granted(share(&ada, &["a"]).await);
    let write = queued(bob.lock(&["a"]).await);
    let late = queued(share(&eve, &["a"]).await);
    assert_eq!(scene.waiters("a").await, ["bob", "eve"]);
    ada.release(read.token).await.expect("held");
    let written = granted(bob.confirm_lock(&write).await);
    assert_eq!(queued(eve.confirm_lock(&late).await), late);
    bob.release(written.token).await.expect("held");
    granted(eve.confirm_lock(&late).await);
}

/// Readers at the head of the queue are granted in one step; the writer behind them and the reader behind it wait.
pub async fn readers_go_together(scene: Scene) {
    let ada = scene.agent("ada").await;
    let held = ada.hold(&["a"]).await;
    let mut readers = Vec::new();
    for number in 0..5 {
        let reader = scene.agent(&format!("reader {number}")).await;
        let ticket = queued(share(&reader, &["a"]).await);
        readers.push((reader, ticket));
    }
    let (writer, late) = (scene.agent("writer").await, scene.agent("late").await);
    let write = queued(writer.lock(&["a"]).await);
    let behind = queued(share(&late, &["a"]).await);
    let before = scene.csn().await;
    ada.release(held.token).await.expect("held");
    let woken = scene.wakes(before).await;
    assert_eq!(woken, readers.iter().map(|(_, ticket)| ticket.to_string()).collect::<Vec<_>>());
    for (reader, ticket) in readers {
        let token = granted(reader.confirm_lock(&ticket).await).token;
        reader.release(token).await.expect("held");
    }
    assert_eq!(queued(late.confirm_lock(&behind).await), behind);
    granted(writer.confirm_lock(&write).await);
}

/// When a writer in the middle gives up, the readers behind it join those that hold.
pub async fn readers_join_when_the_writer_between_them_leaves(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    granted(share(&ada, &["a"]).await);
    let op = bob.op(locking(&["a"]));
    queued(bob.send(&op).await.expect("accepted"));
    let ticket = queued(share(&eve, &["a"]).await);
    bob.withdraw_lock(op.request).await;
    granted(eve.confirm_lock(&ticket).await);
    assert_eq!(scene.holders("a").await, ["ada", "eve"]);
}

/// A lane that shares a path is refused it exclusively, with what to do instead; released, it may ask.
pub async fn a_shared_lock_is_not_upgraded(scene: Scene) {
    let ada = scene.agent("ada").await;
    let read = granted(share(&ada, &["src/a"]).await);
    let before = scene.csn().await;
    for paths in [&["src/a"][..], &["src/"], &["b", "src/a"]] {
        refused!(ada.ask(locking(paths)).await, Error::Refused { policy: "lock_upgrade", .. });
    }
    assert_eq!(scene.csn().await, before);
    ada.release(read.token).await.expect("held");
    ada.hold(&["src/a"]).await;
}

/// Sharing again is the same lease; what one holds alone one may read as well.
pub async fn sharing_again_is_the_same_lease(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let first = granted(share(&ada, &["a"]).await);
    queued(bob.lock(&["a"]).await);
    let again = granted(share(&ada, &["a"]).await);
    assert!(again.reacquired);
    assert_eq!(again.token, first.token);
    let alone = ada.hold(&["b"]).await;
    let read = granted(share(&ada, &["b"]).await);
    assert!(!read.reacquired && read.token > alone.token);
}

/// A subtree is in the way of everything below it, at any depth, and everything held below is in its way.
pub async fn a_subtree_conflicts_with_everything_inside(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let tree = ada.hold(&["src/"]).await;
    for inside in ["src/a", "src/deep/er/b", "src/deep/", "src/", "src"] {
        let conflicts = contended(bob.try_lock(&[inside]).await);
        assert_eq!(conflicts[0].path, lock_path("src/"), "{inside}");
    }
    ada.release(tree.token).await.expect("held");
    let deep = bob.hold(&["src/deep/er/b"]).await;
    assert_eq!(contended(ada.try_lock(&["src/"]).await)[0].path, lock_path("src/deep/er/b"));
    contended(ada.try_lock(&["src/deep/"]).await);
    let ticket = queued(ada.lock(&["src/"]).await);
    bob.release(deep.token).await.expect("held");
    granted(ada.confirm_lock(&ticket).await);
}

/// What only begins like the subtree, and what lies beside or above it, is free.
pub async fn a_subtree_leaves_its_neighbours_alone(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    ada.hold(&["src/deep/"]).await;
    for other in ["src/deeper", "src/dee", "src/deep-", "src/deep0", "src/de/", "other/", "@src/deep/x", "src"] {
        bob.hold(&[other]).await;
    }
}

/// A file waits behind the subtrees above it, held or asked for earlier.
pub async fn a_file_conflicts_with_the_subtrees_above(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    let file = ada.hold(&["a/b/c"]).await;
    let tree = queued(bob.lock(&["a/"]).await);
    let conflicts = contended(eve.try_lock(&["a/x/y"]).await);
    assert!(conflicts[0].waiting && conflicts[0].path == lock_path("a/"));
    let behind = queued(eve.lock(&["a/x/y"]).await);
    ada.release(file.token).await.expect("held");
    assert_eq!(queued(eve.confirm_lock(&behind).await), behind);
    let token = granted(bob.confirm_lock(&tree).await).token;
    bob.release(token).await.expect("held");
    granted(eve.confirm_lock(&behind).await);
}

/// Subtrees are shared as files are.
pub async fn subtrees_are_shared_too(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    granted(share(&ada, &["src/"]).await);
    granted(share(&bob, &["src/a"]).await);
    granted(share(&eve, &["src/deep/"]).await);
    contended(scene.agent("writer").await.try_lock(&["src/deep/b"]).await);
}

/// A lane that holds a subtree may take what is in it, and its files do not keep it from the subtree.
pub async fn a_lane_never_waits_for_its_own_subtree(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let file = ada.hold(&["src/a"]).await;
    ada.hold(&["src/"]).await;
    ada.hold(&["src/b"]).await;
    ada.release(file.token).await.expect("held");
    contended(bob.try_lock(&["src/a"]).await);
}

/// What waits for a lock of this very lane is not in its way, also behind somebody else's release.
pub async fn a_holder_is_not_kept_waiting_by_those_who_wait_for_it(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    ada.hold(&["x"]).await;
    let other = eve.hold(&["q"]).await;
    queued(bob.lock(&["q", "x"]).await);
    let ticket = queued(ada.lock(&["q"]).await);
    eve.release(other.token).await.expect("held");
    granted(ada.confirm_lock(&ticket).await);
}

/// As before, with many more waits in the same session: those of other lanes do not hide the one that can go.
pub async fn a_lane_is_found_among_many_of_its_session(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    ada.hold(&["x"]).await;
    let other = eve.hold(&["q"]).await;
    eve.hold(&["z"]).await;
    for number in 0..2 * limits::WORK_PER_STEP {
        let body = AcquireLock { lane: format!("lane {number}"), ..locking(&["z"]) };
        queued(ada.ask(body).await.expect("accepted"));
    }
    queued(bob.lock(&["q", "x"]).await);
    let ticket = queued(ada.lock(&["q"]).await);
    eve.release(other.token).await.expect("held");
    granted(ada.confirm_lock(&ticket).await);
}

/// The release of a subtree passes on to many, a bounded number in each step, and forgets nobody.
pub async fn a_subtree_with_many_waiters_passes_on_in_bounded_steps(scene: Scene) {
    let ada = scene.agent("ada").await;
    let tree = ada.hold(&["src/"]).await;
    let crowd = scene.agent("crowd").await;
    let many = 3 * limits::WORK_PER_STEP;
    let mut tickets = Vec::new();
    for number in 0..many {
        let body = AcquireLock { lane: format!("lane {number}"), ..locking(&[&format!("src/{number:03}")]) };
        tickets.push(queued(crowd.ask(body).await.expect("accepted")));
    }
    let before = scene.csn().await;
    ada.release(tree.token).await.expect("held");
    assert!(scene.wakes(before).await.len() <= limits::WORK_PER_STEP);
    scene.settle().await;
    let events = scene.events(before).await;
    assert!(events.iter().all(|event| event.wakes.len() <= limits::WORK_PER_STEP));
    assert_eq!(events.iter().map(|event| event.wakes.len()).sum::<usize>(), many);
    for ticket in tickets {
        granted(crowd.confirm_lock(&ticket).await);
    }
}

/// Many readers behind one writer: all of them get their turn, a bounded number in each step.
pub async fn many_readers_go_in_bounded_steps(scene: Scene) {
    let ada = scene.agent("ada").await;
    let held = ada.hold(&["a"]).await;
    let crowd = scene.agent("crowd").await;
    let many = 2 * limits::WORK_PER_STEP + 7;
    for number in 0..many {
        let body = AcquireLock { lane: format!("lane {number}"), ..reading(&["a"]) };
        queued(crowd.ask(body).await.expect("accepted"));
    }
    let before = scene.csn().await;
    ada.release(held.token).await.expect("held");
    scene.settle().await;
    let events = scene.events(before).await;
    assert!(events.iter().all(|event| event.wakes.len() <= limits::WORK_PER_STEP));
    assert_eq!(events.iter().map(|event| event.wakes.len()).sum::<usize>(), many);
}

/// A person takes a lock away: its token is stale, the next waiter has the path, the holder and the audit log are told.
pub async fn a_revoked_lock_passes_on(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.human("eve").await);
    let held = ada.hold(&["a", "b"]).await;
    let ticket = queued(bob.lock(&["b"]).await);
    let before = scene.csn().await;
    let revoked = eve.ask(revoking("a")).await.expect("a person may");
    assert_eq!(revoked.grants.len(), 1);
    assert_eq!((revoked.grants[0].token, revoked.grants[0].name.as_str()), (held.token, "ada"));
    let woken = scene.wakes(before).await;
    assert!(woken.contains(&held.ticket.to_string()) && woken.contains(&ticket.to_string()), "{woken:?}");
    let new = granted(bob.confirm_lock(&ticket).await);
    assert!(new.token > held.token && !scene.is_current("a", held.token).await);
    let late = ReleaseLock { token: held.token, paths: Vec::new() };
    refused!(ada.ask(late).await, Error::Stale { .. });
    let log = scene.store().audit().read(0, 10).await.expect("readable").items;
    assert!(log.last().expect("an entry").entry.contains("urgent"));
    refused!(eve.ask(revoking("nobody/holds/it")).await, Error::NotFound { .. });
}

/// An agent takes nothing away, not even its own lock; nor does AgentCoord.
pub async fn only_people_revoke_locks(scene: Scene) {
    let (ada, bob, system) = (scene.agent("ada").await, scene.agent("bob").await, scene.system().await);
    let held = ada.hold(&["a"]).await;
    let before = scene.csn().await;
    for player in [&ada, &bob, &system] {
        refused!(player.ask(revoking("a")).await, Error::Refused { policy: "revoke_humans_only", .. });
    }
    assert_eq!(scene.csn().await, before);
    assert!(scene.is_current("a", held.token).await && held.token > Token(0));
}

/// An offer that nobody has taken up yet is revoked as well: its waiter finds its ticket gone.
pub async fn an_offered_lock_is_revoked(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.human("eve").await);
    let held = ada.hold(&["a"]).await;
    let ticket = queued(bob.lock(&["a"]).await);
    ada.release(held.token).await.expect("held");
    eve.ask(revoking("a")).await.expect("a person may");
    assert!(matches!(bob.confirm_lock(&ticket).await, Acquire::Lapsed { .. }));
    ada.hold(&["a"]).await;
}
