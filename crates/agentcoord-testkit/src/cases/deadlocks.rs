//! Circles of agents that wait for each other: answered when they would arise, and only then.

use agentcoord_core::limits;
use agentcoord_core::lock::{Acquire, AcquireLock, LockMode, Waits};

use crate::actor::{Player, Scene, contended, granted, lock_path, locking, queued};

/// The circle of an acquire that must have been answered with one.
fn circle(outcome: Acquire) -> Vec<Waits> {
    match outcome {
        Acquire::Deadlock { cycle } => cycle,
        other => panic!("no deadlock: {other:?}"),
    }
}

fn names(cycle: &[Waits]) -> Vec<&str> {
    cycle.iter().map(|w| w.name.as_str()).collect()
}

async fn share(player: &Player, paths: &[&str]) -> Acquire {
    player.ask(AcquireLock { mode: LockMode::Shared, ..locking(paths) }).await.expect("well-formed")
}

/// The request that would close the circle is told who waits for what and why, and is not queued.
pub async fn a_deadlock_is_answered_when_it_would_arise(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let first = ada.hold(&["a"]).await;
    bob.hold(&["b"]).await;
    let waiting = AcquireLock { intent: Some("needs both".to_owned()), ..locking(&["b"]) };
    queued(ada.ask(waiting).await.expect("accepted"));
    let closing = AcquireLock { intent: Some("the other way round".to_owned()), ..locking(&["a"]) };
    let cycle = circle(bob.ask(closing).await.expect("accepted"));
    assert_eq!(names(&cycle), ["bob", "ada"]);
    assert_eq!((&cycle[0].path, &cycle[1].path), (&lock_path("a"), &lock_path("b")));
    assert_eq!(cycle[0].intent.as_deref(), Some("the other way round"));
    assert_eq!(cycle[1].intent.as_deref(), Some("needs both"));
    assert_eq!(cycle[1].agent, ada.agent());
    assert!(scene.waiters("a").await.is_empty(), "the victim is the one that asks");
    assert!(scene.is_current("a", first.token).await);
}

/// Whichever of the two comes last is the one that is told.
pub async fn a_deadlock_is_found_in_either_order(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    ada.hold(&["a"]).await;
    let held = bob.hold(&["b"]).await;
    let ticket = queued(bob.lock(&["a"]).await);
    assert_eq!(names(&circle(ada.lock(&["b"]).await)), ["ada", "bob"]);
    bob.release(held.token).await.expect("held");
    assert_eq!(queued(bob.confirm_lock(&ticket).await), ticket, "the other still waits, and nobody is stuck");
    ada.hold(&["b"]).await;
}

/// Circles of three and of six are found, with everybody in it in order.
pub async fn a_deadlock_of_many_is_found(scene: Scene) {
    for many in [3, 6] {
        let mut agents = Vec::new();
        for number in 0..many {
            let agent = scene.agent(&format!("{many}/{number}")).await;
            agent.hold(&[&format!("{many}/{number}")]).await;
            agents.push(agent);
        }
        for (number, agent) in agents.iter().enumerate().take(many - 1) {
            queued(agent.lock(&[&format!("{many}/{}", number + 1)]).await);
        }
        let cycle = circle(agents[many - 1].lock(&[&format!("{many}/0")]).await);
        let mut expected = vec![format!("{many}/{}", many - 1)];
        expected.extend((0..many - 1).map(|number| format!("{many}/{number}")));
        assert_eq!(names(&cycle), expected);
    }
}

/// Two readers that both want to write something the other reads.
pub async fn a_deadlock_of_readers_is_found(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    for reader in [&ada, &eve] {
        granted(share(reader, &["a"]).await);
    }
    for reader in [&bob, &eve] {
        granted(share(reader, &["b"]).await);
    }
    queued(ada.lock(&["b"]).await);
    assert_eq!(names(&circle(bob.lock(&["a"]).await)), ["bob", "ada"]);
    queued(share(&scene.agent("late").await, &["b"]).await);
}

/// A circle can go through somebody who holds nothing but comes earlier in the queue.
pub async fn a_deadlock_through_an_older_waiter_is_found(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    bob.hold(&["x"]).await;
    eve.hold(&["b"]).await;
    queued(ada.lock(&["a", "b"]).await);
    queued(eve.lock(&["x"]).await);
    assert_eq!(names(&circle(bob.lock(&["a"]).await)), ["bob", "ada", "eve"]);
}

/// One request for several paths waits for all who hold one of them.
pub async fn a_deadlock_over_one_of_several_paths_is_found(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    ada.hold(&["a1", "a2"]).await;
    bob.hold(&["b"]).await;
    eve.hold(&["e"]).await;
    queued(bob.lock(&["a2", "e", "free"]).await);
    assert_eq!(names(&circle(ada.lock(&["b", "other"]).await)), ["ada", "bob"]);
    assert_eq!(names(&circle(eve.lock(&["b"]).await)), ["eve", "bob"]);
}

