//! Attempts that came to nothing, start times, and tasks that are called off and put back.

use agentcoord_core::Error;
use agentcoord_core::ids::Ticket;
use agentcoord_core::limits;
use agentcoord_core::store::Backend;
use agentcoord_core::task::{Backoff, Claim, ClaimTask, FailTask, NewTask, TaskStatus};
use agentcoord_core::time::Clock;

use crate::actor::{Scene, claimed, waiting};
use crate::refused;

fn steady(first: u64, most: u64, max_attempts: u32) -> NewTask {
    NewTask { max_attempts, backoff: Some(Backoff { first, most, jitter: 0 }), ..NewTask::titled("fragile") }
}

/// Each pause is twice as long as the one before, up to the longest.
pub async fn a_failed_task_rests_longer_each_time(scene: Scene) {
    let ada = scene.agent("ada").await;
    let key = ada.create(steady(1_000, 3_000, 5)).await;
    for pause in [1_000, 2_000, 3_000, 3_000] {
        let claim = ada.claim().await;
        assert_eq!(ada.fail(&claim, "no luck", true).await.expect("claimed").status, TaskStatus::Scheduled);
        assert_eq!(scene.task(&key).await.retry_at, Some(scene.clock().read().wall + pause));
        scene.pass(pause - 1).await;
        assert!(matches!(ada.try_claim(&[]).await, Claim::Nothing { pending: 0 }), "it rests");
        refused!(ada.claim_id(&key).await, Error::WrongState { actual, .. } if actual == "scheduled");
        scene.pass(1).await;
    }
    assert_eq!(ada.claim().await.attempt, 5);
}

/// The operation brings the luck that makes a pause longer or shorter.
pub async fn a_pause_varies_with_the_luck_of_the_attempt(scene: Scene) {
    let ada = scene.agent("ada").await;
    for (chance, pause) in [(0, 800), (500, 1_000), (1_000, 1_200)] {
        let key = ada.create_titled("fragile").await;
        let claim = claimed(ada.claim_id(&key).await.expect("pending"));
        let reason = "no luck".to_owned();
        let fail = FailTask { chance, ..FailTask::new(key.clone(), claim.token, reason, true, "{}".to_owned()) };
        ada.ask(fail).await.expect("claimed");
        assert_eq!(scene.task(&key).await.retry_at, Some(scene.clock().read().wall + pause), "chance {chance}");
    }
}

/// A task that has rested goes to an agent that waits for one, and before younger tasks.
pub async fn a_task_that_has_rested_is_back_in_its_place(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let key = ada.create(steady(1_000, 1_000, 3)).await;
    ada.fail(&ada.claim().await, "no luck", true).await.expect("claimed");
    let ticket = waiting(bob.wait_claim(&[]).await);
    scene.pass(1_000).await;
    let before = scene.csn().await;
    scene.settle().await;
    assert_eq!(scene.wakes(before).await, [ticket.as_str()]);
    let claim = claimed(bob.confirm_task(&ticket).await);
    assert_eq!((claim.key.as_str(), claim.attempt), (key.as_str(), 2));
    bob.fail(&claim, "no luck", true).await.expect("claimed");
    ada.create_titled("younger").await;
    scene.pass(1_000).await;
    assert_eq!(bob.claim().await.key, key);
}

