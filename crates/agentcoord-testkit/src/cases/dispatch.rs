//! Which claim gets which task: any tag, all requirements, one wake-up, bounded work, and the next task with the end of one.

use agentcoord_core::Error;
use agentcoord_core::limits;
use agentcoord_core::store::Backend;
use agentcoord_core::task::{
    Backoff, Claim, ClaimRef, ClaimTask, CompleteTask, CreateTasks, FailTask, NewTask, NextTask, TaskFilter,
    TaskStatus, WithdrawTask,
};

use crate::actor::{Player, Scene, claimed, strings, waiting};
use crate::refused;

fn task(title: &str, tags: &[&str], requires: &[&str]) -> NewTask {
    NewTask { tags: strings(tags), requires: strings(requires), ..NewTask::titled(title) }
}

fn next(tags: &[&str], wait: Option<u64>) -> Option<NextTask> {
    Some(NextTask { wait, ..NextTask::new(strings(tags)) })
}

async fn completion(scene: &Scene, claim: &ClaimRef, next: Option<NextTask>) -> CompleteTask {
    let id = scene.task(&claim.key).await.id;
    CompleteTask { next, ..CompleteTask::new(claim.key.clone(), id, claim.token, Some("7".to_owned())) }
}

fn failure(claim: &ClaimRef, retry: bool) -> FailTask {
    FailTask::new(claim.key.clone(), claim.token, "no luck".to_owned(), retry, "{}".to_owned())
}

/// The claim that must have been made with the end of a task.
fn with(next: Option<Claim>) -> ClaimRef {
    claimed(next.expect("a claim was asked for"))
}

const SKILLS: [&str; 16] =
    ["c00", "c01", "c02", "c03", "c04", "c05", "c06", "c07", "c08", "c09", "c10", "c11", "c12", "c13", "c14", "c15"];

/// Tasks that nobody can do, and that require more combinations of the skills than one claim looks at.
fn puzzles() -> Vec<NewTask> {
    let mut tasks = Vec::new();
    for (a, first) in SKILLS.iter().enumerate() {
        for (b, second) in SKILLS.iter().enumerate().skip(a + 1) {
            for (c, third) in SKILLS.iter().enumerate().skip(b + 1) {
                for fourth in SKILLS.iter().skip(c + 1) {
                    tasks.push(task("nobody can", &[], &[first, second, third, fourth, "unknown"]));
                }
            }
        }
    }
    tasks.truncate(limits::SEEKS_PER_STEP + 1);
    tasks
}

async fn create_all(player: &Player, tasks: Vec<NewTask>) {
    for chunk in tasks.chunks(limits::CREATE_CHUNK) {
        player.ask(CreateTasks::new(chunk.to_vec())).await.expect("well-formed tasks");
    }
}

/// The end of a task and the claim of the next one are one step.
pub async fn complete_claims_the_next_task_in_the_same_step(scene: Scene) {
    let ada = scene.agent("ada").await;
    ada.create_titled("first").await;
    let other = ada.create(task("other", &["docs"], &[])).await;
    let second = ada.create(task("second", &["backend"], &[])).await;
    let claim = ada.claim().await;
    let before = scene.csn().await;
    let done = ada.ask(completion(&scene, &claim, next(&["backend", "cli"], Some(0))).await).await.expect("claimed");
    assert_eq!(done.status, TaskStatus::Completed);
    assert_eq!(scene.events(before).await.len(), 1);
    let claim = with(done.next);
    assert_eq!((claim.key.as_str(), claim.attempt), (second.as_str(), 1));
    let failure = FailTask { next: next(&["backend"], Some(0)), ..failure(&claim, false) };
    let failed = ada.ask(failure).await.expect("claimed");
    assert_eq!(failed.status, TaskStatus::Failed);
    assert!(matches!(failed.next, Some(Claim::Nothing { pending: 1 })), "{:?}", failed.next);
    assert_eq!(scene.task(&other).await.status, TaskStatus::Pending);
    let alone = ada.claim().await;
    assert_eq!(ada.complete(&alone).await.expect("claimed").next, None);
}

/// Who fails a task and asks for the next one may get the same task again; not when another waits for it.
pub async fn a_failed_task_goes_to_who_waits_before_who_failed_it(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let at_once = Some(Backoff::from_pause(0));
    let key = ada.create(NewTask { backoff: at_once, ..NewTask::titled("fragile") }).await;
    let claim = ada.claim().await;
    let again = ada.ask(FailTask { next: next(&[], Some(0)), ..failure(&claim, true) }).await.expect("claimed");
    let claim = with(again.next);
    assert_eq!((claim.key.as_str(), claim.attempt), (key.as_str(), 2));
    let ticket = waiting(bob.wait_claim(&[]).await);
    let failure = FailTask { next: next(&[], Some(0)), ..failure(&claim, true) };
    let failed = ada.ask(failure).await.expect("claimed");
    assert!(matches!(failed.next, Some(Claim::Nothing { .. })), "{:?}", failed.next);
    assert_eq!(claimed(bob.confirm_task(&ticket).await).attempt, 3);
}

