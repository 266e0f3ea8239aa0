//! Tasks that wait for other tasks: released once, when all of them are completed.

use agentcoord_core::Error;
use agentcoord_core::ids::Csn;
use agentcoord_core::limits;
use agentcoord_core::task::{Claim, CreateTasks, DependencyState, NewTask, TaskStatus};

use crate::actor::{Player, Scene, claimed, waiting};
use crate::refused;

fn after(title: &str, depends_on: &[&str]) -> NewTask {
    NewTask { depends_on: depends_on.iter().map(|id| (*id).to_owned()).collect(), ..NewTask::titled(title) }
}

async fn complete(player: &Player, key: &str) {
    let claim = claimed(player.claim_id(key).await.expect("pending"));
    player.complete(&claim).await.expect("claimed");
}

/// Creates so many tasks that look alike, and settles what that leaves over; their keys.
async fn crowd(scene: &Scene, player: &Player, number: usize, like: &NewTask) -> Vec<String> {
    let mut keys = Vec::new();
    while keys.len() < number {
        let many = (number - keys.len()).min(limits::CREATE_CHUNK);
        let tasks = (0..many).map(|_| NewTask { id: NewTask::titled("").id, ..like.clone() }).collect();
        let created = player.ask(CreateTasks::new(tasks)).await.expect("accepted");
        keys.extend(created.items.into_iter().map(|item| item.key));
    }
    scene.settle().await;
    keys
}

/// No step since touched more than its share of records.
async fn assert_bounded(scene: &Scene, since: Csn) {
    // A dependency and its dependent each, and what every step writes.
    let most = 2 * limits::LINKS_PER_STEP + 16;
    for event in scene.events(since).await {
        assert!(event.images.len() <= most, "{} touched {} records", event.verb, event.images.len());
    }
}

/// A task is blocked until everything it depends on is completed; then it is handed out, once.
pub async fn a_task_waits_for_what_it_depends_on(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let (one, two) = (ada.create_titled("one").await, ada.create_titled("two").await);
    let last = ada.create(NewTask { priority: 5, ..after("last", &[&one, &two]) }).await;
    let task = scene.task(&last).await;
    assert_eq!((task.status, task.waits_for, task.lost), (TaskStatus::Blocked, 2, 0));
    refused!(bob.claim_id(&last).await, Error::WrongState { actual, .. } if actual == "blocked");
    complete(&ada, &two).await;
    assert_eq!(scene.task(&last).await.waits_for, 1);
    let claim = ada.claim().await;
    assert_eq!(claim.key, one);
    let ticket = waiting(bob.wait_claim(&[]).await);
    let before = scene.csn().await;
    ada.complete(&claim).await.expect("claimed");
    assert_eq!(scene.wakes(before).await, [ticket.as_str()], "released in the same step");
    assert_eq!(claimed(bob.confirm_task(&ticket).await).key, last);
    let listed = scene.detail(&last).await.depends_on;
    let done = |d: &agentcoord_core::task::Dependency| {
        d.state == DependencyState::Done && d.status == Some(TaskStatus::Completed)
    };
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(done), "{listed:?}");
}

/// A dependency that is named twice, in whatever spelling, is one.
pub async fn a_dependency_named_twice_is_one(scene: Scene) {
    let ada = scene.agent("ada").await;
    let key = ada.create_titled("one").await;
    let whole = scene.task(&key).await.id;
    let last = ada.create(after("last", &[&key, whole.as_str(), &whole.as_str().to_uppercase(), &key])).await;
    assert_eq!(scene.task(&last).await.waits_for, 1);
    complete(&ada, &key).await;
    assert_eq!(scene.task(&last).await.status, TaskStatus::Pending);
}

/// What is completed already keeps nobody waiting.
pub async fn a_completed_dependency_is_no_obstacle(scene: Scene) {
    let ada = scene.agent("ada").await;
    let (one, two) = (ada.create_titled("one").await, ada.create_titled("two").await);
    complete(&ada, &one).await;
    let free = ada.create(after("free", &[&one])).await;
    let bound = ada.create(after("bound", &[&one, &two])).await;
    assert_eq!(scene.task(&free).await.status, TaskStatus::Pending);
    assert_eq!(scene.task(&bound).await.waits_for, 1);
}