/// Subtrees close circles too.
pub async fn a_deadlock_over_subtrees_is_found(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    ada.hold(&["src/"]).await;
    bob.hold(&["docs/guide/a"]).await;
    queued(bob.lock(&["src/deep/b"]).await);
    assert_eq!(names(&circle(ada.lock(&["docs/"]).await)), ["ada", "bob"]);
}

/// Two lanes of one program that wait for each other are a deadlock; within one lane there is none.
pub async fn lanes_of_one_program_can_deadlock(scene: Scene) {
    let ada = scene.agent("ada").await;
    let lane = |lane: &str, path: &str| AcquireLock { lane: lane.to_owned(), ..locking(&[path]) };
    granted(ada.ask(lane("one", "a")).await.expect("accepted"));
    granted(ada.ask(lane("two", "b")).await.expect("accepted"));
    granted(ada.ask(lane("one", "a")).await.expect("accepted"));
    queued(ada.ask(lane("one", "b")).await.expect("accepted"));
    circle(ada.ask(lane("two", "a")).await.expect("accepted"));
}

/// A chain is no circle, nor is a path that two want: everybody gets a turn in the end.
pub async fn a_chain_of_waits_is_no_deadlock(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    let one = ada.hold(&["a"]).await;
    let two = bob.hold(&["b"]).await;
    eve.hold(&["c"]).await;
    let third = queued(eve.lock(&["b"]).await);
    let second = queued(bob.lock(&["a"]).await);
    queued(scene.agent("dan").await.lock(&["a", "b", "c"]).await);
    ada.release(one.token).await.expect("held");
    granted(bob.confirm_lock(&second).await);
    bob.release(two.token).await.expect("held");
    granted(eve.confirm_lock(&third).await);
}

/// Whoever holds nothing keeps nobody waiting, however long the queue is.
pub async fn waiting_without_holding_is_no_deadlock(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    ada.hold(&["a"]).await;
    queued(bob.lock(&["a", "b"]).await);
    queued(eve.lock(&["b", "a"]).await);
    queued(bob.ask(AcquireLock { lane: "second".to_owned(), ..locking(&["b"]) }).await.expect("accepted"));
}

/// Readers that share do not wait for each other.
pub async fn sharing_is_no_deadlock(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    granted(share(&ada, &["a"]).await);
    granted(share(&bob, &["b"]).await);
    granted(share(&ada, &["b"]).await);
    granted(share(&bob, &["a"]).await);
}

/// A circle that has been broken, by a release, a withdrawal or an end, is none.
pub async fn a_broken_circle_is_no_deadlock(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let held = ada.hold(&["a"]).await;
    bob.hold(&["b"]).await;
    let op = ada.op(locking(&["b"]));
    queued(ada.send(&op).await.expect("accepted"));
    circle(bob.lock(&["a"]).await);
    ada.withdraw_lock(op.request).await;
    queued(bob.lock(&["a"]).await);
    ada.release(held.token).await.expect("held");
    queued(ada.lock(&["b"]).await);
}

/// Somebody whose session is over waits for nothing, so there is no circle through it.
pub async fn the_dead_are_in_no_deadlock(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    ada.hold(&["a"]).await;
    bob.hold(&["b"]).await;
    queued(ada.lock(&["b"]).await);
    for _ in 0..4 {
        scene.pass(limits::SESSION_TTL / 4).await;
        bob.beat().await;
    }
    match bob.lock(&["a"]).await {
        Acquire::Granted(_) | Acquire::Queued { .. } => {}
        other => panic!("nobody lives who waits: {other:?}"),
    }
}

/// Without waiting there is no deadlock: the answer says who is in the way.
pub async fn a_request_that_does_not_wait_is_no_deadlock(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    ada.hold(&["a"]).await;
    bob.hold(&["b"]).await;
    queued(ada.lock(&["b"]).await);
    contended(bob.try_lock(&["a"]).await);
}

/// A crowd in front of a hot path does not make the search give up.
pub async fn a_deadlock_is_found_behind_a_crowd(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    ada.hold(&["hot"]).await;
    bob.hold(&["b"]).await;
    let crowd = scene.agent("crowd").await;
    for number in 0..150 {
        let body = AcquireLock { lane: format!("lane {number}"), ..locking(&["hot"]) };
        queued(crowd.ask(body).await.expect("accepted"));
    }
    let ticket = queued(scene.agent("eve").await.lock(&["b"]).await);
    let waiting = bob.op(locking(&["hot"]));
    assert!(!ticket.as_str().is_empty());
    queued(bob.send(&waiting).await.expect("no circle, though somebody waits for bob"));
    assert_eq!(names(&circle(ada.lock(&["b"]).await)), ["ada", "bob"]);
}
