//! The task queue: priority, age, leases, retries, and one owner at a time.

use agentcoord_core::Error;
use agentcoord_core::ids::{Id, Token};
use agentcoord_core::limits;
use agentcoord_core::store::Backend;
use agentcoord_core::task::{
    Backoff, Claim, ClaimTask, CompleteTask, CreateTasks, ExtendTask, FailTask, NewTask, ProgressTask, StartTask,
    TaskFilter, TaskStatus,
};

use crate::actor::{Scene, claimed, id, strings, waiting};
use crate::refused;

fn urgent(title: &str, priority: u8) -> NewTask {
    NewTask { priority, ..NewTask::titled(title) }
}

fn tagged(title: &str, tags: &[&str]) -> NewTask {
    NewTask { tags: strings(tags), ..NewTask::titled(title) }
}

/// Creating hands a task to the longest-waiting agent that matches, in the same step, with one wake-up.
pub async fn create_hands_off_to_the_longest_waiting_agent(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    waiting(ada.wait_claim(&["frontend"]).await);
    let first = waiting(bob.wait_claim(&["backend"]).await);
    let second = waiting(eve.wait_claim(&[]).await);
    let before = scene.csn().await;
    let key = scene.human("grace").await.create(tagged("a task", &["backend"])).await;
    assert_eq!(scene.wakes(before).await, [first.as_str()]);
    let claim = claimed(bob.confirm_task(&first).await);
    assert_eq!((claim.key.as_str(), claim.attempt), (key.as_str(), 1));
    assert_eq!(waiting(eve.confirm_task(&second).await), second);
    assert_eq!(scene.task(&key).await.claimed_by.as_deref(), Some("bob"));
}

/// An idempotency key names the first task for ever after; with other content it is refused.
pub async fn idempotency_key_returns_the_first_task(scene: Scene) {
    let ada = scene.agent("ada").await;
    let keyed = |title: &str| NewTask { key: Some("import 7".to_owned()), ..NewTask::titled(title) };
    let first = ada.ask(CreateTasks::new(vec![keyed("same")])).await.expect("accepted").items.remove(0);
    assert!(!first.duplicate);
    let before = scene.csn().await;
    let again = scene.agent("bob").await.ask(CreateTasks::new(vec![keyed("same")])).await.expect("accepted");
    assert_eq!((again.items[0].key.as_str(), again.items[0].duplicate), (first.key.as_str(), true));
    let other = ada.ask(CreateTasks::new(vec![NewTask::titled("new"), keyed("other")])).await;
    refused!(other, Error::Refused { policy: "key_reused", reason, .. } if reason.contains("import 7"));
    let created = scene
        .events(before)
        .await
        .iter()
        .flat_map(|e| e.images.clone())
        .any(|i| i.key != first.key && i.table == agentcoord_core::table::Table::Task);
    assert!(!created, "a refused create makes none of its tasks");
}

/// Many claim at the same time: every task has one claimer, and none is lost.
pub async fn claim_is_exclusive(scene: Scene) {
    let boss = scene.human("grace").await;
    boss.ask(CreateTasks::new((0..40).map(|n| NewTask::titled(format!("task {n}"))).collect()))
        .await
        .expect("accepted");
    let mut running = Vec::new();
    for number in 0..4 {
        let agent = scene.agent(&format!("agent {number}")).await;
        running.push(tokio::spawn(async move {
            let mut keys = Vec::new();
            while let Claim::Claimed(claim) = agent.try_claim(&[]).await {
                keys.push(claim.key);
            }
            keys
        }));
    }
    let mut all = Vec::new();
    for task in running {
        all.extend(task.await.expect("no panic"));
    }
    all.sort();
    assert_eq!(all.len(), 40);
    all.dedup();
    assert_eq!(all.len(), 40, "no task was claimed twice");
}

