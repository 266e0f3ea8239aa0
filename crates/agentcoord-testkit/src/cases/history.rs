//! History: what has come to an end is forgotten in bounded steps, oldest first; nothing else is.

use agentcoord_core::Error;
use agentcoord_core::approval::RequestApproval;
use agentcoord_core::audit::AppendAudit;
use agentcoord_core::board::{OpenThread, PostMessage, ThreadFilter, ThreadStatus, UpdateThread};
use agentcoord_core::history::{PruneHistory, Pruned};
use agentcoord_core::ids::{Id, IdPrefix};
use agentcoord_core::limits;
use agentcoord_core::op::Blob;
use agentcoord_core::record::SetbackRecord;
use agentcoord_core::store::Backend;
use agentcoord_core::table::{Range, Table};
use agentcoord_core::task::{Backoff, CompleteTask, CreateTasks, CreatedTask, NewTask, TaskFilter};

use crate::actor::{Player, Scene, id};
use crate::refused;

/// Everything that is final goes.
const ALL: PruneHistory = PruneHistory { older_than: 0, keep: u64::MAX >> 20 };

/// Prunes until nothing more is left to forget.
async fn prune(player: &Player, body: PruneHistory) -> Pruned {
    let mut pruned = Pruned::default();
    for _ in 0..1_000 {
        pruned.add(&player.ask(body).await.expect("accepted"));
        if !pruned.more {
            return pruned;
        }
    }
    panic!("there was always more to forget");
}

/// Creates tasks and completes them, in order.
async fn completed(agent: &Player, titles: &[String]) -> Vec<String> {
    let mut keys = Vec::new();
    for chunk in titles.chunks(limits::CREATE_CHUNK) {
        let tasks = chunk.iter().map(NewTask::titled).collect();
        let created = agent.ask(CreateTasks::new(tasks)).await.expect("accepted");
        for _ in chunk {
            let claim = agent.claim().await;
            agent.complete(&claim).await.expect("accepted");
        }
        keys.extend(created.items.into_iter().map(|task| task.key));
    }
    keys
}

async fn titles(scene: &Scene) -> Vec<String> {
    let filter = TaskFilter { limit: 1_000, ..TaskFilter::default() };
    let page = scene.store().tasks().list(&filter).await.expect("readable");
    page.items.into_iter().map(|task| task.title).collect()
}

/// Records and their texts go together; the audit log stays, and a task's idempotency key for its own time. An approval's
/// goes with it.
pub async fn final_records_are_forgotten_with_all_that_is_theirs(scene: Scene) {
    let (ada, grace, system) = (scene.agent("ada").await, scene.human("grace").await, scene.system().await);
    let new = || {
        let mut task = NewTask::titled("ship it");
        task.description = Some("with care".to_owned());
        task.payload = Some("[1]".to_owned());
        task.key = Some("release".to_owned());
        task
    };
    let task = new();
    let key = ada.create(task.clone()).await;
    let claim = ada.claim().await;
    ada.ask(CompleteTask::new(key.clone(), task.id.clone(), claim.token, Some("{}".to_owned()))).await.expect("done");
    let opened = OpenThread::new("how?", Some("like this".to_owned()));
    let message = opened.message.clone().expect("a first message");
    let thread = ada.ask(opened).await.expect("accepted").thread;
    let resolve = UpdateThread::to(&thread, ThreadStatus::Resolved);
    ada.ask(resolve).await.expect("accepted");
    let mut asked = RequestApproval::new("deploy", "2.0");
    asked.payload = Some("{}".to_owned());
    asked.diff = Some("+1".to_owned());
    asked.key = Some("release".to_owned());
    let asked_id = asked.id.clone();
    let approval = ada.request(asked.clone()).await;
    grace.reject(&approval).await.expect("accepted");
    ada.ask(AppendAudit { entry: "{}".to_owned() }).await.expect("accepted");
    let blobs = [
        Blob::name("task", &task.id, "description"),
        Blob::name("task", &task.id, "payload"),
        Blob::name("task", &task.id, "result"),
        Blob::name("message", &message, "text"),
        Blob::name("approval", &asked_id, "payload"),
        Blob::name("approval", &asked_id, "diff"),
    ];
    let texts = async || scene.store().engine().blobs(&blobs).await.expect("readable").into_iter().flatten().count();
    assert_eq!(texts().await, blobs.len());
    let log = scene.store().audit().read(0, 100).await.expect("readable").items;
    assert!(!log.is_empty());

    let pruned = prune(&system, ALL).await;
    assert_eq!(pruned, Pruned { tasks: 1, threads: 1, approvals: 1, ..Pruned::default() });
    refused!(scene.store().tasks().find(&id(&key)).await, Error::NotFound { .. });
    refused!(scene.store().board().find(&id(&thread)).await, Error::NotFound { .. });
    refused!(scene.store().approvals().find(&id(&approval)).await, Error::NotFound { .. });
    assert_eq!(texts().await, 0);
    assert_eq!(scene.store().audit().read(0, 100).await.expect("readable").items, log);
    let (counts, _) = scene.store().now().await.expect("readable");
    assert_eq!((counts.completed, counts.resolved, counts.decided), (0, 0, 0));
    let again = async || grace.ask(CreateTasks::new(vec![new()])).await.expect("accepted").items.remove(0);
    assert_eq!(again().await, CreatedTask { key, duplicate: true }, "it was done, however soon it was forgotten");
    let once_more = RequestApproval { id: Id::random(), ..asked };
    assert!(!ada.ask(once_more.seal()).await.expect("accepted").duplicate, "people are asked again");
    scene.pass(limits::KEY_TTL).await;
    assert!(!again().await.duplicate);
}