/// Only what exists can be depended on, so nothing ever waits in a circle; a refusal writes nothing.
pub async fn only_existing_tasks_are_depended_on(scene: Scene) {
    let ada = scene.agent("ada").await;
    let before = scene.csn().await;
    refused!(ada.ask(CreateTasks::new(vec![after("x", &["0123456789"])])).await, Error::NotFound { .. });
    let (first, second) = (NewTask::titled("first"), NewTask::titled("second"));
    let itself = NewTask { depends_on: vec![first.id.to_string()], ..first.clone() };
    refused!(ada.ask(CreateTasks::new(vec![itself])).await, Error::NotFound { .. });
    let early = NewTask { depends_on: vec![second.id.to_string()], ..first.clone() };
    refused!(ada.ask(CreateTasks::new(vec![early, second.clone()])).await, Error::NotFound { .. });
    assert_eq!(scene.csn().await, before);
    let late = NewTask { depends_on: vec![first.id.to_string()], ..second };
    let created = ada.ask(CreateTasks::new(vec![first, late])).await.expect("accepted");
    assert_eq!(scene.task(&created.items[1].key).await.status, TaskStatus::Blocked);
    complete(&ada, &created.items[0].key).await;
    assert_eq!(scene.task(&created.items[1].key).await.status, TaskStatus::Pending);
}

/// What depends on a failed, cancelled or dead task stays blocked and says so; a redrive can release it later.
pub async fn what_depends_on_a_lost_task_stays_blocked(scene: Scene) {
    let ada = scene.agent("ada").await;
    let fragile = || NewTask { max_attempts: 1, ..NewTask::titled("fragile") };
    let (failed, dead) = (ada.create(fragile()).await, ada.create(fragile()).await);
    let cancelled = ada.create_titled("cancelled").await;
    let last = ada.create(after("last", &[&failed, &dead, &cancelled])).await;
    ada.fail(&ada.claim().await, "never", false).await.expect("claimed");
    ada.fail(&ada.claim().await, "no luck", true).await.expect("claimed");
    ada.cancel(&cancelled, None).await.expect("pending");
    let task = scene.task(&last).await;
    assert_eq!((task.status, task.waits_for, task.lost), (TaskStatus::Blocked, 3, 3));
    assert!(scene.detail(&last).await.depends_on.iter().all(|d| d.state == DependencyState::Lost));
    let late = ada.create(after("late", &[&dead])).await;
    assert_eq!((scene.task(&late).await.status, scene.task(&late).await.lost), (TaskStatus::Blocked, 1));
    for (at, key) in [&failed, &dead, &cancelled].into_iter().enumerate() {
        ada.redrive(key).await.expect("ended");
        assert_eq!(scene.task(&last).await.lost as usize, 2 - at);
    }
    for key in [&failed, &dead, &cancelled] {
        assert_eq!(scene.task(&last).await.status, TaskStatus::Blocked);
        complete(&ada, key).await;
    }
    for key in [&last, &late] {
        assert_eq!(scene.task(key).await.status, TaskStatus::Pending);
    }
}

/// A blocked task that is cancelled stays cancelled whatever becomes of what it waited for, until it is redriven.
pub async fn a_cancelled_dependent_stays_cancelled(scene: Scene) {
    let ada = scene.agent("ada").await;
    let (one, two) = (ada.create_titled("one").await, ada.create_titled("two").await);
    let last = ada.create(after("last", &[&one, &two])).await;
    ada.cancel(&last, None).await.expect("blocked");
    complete(&ada, &one).await;
    assert_eq!(ada.redrive(&last).await.expect("cancelled").status, TaskStatus::Blocked);
    ada.cancel(&last, None).await.expect("blocked");
    complete(&ada, &two).await;
    assert_eq!(scene.task(&last).await.status, TaskStatus::Cancelled);
    assert_eq!(ada.redrive(&last).await.expect("cancelled").status, TaskStatus::Pending);
}

/// A released task whose start time has not come rests until then.
pub async fn a_released_task_waits_for_its_start_time(scene: Scene) {
    let ada = scene.agent("ada").await;
    let one = ada.create_titled("one").await;
    let at = agentcoord_core::time::Clock::read(&*scene.clock()).wall + 10_000;
    let last = ada.create(NewTask { not_before: Some(at), ..after("last", &[&one]) }).await;
    assert_eq!(scene.task(&last).await.status, TaskStatus::Blocked);
    complete(&ada, &one).await;
    assert_eq!(scene.task(&last).await.status, TaskStatus::Scheduled);
    scene.pass(10_000).await;
    assert_eq!(ada.claim().await.key, last);
}