/// One task wanted by many at the same time, by its id: one gets it, the others are told who has it.
pub async fn one_of_many_claims_of_one_task_succeeds(scene: Scene) {
    let key = scene.human("grace").await.create_titled("wanted").await;
    let mut running = Vec::new();
    for number in 0..6 {
        let (agent, key) = (scene.agent(&format!("agent {number}")).await, key.clone());
        running.push(tokio::spawn(async move { agent.claim_id(&key).await }));
    }
    let (mut won, mut told) = (0, 0);
    for task in running {
        match task.await.expect("no panic") {
            Ok(Claim::Claimed(_)) => won += 1,
            Err(Error::Held { .. }) => told += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((won, told), (1, 5));
}

/// Highest priority first, first in first out inside a priority; age never lifts a low priority.
pub async fn claim_takes_priority_then_age(scene: Scene) {
    let ada = scene.agent("ada").await;
    let mut keys = Vec::new();
    for (title, priority) in [("old and low", 1), ("middle", 3), ("middle too", 3), ("urgent", 5), ("high", 4)] {
        keys.push(ada.create(urgent(title, priority)).await);
        scene.pass(5_000).await;
    }
    let mut order = Vec::new();
    for _ in 0..5 {
        order.push(scene.task(&ada.claim().await.key).await.title);
    }
    assert_eq!(order, ["urgent", "high", "middle", "middle too", "old and low"]);
}

/// A claim names tags of which a task carries any, and a task names capabilities of which an agent has all.
pub async fn claim_matches_any_tag_and_all_requirements(scene: Scene) {
    let plain = scene.agent("plain").await;
    let able = scene.able("able", &["rust", "gpu"]).await;
    let both = NewTask { requires: strings(&["gpu", "rust"]), ..tagged("both", &["backend", "slow"]) };
    let key = able.create(both).await;
    assert!(matches!(plain.try_claim(&["backend"]).await, Claim::Nothing { pending: 1 }), "it lacks capabilities");
    assert!(matches!(able.try_claim(&["frontend", "back"]).await, Claim::Nothing { pending: 1 }), "no such tag");
    refused!(plain.claim_id(&key).await, Error::Refused { policy: "not_capable", reason, .. } if reason.contains("gpu"));
    assert_eq!(claimed(able.try_claim(&["docs", "slow"]).await).key, key);
    let untagged = able.create_titled("untagged").await;
    assert!(matches!(able.try_claim(&["backend"]).await, Claim::Nothing { .. }), "no tag is not any tag");
    assert_eq!(claimed(plain.try_claim(&[]).await).key, untagged);
}

/// A claim of a certain task that is taken says by whom.
pub async fn claim_by_id_names_the_owner_when_taken(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let key = ada.create_titled("a task").await;
    claimed(ada.claim_id(&key).await.expect("free"));
    let before = scene.csn().await;
    refused!(bob.claim_id(&key).await, Error::Held { holder, .. } if holder == "ada");
    refused!(bob.claim_id("0123456789abcdef").await, Error::NotFound { .. });
    assert_eq!(scene.csn().await, before);
}

/// A claim of a finished task says that it is finished, not that its last worker still has it.
pub async fn claiming_a_finished_task_names_its_state(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let key = ada.create_titled("a task").await;
    ada.complete(&ada.claim().await).await.expect("claimed");
    refused!(bob.claim_id(&key).await, Error::WrongState { actual, .. } if actual == "completed");
}

/// A task is claimed by its short id, its whole id, and anything between, hyphens and case aside.
pub async fn a_task_is_named_by_any_longer_form_of_its_id(scene: Scene) {
    let ada = scene.agent("ada").await;
    let whole: Id = "3f9a1c22-0b0d-4000-8000-000000000001".parse().expect("a uuid");
    let key = ada.create(NewTask { id: whole, ..NewTask::titled("a task") }).await;
    assert_eq!(key, "3f9a1c22");
    for typed in ["3f9a1c22", "3F9A1C22-0b0d", "3f9a1c220b0d40008000000000000001"] {
        let claim = claimed(ada.claim_id(typed).await.expect("it is there"));
        assert_eq!(claim.key, key);
        ada.release_task(&claim).await.expect("claimed");
    }
    refused!(ada.claim_id("3f9a1c22ffff").await, Error::NotFound { .. });
    let twin: Id = "3f9a1c22-ffff-4000-8000-000000000002".parse().expect("a uuid");
    assert_eq!(ada.create(NewTask { id: twin, ..NewTask::titled("another") }).await, "3f9a1c22f");
}

/// An id names one task: a second create with it is refused and writes nothing.
pub async fn a_task_id_is_used_once(scene: Scene) {
    let ada = scene.agent("ada").await;
    let task = NewTask { payload: Some("1".to_owned()), ..NewTask::titled("first") };
    let key = ada.create(task.clone()).await;
    let again = NewTask { payload: Some("2".to_owned()), title: "second".to_owned(), ..task };
    refused!(ada.ask(CreateTasks::new(vec![again])).await, Error::Refused { policy: "id_taken", .. });
    let shown = scene.store().tasks().show(&id(&key)).await.expect("there");
    assert_eq!((shown.task.title.as_str(), shown.payload.as_deref()), ("first", Some("1")));
}

/// Another token or session is stale, is told who the owner is, and writes nothing.
pub async fn only_the_claimer_may_change_a_task(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let key = ada.create_titled("a task").await;
    let claim = ada.claim().await;
    let before = scene.csn().await;
    refused!(bob.complete(&claim).await, Error::Stale { owner: Some(owner), .. } if owner == "ada");
    let (token, wrong) = (claim.token, Token(claim.token.0 + 1));
    refused!(bob.ask(StartTask { key: key.clone(), token }).await, Error::Stale { .. });
    refused!(ada.ask(StartTask { key: key.clone(), token: wrong }).await, Error::Stale { current: Some(current), .. } if current == token);
    let note = |token| ProgressTask { key: key.clone(), token, note: Some("x".to_owned()), percent: None };
    refused!(bob.ask(note(token)).await, Error::Stale { .. });
    refused!(ada.ask(note(wrong)).await, Error::Stale { .. });
    refused!(bob.ask(ExtendTask { key: key.clone(), token, lease: 1 }).await, Error::Stale { .. });
    refused!(bob.fail(&claim, "not mine", false).await, Error::Stale { .. });
    refused!(bob.release_task(&claim).await, Error::Stale { .. });
    assert_eq!(scene.csn().await, before);
}

/// A task can be completed once; afterwards nobody has it.
pub async fn completing_twice_is_refused(scene: Scene) {
    let ada = scene.agent("ada").await;
    let key = ada.create_titled("a task").await;
    let claim = ada.claim().await;
    ada.complete(&claim).await.expect("claimed");
    let before = scene.csn().await;
    refused!(ada.complete(&claim).await, Error::Stale { owner: None, current: None, .. });
    refused!(ada.fail(&claim, "after all", true).await, Error::Stale { .. });
    assert_eq!(scene.csn().await, before);
    assert_eq!(scene.task(&key).await.status, TaskStatus::Completed);
}

/// A task that nobody has claimed cannot be completed.
pub async fn completing_an_unclaimed_task_is_refused(scene: Scene) {
    let ada = scene.agent("ada").await;
    let key = ada.create_titled("a task").await;
    let task = scene.task(&key).await;
    let body = CompleteTask::new(key.clone(), task.id, Token(1), None);
    refused!(ada.ask(body).await, Error::Stale { owner: None, .. });
    assert_eq!(scene.task(&key).await.status, TaskStatus::Pending);
}

/// Payload, description and result are kept as they were given, in any script and with any bytes of text.
pub async fn long_texts_are_kept_exactly(scene: Scene) {
    let ada = scene.agent("ada").await;
    let odd = "quotes \" \\ \u{0}\u{1f}\u{7f} émoji 🦀 \u{10ffff}\nline".to_owned();
    let long = "x".repeat(limits::BLOB_BYTES);
    let task = NewTask { description: Some(odd.clone()), payload: Some(long.clone()), ..NewTask::titled("a task") };
    let key = ada.create(task).await;
    let claim = ada.claim().await;
    let task = scene.task(&key).await;
    ada.ask(CompleteTask::new(key.clone(), task.id, claim.token, Some(odd.clone()))).await.expect("claimed");
    let shown = scene.store().tasks().show(&id(&key)).await.expect("there");
    assert_eq!((shown.description, shown.payload, shown.result), (Some(odd.clone()), Some(long), Some(odd)));
}

/// A result is stored with the task that was completed and with no other.
pub async fn a_result_never_lands_at_another_task(scene: Scene) {
    let ada = scene.agent("ada").await;
    let (first, second) = (ada.create_titled("first").await, ada.create_titled("second").await);
    let claim = ada.claim().await;
    assert_eq!(claim.key, first);
    let other = scene.task(&second).await.id;
    let wrong = CompleteTask::new(first.clone(), other, claim.token, Some("7".to_owned()));
    refused!(ada.ask(wrong).await, Error::NotFound { .. });
    assert_eq!(scene.store().tasks().show(&id(&second)).await.expect("there").result, None);
    assert_eq!(scene.task(&first).await.status, TaskStatus::Claimed);
}

/// A failed task rests and goes back to its place until the attempts are used up; then it is dead.
pub async fn failed_task_is_retried_until_attempts_are_used_up(scene: Scene) {
    let ada = scene.agent("ada").await;
    let key = ada.create(NewTask { max_attempts: 2, ..NewTask::titled("fragile") }).await;
    ada.create_titled("next").await;
    let claim = ada.claim().await;
    assert_eq!(claim.attempt, 1);
    assert_eq!(ada.fail(&claim, "no luck", true).await.expect("claimed").status, TaskStatus::Scheduled);
    scene.pass(limits::BACKOFF_FIRST * 2).await;
    let again = ada.claim().await;
    assert_eq!((again.key.as_str(), again.attempt), (key.as_str(), 2), "in front of the next");
    assert!(again.token > claim.token);
    assert_eq!(ada.fail(&again, "no luck again", true).await.expect("claimed").status, TaskStatus::Dead);
    let task = scene.task(&key).await;
    assert_eq!((task.error.as_deref(), task.attempt, task.crashes), (Some("no luck again"), 2, 0));
    assert_ne!(ada.claim().await.key, key);
}

/// A failure without retry is final at once.
pub async fn a_failure_without_retry_is_final(scene: Scene) {
    let ada = scene.agent("ada").await;
    let key = ada.create_titled("hopeless").await;
    let claim = ada.claim().await;
    assert_eq!(ada.fail(&claim, "never", false).await.expect("claimed").status, TaskStatus::Failed);
    assert!(matches!(ada.try_claim(&[]).await, Claim::Nothing { pending: 0 }));
    assert!(scene.task(&key).await.completed_at.is_some());
}

/// A task that is put back stands where it stood, and the attempt does not count.
pub async fn released_task_keeps_its_place(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let first = ada.create_titled("first").await;
    ada.create_titled("second").await;
    let claim = ada.claim().await;
    ada.release_task(&claim).await.expect("claimed");
    let again = bob.claim().await;
    assert_eq!((again.key.as_str(), again.attempt), (first.as_str(), 1));
    refused!(ada.complete(&claim).await, Error::Stale { owner: Some(owner), .. } if owner == "bob");
}

/// Starting and reporting progress are shown; a new attempt begins without the old one's note.
pub async fn progress_is_shown_and_begins_anew(scene: Scene) {
    let ada = scene.agent("ada").await;
    let key = ada.create(NewTask { backoff: Some(Backoff::from_pause(0)), ..NewTask::titled("a task") }).await;
    let claim = ada.claim().await;
    ada.ask(StartTask { key: key.clone(), token: claim.token }).await.expect("claimed");
    let body = ProgressTask { key: key.clone(), token: claim.token, note: Some("half".to_owned()), percent: Some(50) };
    ada.ask(body).await.expect("claimed");
    let task = scene.task(&key).await;
    assert_eq!((task.status, task.note.as_deref(), task.percent), (TaskStatus::InProgress, Some("half"), Some(50)));
    ada.fail(&claim, "no luck", true).await.expect("claimed");
    ada.claim().await;
    let task = scene.task(&key).await;
    assert_eq!((task.status, task.note, task.percent), (TaskStatus::Claimed, None, None));
}

/// A hand-off that is not confirmed in time goes to the next waiter and counts as nothing.
pub async fn an_unconfirmed_hand_off_moves_on(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let (first, second) = (waiting(ada.wait_claim(&[]).await), waiting(bob.wait_claim(&[]).await));
    let key = scene.human("grace").await.create_titled("a task").await;
    scene.pass(limits::OFFER).await;
    scene.settle().await;
    let claim = claimed(bob.confirm_task(&second).await);
    assert_eq!((claim.key.as_str(), claim.attempt), (key.as_str(), 1));
    assert_eq!(waiting(ada.confirm_task(&first).await), first, "ada waits on");
    assert_eq!(scene.task(&key).await.crashes, 0);
}

/// One wake-up a task: two tasks at once wake two agents, each for one.
pub async fn each_task_wakes_one_agent(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    let first = waiting(ada.wait_claim(&[]).await);
    let second = waiting(bob.wait_claim(&[]).await);
    let third = waiting(eve.wait_claim(&[]).await);
    let before = scene.csn().await;
    let tasks = vec![NewTask::titled("one"), NewTask::titled("two")];
    let created = scene.human("grace").await.ask(CreateTasks::new(tasks)).await.expect("accepted");
    assert_eq!(scene.wakes(before).await, [first.as_str(), second.as_str()]);
    assert_eq!(claimed(ada.confirm_task(&first).await).key, created.items[0].key);
    assert_eq!(claimed(bob.confirm_task(&second).await).key, created.items[1].key);
    waiting(eve.confirm_task(&third).await);
}

/// A task is never handed to a waiter whose session has ended.
pub async fn a_task_never_goes_to_a_dead_waiter(scene: Scene) {
    let (dead, eve) = (scene.agent("dead").await, scene.agent("eve").await);
    waiting(dead.wait_claim(&[]).await);
    let ticket = waiting(eve.wait_claim(&[]).await);
    for _ in 0..2 {
        scene.pass(limits::SESSION_TTL / 2).await;
        eve.beat().await;
    }
    scene.human("grace").await.create_titled("a task").await;
    claimed(eve.confirm_task(&ticket).await);
}

/// A claim that waited long enough leaves the line and is told.
pub async fn a_claim_stops_waiting_in_time(scene: Scene) {
    let ada = scene.agent("ada").await;
    let body = ClaimTask { wait: Some(2_000), ..ClaimTask::new(Vec::new()) };
    let ticket = waiting(ada.ask(body).await.expect("accepted"));
    scene.pass(2_000).await;
    let before = scene.csn().await;
    let key = scene.human("grace").await.create_titled("a task").await;
    assert!(scene.wakes(before).await.contains(&ticket.to_string()));
    assert!(matches!(ada.confirm_task(&ticket).await, Claim::Lapsed { .. }));
    assert_eq!(scene.task(&key).await.status, TaskStatus::Pending);
}

/// A claim that is offered a task in the very step in which its time is over has the task.
pub async fn a_claim_gets_a_task_in_its_last_moment(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let key = bob.create(NewTask { lease: Some(2_000), ..NewTask::titled("a task") }).await;
    bob.claim().await;
    let body = ClaimTask { wait: Some(2_000), ..ClaimTask::new(Vec::new()) };
    let ticket = waiting(ada.ask(body).await.expect("accepted"));
    scene.pass(2_000).await;
    scene.settle().await;
    assert_eq!(claimed(ada.confirm_task(&ticket).await).key, key);
}

/// A withdrawn claim gives the task back to its place without counting the attempt; a withdrawn wait leaves the line.
pub async fn a_withdrawn_claim_gives_the_task_back(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let key = ada.create_titled("a task").await;
    let op = ada.op(ClaimTask::new(Vec::new()));
    claimed(ada.send(&op).await.expect("accepted"));
    assert_eq!(ada.withdraw_task(op.request).await.as_deref(), Some(key.as_str()));
    assert_eq!(bob.claim().await.attempt, 1);
    let op = ada.op(ClaimTask::new(Vec::new()));
    waiting(ada.send(&op).await.expect("accepted"));
    assert_eq!(ada.withdraw_task(op.request).await, None);
    let next = bob.create_titled("next").await;
    assert_eq!(scene.task(&next).await.status, TaskStatus::Pending);
    let late = ada.op(ClaimTask::new(Vec::new()));
    ada.withdraw_task(late.request).await;
    refused!(ada.send(&late).await, Error::TooOld { .. });
    assert_eq!(scene.task(&next).await.status, TaskStatus::Pending);
}

/// A claim whose answer was lost is asked again and names the same task: none is lost between two commands.
pub async fn a_claim_asked_again_is_the_same_claim(scene: Scene) {
    let ada = scene.agent("ada").await;
    ada.create_titled("first").await;
    ada.create_titled("second").await;
    let op = ada.op(ClaimTask::new(Vec::new()));
    let first = claimed(ada.send(&op).await.expect("accepted"));
    assert_eq!(claimed(ada.send(&op).await.expect("accepted")), first);
    assert!(matches!(ada.try_claim(&[]).await, Claim::Claimed(other) if other.key != first.key));
}

/// A bulk create is all or none, in order.
pub async fn a_bulk_create_keeps_its_order(scene: Scene) {
    let ada = scene.agent("ada").await;
    let titles: Vec<String> = (0..limits::CREATE_CHUNK).map(|n| format!("task {n:03}")).collect();
    let tasks = titles.iter().map(NewTask::titled).collect();
    let created = ada.ask(CreateTasks::new(tasks)).await.expect("accepted");
    assert_eq!(created.items.len(), limits::CREATE_CHUNK);
    let page =
        scene.store().tasks().list(&TaskFilter { limit: 1_000, ..TaskFilter::default() }).await.expect("readable");
    let listed: Vec<String> = page.items.into_iter().map(|t| t.title).collect();
    assert_eq!(listed, titles);
}

/// Listings go on where they stopped and filter by state, tag, claimer and text.
pub async fn listings_page_and_filter(scene: Scene) {
    let ada = scene.agent("ada").await;
    for number in 0..7 {
        ada.create(tagged(&format!("Task {number}"), &[if number % 2 == 0 { "even" } else { "odd" }])).await;
    }
    let claim = ada.claim().await;
    let list = async |filter: TaskFilter| scene.store().tasks().list(&filter).await.expect("readable");
    let mut titles = Vec::new();
    let mut cursor = None;
    loop {
        let statuses = vec![TaskStatus::Pending, TaskStatus::Claimed];
        let page = list(TaskFilter { limit: 2, cursor, statuses, ..TaskFilter::default() }).await;
        titles.extend(page.items.into_iter().map(|t| t.title));
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(titles, ["Task 1", "Task 2", "Task 3", "Task 4", "Task 5", "Task 6", "Task 0"]);
    let all = TaskFilter { limit: 100, ..TaskFilter::default() };
    let odd = list(TaskFilter { tags: strings(&["odd"]), ..all.clone() }).await;
    assert_eq!(odd.items.len(), 3);
    let mine = list(TaskFilter { claimed_by: Some("ada".to_owned()), ..all.clone() }).await;
    assert_eq!(mine.items[0].key, claim.key);
    assert_eq!(list(TaskFilter { text: Some("task 5".to_owned()), ..all }).await.items.len(), 1);
    let held = scene.store().tasks().of_session(ada.session()).await.expect("readable");
    assert_eq!((held.len(), held[0].key.as_str()), (1, claim.key.as_str()));
}

/// Counters follow the tasks through their states.
pub async fn counters_follow_the_tasks(scene: Scene) {
    let ada = scene.agent("ada").await;
    for number in 0..4 {
        ada.create_titled(&format!("task {number}")).await;
    }
    ada.complete(&ada.claim().await).await.expect("claimed");
    ada.fail(&ada.claim().await, "no", false).await.expect("claimed");
    ada.claim().await;
    let (counts, _) = scene.store().now().await.expect("readable");
    assert_eq!((counts.pending, counts.claimed, counts.completed, counts.failed), (1, 1, 1, 1));
}

/// Bad input is refused with the field's name before anything is written.
pub async fn bad_task_requests_write_nothing(scene: Scene) {
    let ada = scene.agent("ada").await;
    let before = scene.csn().await;
    let good = || NewTask::titled("a task");
    for (field, bad) in [
        ("title", NewTask::titled(" ")),
        ("title", NewTask::titled("x".repeat(limits::TITLE_BYTES + 1))),
        ("priority", urgent("x", 0)),
        ("priority", urgent("x", 6)),
        ("tags", tagged("x", &["a\u{1f}b"])),
        ("requires", NewTask { requires: strings(&[""]), ..good() }),
        ("max_attempts", NewTask { max_attempts: 0, ..good() }),
        ("lease", NewTask { lease: Some(0), ..good() }),
        ("backoff.most", NewTask { backoff: Some(Backoff { first: 2, most: 1, jitter: 0 }), ..good() }),
        ("backoff.jitter", NewTask { backoff: Some(Backoff { jitter: 101, ..Backoff::default() }), ..good() }),
        ("not_before", NewTask { not_before: Some(u64::MAX), ..good() }),
        ("depends_on", NewTask { depends_on: strings(&["no id"]), ..good() }),
        (
            "depends_on",
            NewTask { depends_on: (0..=limits::DEPENDENCIES).map(|n| format!("{n:08x}")).collect(), ..good() },
        ),
        ("key", NewTask { key: Some(String::new()), ..good() }),
        ("payload", NewTask { payload: Some("x".repeat(limits::BLOB_BYTES + 1)), ..good() }),
    ] {
        let bulk = CreateTasks::new(vec![good(), bad]);
        refused!(ada.ask(bulk).await, Error::Invalid { field: named, .. } if named == field);
    }
    refused!(ada.ask(CreateTasks::new(Vec::new())).await, Error::Invalid { field: "tasks", .. });
    refused!(ada.claim_id("xyz").await, Error::Invalid { field: "id", .. });
    let certain = |claim: ClaimTask| ClaimTask { id: Some("01234567".to_owned()), ..claim };
    refused!(ada.ask(certain(ClaimTask::new(strings(&["a"])))).await, Error::Invalid { field: "tags", .. });
    let waiting = ClaimTask { wait: Some(1), ..ClaimTask::new(Vec::new()) };
    refused!(ada.ask(certain(waiting)).await, Error::Invalid { field: "wait", .. });
    let failure = FailTask::new("01234567".to_owned(), Token(1), String::new(), true, "{}".to_owned());
    refused!(ada.ask(failure).await, Error::Invalid { field: "reason", .. });
    assert_eq!(scene.csn().await, before);
}

/// A listing whose filter hardly ever fits gives its answer in pages of bounded work.
pub async fn a_rare_task_is_looked_for_in_bounded_pages(scene: Scene) {
    let ada = scene.agent("ada").await;
    let needle = limits::TASKS_PER_LOOK + 50;
    for first in (0..limits::TASKS_PER_LOOK + limits::CREATE_CHUNK).step_by(limits::CREATE_CHUNK) {
        let title = |number| if number == needle { "needle".to_owned() } else { format!("hay {number}") };
        let tasks = (first..first + limits::CREATE_CHUNK).map(|number| NewTask::titled(title(number))).collect();
        ada.ask(CreateTasks::new(tasks)).await.expect("accepted");
    }
    let filter = TaskFilter { text: Some("needle".to_owned()), limit: 1, ..TaskFilter::default() };
    let first = scene.store().tasks().list(&filter).await.expect("readable");
    assert!(first.items.is_empty() && first.cursor.is_some(), "{first:?}");
    let second = scene.store().tasks().list(&TaskFilter { cursor: first.cursor, ..filter }).await.expect("readable");
    assert_eq!(second.items.iter().map(|task| task.title.as_str()).collect::<Vec<_>>(), ["needle"]);
    let claim = ada.claim().await;
    let hers = TaskFilter { claimed_by: Some("ada".to_owned()), limit: 1, ..TaskFilter::default() };
    let page = scene.store().tasks().list(&hers).await.expect("readable");
    assert_eq!(
        page.items.first().map(|task| &task.key),
        Some(&claim.key),
        "nobody has what waits: it is not looked at"
    );
}