/// Whatever may still go on stays, however old it is.
pub async fn what_goes_on_is_never_forgotten(scene: Scene) {
    let (ada, grace) = (scene.agent("ada").await, scene.human("grace").await);
    ada.create_titled("claimed").await;
    let claim = ada.claim().await;
    ada.create_titled("pending").await;
    let thread = ada.ask(OpenThread::new("open", None)).await.expect("accepted").thread;
    let approval = ada.request(RequestApproval::new("deploy", "2.0")).await;
    scene.pass(1_000).await;
    assert_eq!(prune(&grace, PruneHistory { older_than: 0, keep: 0 }).await, Pruned::default());
    assert_eq!(titles(&scene).await, ["pending", "claimed"]);
    ada.complete(&claim).await.expect("its claimer is still here");
    scene.store().board().find(&id(&thread)).await.expect("there");
    scene.store().approvals().find(&id(&approval)).await.expect("there");
}

/// How long something has been final decides.
pub async fn old_records_are_forgotten_and_young_ones_stay(scene: Scene) {
    let (ada, system) = (scene.agent("ada").await, scene.system().await);
    completed(&ada, &["old".to_owned()]).await;
    scene.pass(5_000).await;
    completed(&ada, &["young".to_owned()]).await;
    scene.pass(5_000).await;
    let body = PruneHistory { older_than: 10_001, ..PruneHistory::default() };
    assert_eq!(prune(&system, body).await.tasks, 0);
    let body = PruneHistory { older_than: 10_000, ..PruneHistory::default() };
    assert_eq!(prune(&system, body).await.tasks, 1);
    assert_eq!(titles(&scene).await, ["young"]);
    // By default a week.
    scene.pass(limits::RETENTION).await;
    assert_eq!(prune(&system, PruneHistory::default()).await.tasks, 1);
}

/// More than is kept goes, whatever its age; each noun is counted on its own.
pub async fn of_too_many_records_the_oldest_are_forgotten(scene: Scene) {
    let (ada, system) = (scene.agent("ada").await, scene.system().await);
    for number in 1..=5 {
        completed(&ada, &[format!("task {number}")]).await;
        scene.pass(1).await;
        let thread = ada.ask(OpenThread::new(format!("thread {number}"), None)).await.expect("accepted").thread;
        ada.ask(UpdateThread::to(thread, ThreadStatus::Resolved)).await.expect("accepted");
    }
    let pruned = prune(&system, PruneHistory { keep: 2, ..PruneHistory::default() }).await;
    assert_eq!((pruned.tasks, pruned.threads), (3, 3));
    assert_eq!(titles(&scene).await, ["task 4", "task 5"]);
    let filter = ThreadFilter { statuses: vec![ThreadStatus::Resolved], limit: 10, ..ThreadFilter::default() };
    assert_eq!(scene.store().board().list(&filter).await.expect("readable").items.len(), 2);
}

/// One step deletes no more than it may, says that there is more, and the next ones go on.
pub async fn a_step_forgets_a_bounded_part(scene: Scene) {
    let (ada, system) = (scene.agent("ada").await, scene.system().await);
    let names: Vec<String> = (0..150).map(|number| format!("task {number:03}")).collect();
    completed(&ada, &names).await;
    let first = system.ask(ALL).await.expect("accepted");
    assert_eq!(first, Pruned { tasks: limits::WORK_PER_STEP as u64, more: true, ..Pruned::default() });
    assert_eq!(titles(&scene).await.len(), 150 - limits::WORK_PER_STEP);
    assert_eq!(prune(&system, ALL).await.tasks, 150 - first.tasks);
    assert_eq!(system.ask(ALL).await.expect("accepted"), Pruned::default());
}