/// A claim with the end of a task waits like any other, and is handed the next task that matches.
pub async fn a_claim_with_the_end_of_a_task_waits(scene: Scene) {
    let ada = scene.agent("ada").await;
    ada.create_titled("first").await;
    let claim = ada.claim().await;
    let done = ada.ask(completion(&scene, &claim, next(&["backend"], None)).await).await.expect("claimed");
    let ticket = waiting(done.next.expect("a claim was asked for"));
    let before = scene.csn().await;
    let key = scene.human("grace").await.create(task("second", &["backend"], &[])).await;
    assert_eq!(scene.wakes(before).await, [ticket.as_str()]);
    assert_eq!(claimed(ada.confirm_task(&ticket).await).key, key);
}

/// A lost answer is asked for again: one end, one claim. Withdrawn, the claim is undone and the end is not.
pub async fn a_claim_with_the_end_of_a_task_is_withdrawn_alone(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let first = ada.create_titled("first").await;
    let second = ada.create_titled("second").await;
    let claim = ada.claim().await;
    let op = ada.op(completion(&scene, &claim, next(&[], None)).await);
    let done = ada.send(&op).await.expect("claimed");
    assert_eq!(ada.send(&op).await.expect("the first answer"), done);
    assert_eq!(with(done.next).key, second);
    assert_eq!(ada.withdraw_task(op.request).await.as_deref(), Some(second.as_str()));
    assert_eq!(scene.task(&first).await.status, TaskStatus::Completed);
    let again = bob.claim().await;
    assert_eq!((again.key.as_str(), again.attempt), (second.as_str(), 1));
    let waits = bob.op(completion(&scene, &again, next(&[], None)).await);
    let ticket = waiting(bob.send(&waits).await.expect("claimed").next.expect("a claim was asked for"));
    assert_eq!(bob.withdraw_task(waits.request).await, None);
    assert!(matches!(bob.confirm_task(&ticket).await, Claim::Lapsed { .. }));
    let third = ada.create_titled("third").await;
    assert_eq!(scene.task(&third).await.status, TaskStatus::Pending);
}

/// A withdrawal that comes first makes the whole request void: the task is still the worker's.
pub async fn a_withdrawal_that_comes_first_leaves_the_task_claimed(scene: Scene) {
    let ada = scene.agent("ada").await;
    let key = ada.create_titled("first").await;
    let claim = ada.claim().await;
    let late = ada.op(completion(&scene, &claim, next(&[], None)).await);
    ada.withdraw_task(late.request).await;
    refused!(ada.send(&late).await, Error::TooOld { .. });
    assert_eq!(scene.task(&key).await.status, TaskStatus::Claimed);
    ada.complete(&claim).await.expect("claimed");
}

/// A late worker's end is refused as a whole: it gets no next task either.
pub async fn a_late_end_claims_nothing(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let key = ada.create(NewTask { lease: Some(1_000), ..NewTask::titled("a task") }).await;
    let old = ada.claim().await;
    let second = ada.create_titled("second").await;
    scene.pass(1_000).await;
    let new = bob.claim().await;
    assert_eq!(new.key, key);
    let before = scene.csn().await;
    refused!(ada.ask(completion(&scene, &old, next(&[], None)).await).await, Error::Stale { owner: Some(owner), .. } if owner == "bob");
    assert_eq!(scene.csn().await, before);
    assert_eq!(scene.task(&second).await.status, TaskStatus::Pending);
}

/// Whoever sleeps through an offer gets no other before it asks; then it gets what has become ready meanwhile.
pub async fn a_claim_that_missed_its_task_asks_again(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let grace = scene.human("grace").await;
    let sleeps = waiting(ada.wait_claim(&["a", "b"]).await);
    let first = grace.create(task("first", &["a"], &[])).await;
    // While it is offered the first, nobody waits for the second.
    let second = grace.create(task("second", &["b"], &[])).await;
    scene.pass(limits::OFFER).await;
    scene.settle().await;
    assert_eq!(scene.task(&first).await.status, TaskStatus::Pending, "no second offer to whoever sleeps");
    assert_eq!(claimed(bob.try_claim(&["a"]).await).key, first);
    let before = scene.csn().await;
    assert_eq!(claimed(ada.confirm_task(&sleeps).await).key, second);
    assert_eq!(scene.wakes(before).await, Vec::<String>::new());
    assert_eq!((scene.task(&first).await.crashes, scene.task(&second).await.attempt), (0, 1));
}