/// Every attempt's reason is kept, of failures and crashes, with who and when, also after a redrive.
pub async fn every_attempts_reason_is_kept(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let key = ada.create(NewTask { lease: Some(5_000), ..steady(0, 0, 2) }).await;
    ada.fail(&ada.claim().await, "no disk", true).await.expect("claimed");
    bob.claim().await;
    scene.pass(5_000).await;
    let claim = ada.claim().await;
    assert_eq!(claim.attempt, 2, "a crash is no attempt");
    ada.leave().await;
    let claim = bob.claim().await;
    let logged = scene.store().audit().extent().await.expect("readable").entries;
    bob.fail(&claim, "no disk again", true).await.expect("claimed");
    assert_eq!(scene.store().audit().extent().await.expect("readable").entries, logged + 1, "a dead letter is audited");
    bob.redrive(&key).await.expect("dead");
    bob.fail(&bob.claim().await, "never", false).await.expect("claimed");
    assert_eq!(scene.store().audit().extent().await.expect("readable").entries, logged + 2);
    let detail = scene.detail(&key).await;
    let told: Vec<_> = detail
        .setbacks
        .iter()
        .map(|s| (s.attempt, s.crashed, s.reason.as_str(), s.name.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(
        told,
        [
            (1, false, "no disk", "ada"),
            (2, true, "its lease ended", "bob"),
            (2, true, "deregistered", "ada"),
            (2, false, "no disk again", "bob"),
            (1, false, "never", "bob"),
        ]
    );
    assert!(detail.setbacks.is_sorted_by_key(|s| s.at));
    assert_eq!(detail.task.error.as_deref(), Some("never"));
}

/// A worker whose session and lease end at the same moment is one lost worker, and whoever is offered its task keeps it.
pub async fn a_worker_is_lost_once(scene: Scene) {
    let boss = scene.agent("boss").await;
    let key = boss.create(NewTask { lease: Some(limits::SESSION_TTL), ..NewTask::titled("a task") }).await;
    for (name, waits) in [("ada", false), ("bob", true)] {
        scene.agent(name).await.claim().await;
        scene.pass(limits::SESSION_TTL / 2).await;
        boss.beat().await;
        if waits {
            waiting(boss.wait_claim(&[]).await);
        }
        scene.pass(limits::SESSION_TTL / 2).await;
        scene.settle().await;
        boss.beat().await;
    }
    let detail = scene.detail(&key).await;
    assert_eq!((detail.task.crashes, detail.task.attempt), (2, 1));
    assert_eq!(detail.task.claimed_by.as_deref(), Some("boss"));
    let told: Vec<_> = detail.setbacks.iter().map(|s| (s.attempt, s.reason.as_str(), s.name.as_deref())).collect();
    assert_eq!(told, [(1, "no heartbeat", Some("ada")), (1, "no heartbeat", Some("bob"))]);
}

/// A task that always fails rests between its attempts while the others are done.
pub async fn a_poison_task_cannot_stop_a_queue(scene: Scene) {
    let ada = scene.agent("ada").await;
    let poison = ada.create(NewTask { priority: 5, ..steady(1_000, 1_000, 3) }).await;
    for number in 0..6 {
        ada.create_titled(&format!("task {number}")).await;
    }
    let mut done = 0;
    while let Claim::Claimed(claim) = ada.try_claim(&[]).await {
        if claim.key == poison {
            ada.fail(&claim, "poison", true).await.expect("claimed");
        } else {
            ada.complete(&claim).await.expect("claimed");
            done += 1;
        }
        scene.pass(600).await;
    }
    assert_eq!(done, 6);
    assert_eq!(scene.task(&poison).await.status, TaskStatus::Dead);
}

/// A job of any length runs once while its worker gives signs of life.
pub async fn a_long_job_runs_once(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let key = ada.create_titled("long").await;
    let claim = ada.claim().await;
    for _ in 0..20 {
        scene.pass(limits::SESSION_TTL / 2).await;
        ada.beat().await;
        assert!(matches!(bob.try_claim(&[]).await, Claim::Nothing { pending: 0 }));
    }
    ada.complete(&claim).await.expect("claimed");
    let task = scene.task(&key).await;
    assert_eq!((task.status, task.attempt, task.crashes), (TaskStatus::Completed, 1, 0));
}

/// A worker of the same name neither keeps the claim of the one before alive nor takes it over.
pub async fn a_reused_name_neither_keeps_nor_takes_a_claim(scene: Scene) {
    let first = scene.agent("worker").await;
    let key = first.create_titled("a task").await;
    let claim = first.claim().await;
    let second = scene.agent("worker").await;
    refused!(second.complete(&claim).await, Error::Stale { .. });
    assert!(matches!(second.try_claim(&[]).await, Claim::Nothing { pending: 0 }));
    for _ in 0..2 {
        scene.pass(limits::SESSION_TTL / 2).await;
        second.beat().await;
    }
    let again = second.claim().await;
    assert_eq!(again.key, key, "the orphan has expired whatever the second does");
    refused!(first.complete(&claim).await, Error::Stale { .. });
    second.complete(&again).await.expect("claimed");
}

/// A task with a start time is not handed out before it; when it comes, a waiting agent gets it.
pub async fn a_task_is_not_claimed_before_its_time(scene: Scene) {
    let ada = scene.agent("ada").await;
    let at = scene.clock().read().wall + 20_000;
    let key = ada.create(NewTask { not_before: Some(at), ..NewTask::titled("later") }).await;
    assert_eq!(scene.task(&key).await.status, TaskStatus::Scheduled);
    assert!(matches!(ada.try_claim(&[]).await, Claim::Nothing { pending: 0 }));
    let ticket = waiting(ada.wait_claim(&[]).await);
    scene.pass(19_999).await;
    scene.settle().await;
    assert_eq!(scene.task(&key).await.status, TaskStatus::Scheduled);
    scene.pass(1).await;
    scene.settle().await;
    assert_eq!(claimed(ada.confirm_task(&ticket).await).key, key);
    let past = ada.create(NewTask { not_before: Some(at), ..NewTask::titled("now") }).await;
    assert_eq!(scene.task(&past).await.status, TaskStatus::Pending);
}

/// A start time is wall time: it comes when the clock on the wall says so.
pub async fn a_start_time_follows_the_wall_clock(scene: Scene) {
    let ada = scene.agent("ada").await;
    let at = scene.clock().read().wall + 3_600_000;
    let key = ada.create(NewTask { not_before: Some(at), ..NewTask::titled("later") }).await;
    scene.set_wall_by(3_600_000).await;
    scene.settle().await;
    assert_eq!(scene.task(&key).await.status, TaskStatus::Pending);
}

/// A cancelled claim is void: its holder is told under its ticket and its late writes are stale.
pub async fn a_cancelled_claim_is_over_and_its_holder_is_told(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let key = ada.create_titled("a task").await;
    let op = ada.op(ClaimTask::new(Vec::new()));
    let claim = claimed(ada.send(&op).await.expect("accepted"));
    let ticket = Ticket::of(ada.client(), op.request);
    assert_eq!(scene.task(&key).await.ticket.as_ref(), Some(&ticket));
    let before = scene.csn().await;
    assert_eq!(bob.cancel(&key, Some("not needed")).await.expect("there").status, TaskStatus::Cancelled);
    assert_eq!(scene.wakes(before).await, [ticket.as_str()]);
    let before = scene.csn().await;
    refused!(ada.complete(&claim).await, Error::Stale { owner: None, .. });
    refused!(ada.fail(&claim, "late", true).await, Error::Stale { .. });
    refused!(bob.cancel(&key, None).await, Error::WrongState { actual, .. } if actual == "cancelled");
    assert_eq!(scene.csn().await, before);
    let task = scene.task(&key).await;
    assert_eq!(
        (task.status, task.error.as_deref()),
        (TaskStatus::Cancelled, Some("cancelled by agent:bob: not needed"))
    );
    assert!(task.session.is_none() && task.completed_at.is_some());
}

/// Only what has not ended is cancelled, in whatever state it is.
pub async fn only_a_task_that_has_not_ended_is_cancelled(scene: Scene) {
    let (ada, grace) = (scene.agent("ada").await, scene.human("grace").await);
    let pending = ada.create_titled("pending").await;
    let later = scene.clock().read().wall + 60_000;
    let scheduled = ada.create(NewTask { not_before: Some(later), ..NewTask::titled("scheduled") }).await;
    let blocked = ada.create(NewTask { depends_on: vec![pending.clone()], ..NewTask::titled("blocked") }).await;
    for key in [&blocked, &scheduled, &pending] {
        assert_eq!(grace.cancel(key, None).await.expect("there").status, TaskStatus::Cancelled);
    }
    assert_eq!(scene.task(&pending).await.error.as_deref(), Some("cancelled by human:grace"));
    let done = ada.create_titled("done").await;
    ada.complete(&ada.claim().await).await.expect("claimed");
    refused!(
        grace.cancel(&done, None).await,
        Error::WrongState { actual, expected, .. } if actual == "completed" && expected.contains("pending")
    );
    refused!(grace.cancel("0123456789", None).await, Error::NotFound { .. });
    let (counts, _) = scene.store().now().await.expect("readable");
    assert_eq!((counts.cancelled, counts.pending, counts.blocked, counts.scheduled), (3, 0, 0, 0));
}

/// Who was offered a task that is cancelled gets another one, or waits on in its place.
pub async fn a_cancelled_hand_off_leaves_its_waiter_in_line(scene: Scene) {
    let (ada, bob, grace) = (scene.agent("ada").await, scene.agent("bob").await, scene.human("grace").await);
    let first = waiting(ada.wait_claim(&[]).await);
    let offered = grace.create_titled("offered").await;
    let second = waiting(bob.wait_claim(&[]).await);
    grace.cancel(&offered, None).await.expect("there");
    assert_eq!(waiting(ada.confirm_task(&first).await), first);
    let next = grace.create_titled("next").await;
    let pending = grace.create_titled("pending").await;
    assert_eq!(claimed(bob.confirm_task(&second).await).key, pending);
    let more = grace.create_titled("more").await;
    let before = scene.csn().await;
    grace.cancel(&next, None).await.expect("there");
    assert_eq!(scene.wakes(before).await, [first.as_str()]);
    assert_eq!(claimed(ada.confirm_task(&first).await).key, more);
}

/// A task that is cancelled while it is still to be shown to waiting claims is offered to none of them.
pub async fn a_cancelled_task_is_offered_to_nobody(scene: Scene) {
    let (dead, eve, grace) = (scene.agent("dead").await, scene.agent("eve").await, scene.human("grace").await);
    // More than the create, the cancellation, and what both settle before, get through.
    for _ in 0..6 * limits::WORK_PER_STEP {
        waiting(dead.wait_claim(&[]).await);
    }
    let ticket = waiting(eve.wait_claim(&[]).await);
    for _ in 0..2 {
        scene.pass(limits::SESSION_TTL / 2).await;
        eve.beat().await;
    }
    let key = grace.create_titled("a task").await;
    grace.cancel(&key, None).await.expect("pending");
    scene.settle().await;
    assert_eq!(waiting(eve.confirm_task(&ticket).await), ticket);
    assert_eq!(scene.task(&key).await.status, TaskStatus::Cancelled);
}

/// A task that is cancelled while it rests has no next try, and does not rest when it is redriven.
pub async fn a_cancelled_task_does_not_rest(scene: Scene) {
    let ada = scene.agent("ada").await;
    let key = ada.create(steady(60_000, 60_000, 3)).await;
    ada.fail(&ada.claim().await, "no luck", true).await.expect("claimed");
    ada.cancel(&key, None).await.expect("scheduled");
    assert_eq!(scene.task(&key).await.retry_at, None);
    assert_eq!(ada.redrive(&key).await.expect("cancelled").status, TaskStatus::Pending);
}

/// A redriven task has all its attempts before it, keeps its place, and forgets what it ended with.
pub async fn a_redriven_task_begins_anew(scene: Scene) {
    let ada = scene.agent("ada").await;
    let key = ada.create(NewTask { max_attempts: 1, ..NewTask::titled("a task") }).await;
    ada.create_titled("younger").await;
    refused!(ada.redrive(&key).await, Error::WrongState { actual, .. } if actual == "pending");
    for retry in [true, false] {
        ada.fail(&ada.claim().await, "no luck", retry).await.expect("claimed");
        assert_eq!(ada.redrive(&key).await.expect("ended").status, TaskStatus::Pending);
        let task = scene.task(&key).await;
        assert_eq!((task.attempt, task.error, task.completed_at, task.claimed_by), (0, None, None, None));
    }
    ada.cancel(&key, None).await.expect("pending");
    ada.redrive(&key).await.expect("cancelled");
    let claim = ada.claim().await;
    assert_eq!((claim.key.as_str(), claim.attempt), (key.as_str(), 1));
    ada.complete(&claim).await.expect("claimed");
    refused!(ada.redrive(&key).await, Error::WrongState { actual, .. } if actual == "completed");
}

/// The crashes of the life before do not count after a redrive.
pub async fn stall_counter_starts_anew_after_a_redrive(scene: Scene) {
    let boss = scene.agent("boss").await;
    let key = boss.create_titled("a task").await;
    for life in 0..2 {
        for number in 1..=limits::MAX_CRASHES {
            let victim = scene.agent(&format!("victim {life} {number}")).await;
            victim.claim().await;
            victim.leave().await;
            assert_eq!(scene.task(&key).await.crashes, number);
        }
        assert_eq!(scene.task(&key).await.status, TaskStatus::Dead);
        boss.redrive(&key).await.expect("dead");
        assert_eq!(scene.task(&key).await.crashes, 0);
    }
}
