//! How long a claim lasts: leases, and workers that are lost.

use agentcoord_core::Error;
use agentcoord_core::ids::Ticket;
use agentcoord_core::limits;
use agentcoord_core::task::{Claim, ClaimTask, ExtendTask, NewTask, TaskStatus};

use crate::actor::{Scene, claimed, waiting};
use crate::refused;

/// A dead worker's task goes back to its place; the crash is counted apart from failures.
pub async fn a_dead_workers_task_returns_to_the_queue(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let key = ada.create(NewTask { max_attempts: 1, ..NewTask::titled("first") }).await;
    bob.create_titled("second").await;
    let claim = ada.claim().await;
    for _ in 0..2 {
        scene.pass(limits::SESSION_TTL / 2).await;
        bob.beat().await;
    }
    let again = bob.claim().await;
    assert_eq!((again.key.as_str(), again.attempt), (key.as_str(), 1), "a crash is no failed attempt");
    assert_eq!(scene.task(&key).await.crashes, 1);
    refused!(ada.complete(&claim).await, Error::Stale { .. });
}

/// A task that outlives its workers too often ends dead and does not stop the queue.
pub async fn a_task_that_loses_its_workers_ends_dead(scene: Scene) {
    let boss = scene.agent("boss").await;
    let key = boss.create(NewTask { priority: 5, ..NewTask::titled("poison") }).await;
    let next = boss.create_titled("next").await;
    for number in 0..limits::MAX_CRASHES {
        let victim = scene.agent(&format!("victim {number}")).await;
        assert_eq!(victim.claim().await.key, key);
        victim.leave().await;
    }
    let task = scene.task(&key).await;
    assert_eq!((task.status, task.crashes), (TaskStatus::Dead, limits::MAX_CRASHES));
    assert!(task.error.is_some_and(|e| e.contains("workers")));
    assert_eq!(boss.claim().await.key, next);
}

/// A claim with a lease ends at it unless extended; heartbeats do not move it.
pub async fn a_lease_ends_a_claim_unless_extended(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let key = ada.create(NewTask { lease: Some(5_000), ..NewTask::titled("a task") }).await;
    let claim = ada.claim().await;
    scene.pass(4_000).await;
    ada.ask(ExtendTask { key: key.clone(), token: claim.token, lease: 5_000 }).await.expect("claimed");
    scene.pass(4_999).await;
    ada.beat().await;
    assert!(matches!(bob.try_claim(&[]).await, Claim::Nothing { .. }));
    scene.pass(1).await;
    assert_eq!(bob.claim().await.key, key);
    refused!(ada.complete(&claim).await, Error::Stale { owner: Some(owner), .. } if owner == "bob");
}

/// A claim's own lease comes before the task's.
pub async fn a_claims_own_lease_comes_first(scene: Scene) {
    let ada = scene.agent("ada").await;
    let key = ada.create(NewTask { lease: Some(5_000), ..NewTask::titled("a task") }).await;
    let body = ClaimTask { lease: Some(1_000), ..ClaimTask::new(Vec::new()) };
    claimed(ada.ask(body).await.expect("accepted"));
    scene.pass(1_000).await;
    scene.settle().await;
    assert_eq!(scene.task(&key).await.status, TaskStatus::Pending);
}

/// What a claim falls back on counts where neither it nor the task says how long it lasts, however it got the task.
pub async fn a_claims_fallback_comes_last(scene: Scene) {
    let ada = scene.agent("ada").await;
    for (own, of_task, lasts) in [(Some(1_000), None, 1_000), (None, Some(5_000), 5_000), (None, None, 9_000)] {
        let body = ClaimTask { lease: own, fallback: Some(9_000), ..ClaimTask::new(Vec::new()) };
        let task = || NewTask { lease: of_task, ..NewTask::titled("a task") };
        let at_once = ada.create(task()).await;
        claimed(ada.ask(body.clone()).await.expect("accepted"));
        let ticket = waiting(ada.ask(body.clone()).await.expect("accepted"));
        let waited_for = ada.create(task()).await;
        claimed(ada.confirm_task(&ticket).await);
        let named = ada.create(task()).await;
        claimed(ada.ask(ClaimTask { id: Some(named.clone()), ..body }).await.expect("accepted"));
        let (_, clock) = scene.store().now().await.expect("readable");
        for key in [at_once, waited_for, named] {
            assert_eq!(scene.task(&key).await.deadline, Some(clock.now + lasts));
        }
    }
}

/// Whose lease has ended is told so under the ticket of its claim.
pub async fn the_end_of_a_lease_is_told_to_its_holder(scene: Scene) {
    let ada = scene.agent("ada").await;
    ada.create_titled("a task").await;
    let op = ada.op(ClaimTask { lease: Some(1_000), ..ClaimTask::new(Vec::new()) });
    claimed(ada.send(&op).await.expect("accepted"));
    scene.pass(1_000).await;
    let before = scene.csn().await;
    scene.settle().await;
    assert_eq!(scene.wakes(before).await, [Ticket::of(ada.client(), op.request).as_str()]);
}

/// A stale worker's failure is not written into the new owner's task.
pub async fn a_stale_workers_failure_is_not_written(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let key = ada.create(NewTask { lease: Some(1_000), ..NewTask::titled("a task") }).await;
    let old = ada.claim().await;
    scene.pass(1_000).await;
    let new = bob.claim().await;
    refused!(ada.fail(&old, "too late", false).await, Error::Stale { .. });
    let task = scene.task(&key).await;
    assert_eq!((task.status, task.error, task.token), (TaskStatus::Claimed, None, Some(new.token)));
    bob.complete(&new).await.expect("claimed");
}