/// The longest-waiting of all that match, whatever tags they ask for and whatever they can do; one wake-up a task.
pub async fn a_task_goes_to_the_longest_waiting_of_all_lines(scene: Scene) {
    let plain = scene.agent("plain").await;
    let (able, both) = (scene.able("able", &["gpu"]).await, scene.able("both", &["gpu", "rust"]).await);
    let anything = waiting(plain.wait_claim(&[]).await);
    let second = waiting(both.wait_claim(&["a", "b"]).await);
    let third = waiting(able.wait_claim(&["b"]).await);
    let grace = scene.human("grace").await;
    let before = scene.csn().await;
    let gpu = grace.create(task("for a gpu", &["a", "b"], &["gpu"])).await;
    let rust = grace.create(task("for both", &["b"], &["gpu", "rust"])).await;
    let more = grace.create(task("for a gpu, too", &["b"], &["gpu"])).await;
    let rest = grace.create(task("for all", &["c"], &[])).await;
    assert_eq!(scene.wakes(before).await, [second.as_str(), third.as_str(), anything.as_str()]);
    assert_eq!(claimed(both.confirm_task(&second).await).key, gpu);
    assert_eq!(claimed(able.confirm_task(&third).await).key, more);
    assert_eq!(claimed(plain.confirm_task(&anything).await).key, rest);
    assert_eq!(scene.task(&rust).await.status, TaskStatus::Pending);
}

/// A task that finds more dead waiters than a step may look at reaches the living one behind them in later steps.
pub async fn a_task_finds_its_claim_behind_many_dead_ones(scene: Scene) {
    let (dead, eve) = (scene.agent("dead").await, scene.agent("eve").await);
    let many = 2 * limits::WORK_PER_STEP + 5;
    for _ in 0..many {
        waiting(dead.wait_claim(&[]).await);
    }
    let ticket = waiting(eve.wait_claim(&[]).await);
    for _ in 0..2 {
        scene.pass(limits::SESSION_TTL / 2).await;
        eve.beat().await;
    }
    let before = scene.csn().await;
    let created = scene.human("grace").await;
    let key = created.create_titled("a task").await;
    scene.settle().await;
    assert_eq!(claimed(eve.confirm_task(&ticket).await).key, key);
    let events = scene.events(before).await;
    let most = events.iter().map(|event| event.images.len()).max().unwrap_or(0);
    // What a step looks at, what it reaps, and what it is about.
    assert!(most <= limits::WORK_PER_STEP * 2 + limits::REAP_PER_STEP + 8, "{most} records in one step");
    let wakes = scene.wakes(before).await;
    assert_eq!(wakes.iter().filter(|wake| **wake == ticket.as_str()).count(), 1, "one wake-up: {wakes:?}");
}

/// What others could do costs a claim nothing; what would be too much to look at is refused, not answered wrongly.
pub async fn a_claim_looks_only_at_what_it_can_do(scene: Scene) {
    let (plain, able) = (scene.agent("plain").await, scene.able("able", &["x0", "x1"]).await);
    let clever = scene.able("clever", &SKILLS).await;
    create_all(&scene.human("grace").await, puzzles()).await;
    let pending = limits::SEEKS_PER_STEP as u64 + 1;
    assert_eq!(plain.try_claim(&[]).await, Claim::Nothing { pending });
    assert_eq!(able.try_claim(&[]).await, Claim::Nothing { pending });
    let body = ClaimTask { wait: Some(0), ..ClaimTask::new(Vec::new()) };
    refused!(clever.ask(body).await, Error::Refused { policy: "too_complex", .. });
    let key = plain.create(task("easy", &[], &["x1"])).await;
    assert_eq!(claimed(able.try_claim(&[]).await).key, key);
}

/// What was done is recorded, whatever becomes of the claim of the next task.
pub async fn an_end_counts_though_the_next_claim_is_too_complex(scene: Scene) {
    let clever = scene.able("clever", &SKILLS).await;
    for end in [TaskStatus::Completed, TaskStatus::Failed] {
        let key = clever.create_titled("easy").await;
        let claim = claimed(clever.claim_id(&key).await.expect("pending"));
        create_all(&clever, puzzles()).await;
        let next = next(&[], None);
        let ended = match end {
            TaskStatus::Completed => clever.ask(completion(&scene, &claim, next).await).await,
            _ => clever.ask(FailTask { next, ..failure(&claim, false) }).await,
        };
        let ended = ended.expect("claimed");
        assert_eq!(ended.status, end);
        assert!(matches!(ended.next, Some(Claim::Nothing { .. })), "{:?}", ended.next);
    }
}