/// Many dependents of one task are released in bounded steps, each once.
pub async fn many_dependents_are_released_in_bounded_steps(scene: Scene) {
    let ada = scene.agent("ada").await;
    let hub = ada.create_titled("hub").await;
    let keys = crowd(&scene, &ada, 300, &after("spoke", &[&hub])).await;
    let claim = ada.claim().await;
    let before = scene.csn().await;
    ada.complete(&claim).await.expect("claimed");
    assert_eq!(scene.store().now().await.expect("readable").0.pending, limits::LINKS_PER_STEP as i64);
    scene.settle().await;
    assert_bounded(&scene, before).await;
    let counts = scene.store().now().await.expect("readable").0;
    assert_eq!((counts.pending, counts.blocked, counts.dependencies), (300, 0, 0));
    let mut order = Vec::new();
    while let Claim::Claimed(claim) = ada.try_claim(&[]).await {
        order.push(claim.key);
    }
    assert_eq!(order, keys, "in the order of their age");
}

/// A task that depends on many is linked in bounded steps and is released when the last of them is completed.
pub async fn many_dependencies_are_linked_in_bounded_steps(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let keys = crowd(&scene, &ada, 300, &NewTask::titled("part")).await;
    for _ in 0..10 {
        bob.complete(&bob.claim().await).await.expect("claimed");
    }
    let before = scene.csn().await;
    let whole = ada.create(NewTask { depends_on: keys.clone(), ..NewTask::titled("whole") }).await;
    assert_eq!(scene.task(&whole).await.status, TaskStatus::Blocked);
    // Some are completed before they are linked.
    for _ in 0..10 {
        bob.complete(&bob.claim().await).await.expect("claimed");
    }
    scene.settle().await;
    assert_bounded(&scene, before).await;
    assert_eq!(scene.task(&whole).await.waits_for, 280);
    while let Claim::Claimed(claim) = bob.try_claim(&[]).await {
        assert_ne!(claim.key, whole, "others are still open");
        bob.complete(&claim).await.expect("claimed");
        if scene.task(&whole).await.status == TaskStatus::Pending {
            break;
        }
    }
    let counts = scene.store().now().await.expect("readable").0;
    assert_eq!((counts.completed, counts.pending, counts.blocked), (300, 1, 0));
    assert_eq!(scene.detail(&whole).await.depends_on.len(), 300);
}

/// Thousands are linked, and thousands released, in steps that are no longer than those of hundreds.
pub async fn thousands_of_dependencies_are_bounded_work(scene: Scene) {
    const MANY: usize = 2_000;
    let ada = scene.agent("ada").await;
    let parts = crowd(&scene, &ada, MANY, &NewTask::titled("part")).await;
    let whole = ada.create(after("whole", &parts.iter().map(String::as_str).collect::<Vec<_>>())).await;
    let before = scene.csn().await;
    scene.settle().await;
    assert_bounded(&scene, before).await;
    assert_eq!(scene.task(&whole).await.waits_for as usize, MANY);
    crowd(&scene, &ada, MANY, &after("spoke", &[&parts[0]])).await;
    let before = scene.csn().await;
    complete(&ada, &parts[0]).await;
    scene.settle().await;
    assert_bounded(&scene, before).await;
    let counts = scene.store().now().await.expect("readable").0;
    assert_eq!((counts.pending, counts.blocked), (2 * MANY as i64 - 1, 1));
    assert_eq!(scene.task(&whole).await.waits_for as usize, MANY - 1);
}

/// Dependents follow a task that changes its state faster than they can all be told.
pub async fn dependents_follow_a_task_that_changes_quickly(scene: Scene) {
    let ada = scene.agent("ada").await;
    let hub = ada.create_titled("hub").await;
    let keys = crowd(&scene, &ada, 200, &after("spoke", &[&hub])).await;
    let lost = async || {
        let mut lost = 0;
        for key in &keys {
            lost += scene.task(key).await.lost;
        }
        lost
    };
    ada.cancel(&hub, None).await.expect("pending");
    assert_eq!(lost().await as usize, limits::LINKS_PER_STEP, "the others are told later");
    ada.redrive(&hub).await.expect("cancelled");
    ada.cancel(&hub, None).await.expect("pending");
    scene.settle().await;
    assert_eq!(lost().await, 200);
    ada.redrive(&hub).await.expect("cancelled");
    complete(&ada, &hub).await;
    scene.settle().await;
    assert_eq!(lost().await, 0);
    assert_eq!(scene.store().now().await.expect("readable").0.pending, 200);
}