/// Reasons of attempts and dependencies go with their task; a task stays until all that wait for it were told how it ended.
pub async fn a_task_is_forgotten_after_all_that_wait_for_it_were_told(scene: Scene) {
    let (ada, system) = (scene.agent("ada").await, scene.system().await);
    let mut first = NewTask::titled("first");
    first.priority = 5;
    first.max_attempts = 2;
    first.backoff = Some(Backoff { first: 0, most: 0, jitter: 0 });
    let key = ada.create(first).await;
    let waiting = |number: usize| NewTask { depends_on: vec![key.clone()], ..NewTask::titled(format!("{number:03}")) };
    for chunk in [0..100, 100..200] {
        ada.ask(CreateTasks::new(chunk.map(waiting).collect())).await.expect("accepted");
        scene.settle().await;
    }
    let claim = ada.claim().await;
    ada.fail(&claim, "no luck", true).await.expect("accepted");
    scene.pass(1).await;
    scene.settle().await;
    let claim = ada.claim().await;
    ada.complete(&claim).await.expect("accepted");
    assert_eq!(prune(&system, ALL).await.tasks, 1);
    scene.settle().await;
    let (counts, _) = scene.store().now().await.expect("readable");
    assert_eq!((counts.pending, counts.blocked, counts.dependencies), (200, 0, 0));
    for _ in 0..200 {
        let claim = ada.claim().await;
        ada.complete(&claim).await.expect("accepted");
    }
    assert_eq!(prune(&system, ALL).await.tasks, 200);
    for range in [Range::under(&["dep"]), Range::under(&["needs"]), Range::under(&["final"])] {
        assert_eq!(scene.store().engine().scan(&range, 10).await.expect("readable"), []);
    }
    let setbacks = [SetbackRecord::key(&key, 1)];
    assert_eq!(scene.store().engine().fetch(Table::Setback, &setbacks).await.expect("readable"), [None]);
}

/// A thread that is too long for one step loses its messages first, and can be read meanwhile.
pub async fn a_long_thread_is_forgotten_message_by_message(scene: Scene) {
    let (ada, system) = (scene.agent("ada").await, scene.system().await);
    let thread = ada.ask(OpenThread::new("long", None)).await.expect("accepted").thread;
    for number in 0..100 {
        let body = PostMessage::new(&thread, format!("{number}"));
        ada.ask(body).await.expect("accepted");
    }
    ada.ask(UpdateThread::to(&thread, ThreadStatus::Resolved)).await.expect("accepted");
    let first = system.ask(ALL).await.expect("accepted");
    assert_eq!(first, Pruned { more: true, ..Pruned::default() });
    let found = scene.store().board().find(&id(&thread)).await.expect("there");
    let left = scene.store().board().messages(&found, 0, 1_000).await.expect("readable");
    assert_eq!(left.len() as u64, found.count);
    assert!(!left.is_empty() && left.len() < 100, "{} are left", left.len());
    assert_eq!(prune(&system, ALL).await.threads, 1);
    refused!(scene.store().board().find(&id(&thread)).await, Error::NotFound { .. });
}

/// Ended sessions go; an agent goes when none of its sessions is left, and its name is free then.
pub async fn an_agent_is_forgotten_with_its_last_session(scene: Scene) {
    let (ada, bob, system) = (scene.agent("ada").await, scene.agent("bob").await, scene.system().await);
    let (key, name) = (ada.agent().to_owned(), ada.name().to_owned());
    ada.leave().await;
    let pruned = prune(&system, ALL).await;
    assert_eq!(pruned, Pruned { sessions: 1, agents: 1, ..Pruned::default() });
    let prefix = IdPrefix::parse("agent", &key).expect("a key");
    refused!(scene.store().agents().find(prefix.as_str()).await, Error::NotFound { .. });
    let all = scene.store().agents().list(true).await.expect("readable");
    assert_eq!(all.iter().map(|agent| agent.name.as_str()).collect::<Vec<_>>(), [bob.name()]);
    let newcomer = scene.agent("ada").await;
    assert_eq!(newcomer.name(), name);
    assert_ne!(newcomer.agent(), key);
    // One that continues under the same name keeps its agent.
    newcomer.leave().await;
    let next = scene.agent("ada").await;
    let pruned = prune(&system, ALL).await;
    assert_eq!(pruned, Pruned { sessions: 1, ..Pruned::default() });
    next.create_titled("still at work").await;
}

/// An agent that prunes would hide what it did.
pub async fn agents_do_not_prune_history(scene: Scene) {
    let ada = scene.agent("ada").await;
    completed(&ada, &["done".to_owned()]).await;
    let csn = scene.csn().await;
    refused!(ada.ask(ALL).await, Error::Refused { policy: "humans_only", .. });
    assert_eq!(scene.csn().await, csn);
    assert_eq!(titles(&scene).await, ["done"]);
}