/// A cursor into the pending tasks stays good while tasks before and after it come, go and come back.
pub async fn pending_tasks_are_listed_in_claim_order_under_change(scene: Scene) {
    let ada = scene.able("ada", &["gpu", "rust"]).await;
    let mut keys = Vec::new();
    for (number, requires) in [&[][..], &["gpu"], &["rust"], &["gpu", "rust"], &[], &["gpu"]].into_iter().enumerate() {
        let title = format!("task {number}");
        keys.push(ada.create(task(&title, if number % 2 == 0 { &["even"] } else { &["odd", "even"] }, requires)).await);
    }
    let page = async |limit, cursor, tags: &[&str]| {
        let filter = TaskFilter { limit, cursor, tags: strings(tags), ..TaskFilter::default() };
        let page = scene.store().tasks().list(&filter).await.expect("readable");
        (page.items.into_iter().map(|task| task.title).collect::<Vec<_>>(), page.cursor)
    };
    let (first, cursor) = page(3, None, &[]).await;
    assert_eq!(first, ["task 0", "task 1", "task 2"]);
    let gone = claimed(ada.claim_id(&keys[3]).await.expect("pending"));
    claimed(ada.claim_id(&keys[2]).await.expect("pending"));
    ada.create(NewTask { priority: 5, ..NewTask::titled("urgent") }).await;
    let (rest, _) = page(2, cursor.clone(), &[]).await;
    assert_eq!(rest, ["task 4", "task 5"]);
    ada.release_task(&gone).await.expect("claimed");
    let (rest, _) = page(9, cursor, &[]).await;
    assert_eq!(rest, ["task 3", "task 4", "task 5", "task 2"], "the claimed one comes with its state");
    let (all, _) = page(4, None, &["even", "odd"]).await;
    assert_eq!(all, ["task 0", "task 1", "task 3", "task 4"], "each once");
}

/// A pending task that requires what no live agent can do is marked as stranded, until somebody can.
pub async fn a_task_that_no_live_agent_can_take_is_marked(scene: Scene) {
    let able = scene.able("able", &["gpu", "rust"]).await;
    let half = scene.able("half", &["rust"]).await;
    let free = able.create_titled("free").await;
    let both = able.create(task("both", &[], &["gpu", "rust"])).await;
    assert!(!scene.task(&both).await.stranded);
    able.leave().await;
    assert!(scene.task(&both).await.stranded);
    assert!(scene.detail(&both).await.task.stranded);
    let filter = TaskFilter { limit: 10, ..TaskFilter::default() };
    let listed = scene.store().tasks().list(&filter).await.expect("readable").items;
    let marks: Vec<(&str, bool)> = listed.iter().map(|task| (task.key.as_str(), task.stranded)).collect();
    assert_eq!(marks, [(free.as_str(), false), (both.as_str(), true)]);
    refused!(half.claim_id(&both).await, Error::Refused { policy: "not_capable", .. });
    let other = scene.able("other", &["gpu", "python", "rust"]).await;
    assert!(!scene.task(&both).await.stranded);
    scene.pass(limits::SESSION_TTL).await;
    assert!(scene.task(&both).await.stranded, "{} has fallen silent", other.name());
}

/// A claim with the end of a task is withdrawn with the confirm that took its task up.
pub async fn a_withdrawn_confirm_gives_its_task_back(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    ada.create_titled("first").await;
    let claim = ada.claim().await;
    let op = ada.op(completion(&scene, &claim, next(&[], None)).await);
    let ticket = waiting(ada.send(&op).await.expect("claimed").next.expect("a claim was asked for"));
    let key = bob.create_titled("second").await;
    let confirm = ada.op(agentcoord_core::task::ConfirmTask { ticket });
    claimed(ada.send(&confirm).await.expect("live"));
    let body = WithdrawTask { request: op.request, confirm: Some(confirm.request) };
    assert_eq!(ada.ask(body).await.expect("accepted").key.as_deref(), Some(key.as_str()));
    assert_eq!(bob.claim().await.key, key);
}

/// Two sessions that are configured with the same name are two workers: one wins a task, the other is told who.
pub async fn two_sessions_of_one_name_never_both_win(scene: Scene) {
    let twins = [scene.agent("twin").await, scene.agent("twin").await];
    let key = scene.human("grace").await.create_titled("wanted").await;
    let (one, two) = tokio::join!(twins[0].claim_id(&key), twins[1].claim_id(&key));
    let (won, lost, outcome, refusal) = match (one, two) {
        (Ok(claim), refusal) => (&twins[0], &twins[1], claim, refusal),
        (refusal, Ok(claim)) => (&twins[1], &twins[0], claim, refusal),
        neither => panic!("{neither:?}"),
    };
    let claim = claimed(outcome);
    refused!(refusal, Error::Held { holder, .. } if holder == won.name());
    refused!(lost.complete(&claim).await, Error::Stale { owner: Some(owner), .. } if owner == won.name());
    won.complete(&claim).await.expect("claimed");
}
