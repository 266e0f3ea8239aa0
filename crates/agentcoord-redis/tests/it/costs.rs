//! What a step on tasks costs is counted in commands of the server: it does not grow with what waits or is overdue. So is
//! what it costs to find out who calls.

use std::sync::Arc;

use agentcoord_core::engine::Engine;
use agentcoord_core::ids::{Id, Token};
use agentcoord_core::op::{Actor, decode};
use agentcoord_core::record::TaskRecord;
use agentcoord_core::store::Store;
use agentcoord_core::table::Table;
use agentcoord_core::task::{Claim, ClaimRef, ClaimTask, CompleteTask, CreateTasks, NewTask, NextTask};

use crate::server::{Desk, Server, acquire, register};

fn tagged(title: &str, tag: &str) -> NewTask {
    NewTask { tags: vec![tag.to_owned()], ..NewTask::titled(title) }
}

fn claim(tags: &[&str]) -> ClaimTask {
    ClaimTask { wait: Some(0), ..ClaimTask::new(tags.iter().map(|tag| (*tag).to_owned()).collect()) }
}

fn claimed(claim: Claim) -> ClaimRef {
    match claim {
        Claim::Claimed(claim) => claim,
        other => panic!("nothing: {other:?}"),
    }
}

async fn create(desk: &Desk, tasks: Vec<NewTask>) {
    for chunk in tasks.chunks(100) {
        desk.send(&Actor::System, CreateTasks::new(chunk.to_vec())).await.unwrap();
    }
}

async fn id_of(desk: &Desk, key: &str) -> Id {
    let bytes = desk.engine.fetch(Table::Task, &[key.to_owned()]).await.unwrap().remove(0).unwrap();
    decode::<TaskRecord>(&bytes, "task").unwrap().id
}

/// What a claim costs, and what it got.
async fn cost(server: &Server, desk: &Desk, actor: &Actor, body: ClaimTask) -> (u64, Claim) {
    let before = server.calls().await;
    let outcome = desk.send(actor, body).await.unwrap();
    (server.calls().await - before, outcome)
}

async fn complete(desk: &Desk, actor: &Actor, claim: ClaimRef, next: Option<NextTask>) -> Option<Claim> {
    let id = id_of(desk, &claim.key).await;
    let body = CompleteTask { next, ..CompleteTask::new(claim.key, id, claim.token, None) };
    desk.send(actor, body).await.unwrap().next
}

#[tokio::test]
async fn the_end_of_a_task_with_the_next_claim_takes_at_most_fourteen_calls() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    create(&desk, (0..3).map(|n| tagged(&format!("task {n}"), "backend")).collect()).await;
    let first = claimed(desk.send(&ann, claim(&["backend"])).await.unwrap());
    let id = id_of(&desk, &first.key).await;
    let next = Some(NextTask::new(vec!["backend".to_owned()]));
    let body = CompleteTask { next, ..CompleteTask::new(first.key, id, first.token, None) };
    let before = server.calls().await;
    let done = desk.send(&ann, body).await.unwrap();
    let calls = server.calls().await - before;
    assert!(claimed(done.next.unwrap()).token > Token(0));
    assert!(calls <= 14, "{calls} calls");
}

/// Also with more ready tasks than Lua can unpack at once.
#[tokio::test]
async fn a_claim_costs_the_same_with_ten_thousand_tags_and_tasks_in_the_store() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    create(&desk, (0..4).map(|n| tagged(&format!("task {n}"), "wanted")).collect()).await;
    let (few, first) = cost(&server, &desk, &ann, claim(&["wanted"])).await;
    let (few_any, second) = cost(&server, &desk, &ann, claim(&[])).await;
    let many = (0..10_000).map(|n| NewTask { priority: 5, ..tagged("other", &format!("tag {n:05}")) });
    create(&desk, many.collect()).await;
    let (with_many, third) = cost(&server, &desk, &ann, claim(&["wanted"])).await;
    let (any_of_many, _) = cost(&server, &desk, &ann, claim(&[])).await;
    let (none, nothing) = cost(&server, &desk, &ann, claim(&["unknown"])).await;
    assert!(matches!(nothing, Claim::Nothing { pending: 10_000 }), "{nothing:?}");
    assert_eq!((few, few_any), (with_many, any_of_many));
    assert!(few <= 14 && none <= few, "{few} and {none} calls");
    for claim in [first, second, third] {
        complete(&desk, &ann, claimed(claim), None).await;
    }
}

/// What others must be able to do is passed over in one seek for all of them together.
#[tokio::test]
async fn a_claim_costs_the_same_whatever_other_agents_could_do() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let mut body = register("ann");
    body.capabilities = vec!["rust".to_owned()];
    let registered = desk.send(&Actor::System, body).await.unwrap();
    let ann = Actor::Session(registered.session);
    let demanding = |n: usize| NewTask { priority: 5, requires: vec![format!("gpu {n:04}")], ..tagged("other", "a") };
    create(&desk, vec![demanding(0), tagged("easy", "a"), tagged("easy", "a")]).await;
    let (few, _) = cost(&server, &desk, &ann, claim(&["a"])).await;
    create(&desk, (1..2_000).map(demanding).collect()).await;
    let (many, claim) = cost(&server, &desk, &ann, claim(&["a"])).await;
    claimed(claim);
    assert_eq!(few, many);
}

/// 100,000 active tasks after an outage slow every claim: not here, a claim settles a few of those that are overdue.
#[tokio::test]
async fn a_claim_after_an_outage_costs_the_same_however_many_claims_are_overdue() {
    let server = Server::start().await;
    let mut costs = Vec::new();
    for many in [50, 1_000] {
        let desk = Desk::found(&server).await;
        let (ann, _) = desk.register("ann").await;
        let active = (0..many).map(|_| NewTask { lease: Some(5_000), ..tagged("active", "a") });
        create(&desk, active.collect()).await;
        for _ in 0..many {
            claimed(desk.send(&ann, claim(&["a"])).await.unwrap());
        }
        create(&desk, vec![tagged("new", "b"), tagged("new", "b")]).await;
        desk.boot.0.fetch_add(6_000, std::sync::atomic::Ordering::SeqCst);
        for _ in 0..2 {
            let (calls, claim) = cost(&server, &desk, &ann, claim(&["b"])).await;
            claimed(claim);
            costs.push(calls);
        }
    }
    assert_eq!(costs[..2], costs[2..]);
    assert!(costs.iter().all(|calls| *calls <= 60), "{costs:?}");
}

/// A task that becomes ready looks at nothing while nobody waits, and at one line when a thousand wait.
#[tokio::test]
async fn a_task_that_becomes_ready_costs_the_same_whoever_waits() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    let mut costs = Vec::new();
    for waiting in [0, 1, 1_000] {
        for _ in 0..waiting {
            let queued = desk.send(&ann, ClaimTask::new(vec!["other".to_owned()])).await.unwrap();
            assert!(matches!(queued, Claim::Queued { .. }));
        }
        let before = server.calls().await;
        create(&desk, vec![tagged("a task", "a")]).await;
        costs.push(server.calls().await - before);
    }
    assert_eq!(costs[1], costs[2]);
    // Two seeks: for who waits for any task, and for one with this tag.
    assert!(costs[1] <= costs[0] + 2, "{costs:?}");
}

/// Every command of a shell asks who calls.
#[tokio::test]
async fn who_calls_is_found_at_the_same_cost_whatever_anybody_holds() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, registered) = desk.register("ann").await;
    let store = Store::new(Arc::new(Desk::open(&server, &desk.namespace, desk.admission.clone()).engine));
    store.now().await.unwrap();
    let mut costs = Vec::new();
    for name in ["ben", "ted"] {
        let before = server.calls().await;
        let by_name = store.agent_known_as("ann", "").await.unwrap().unwrap();
        let by_id = store.agent(&registered.agent).await.unwrap();
        costs.push(server.calls().await - before);
        assert_eq!((&by_name, &by_name.session, by_name.is_live), (&by_id, &registered.session, true));
        let (other, _) = desk.register(name).await;
        for holder in [&ann, &other] {
            create(&desk, vec![tagged("a task", "a")]).await;
            claimed(desk.send(holder, claim(&["a"])).await.unwrap());
            drop(desk.send(holder, acquire(name)).await.unwrap());
        }
    }
    assert_eq!(costs[0], costs[1]);
}

/// A hundred tasks of many tags that are created at once look at each line in which nobody waits once.
#[tokio::test]
async fn a_bulk_create_looks_at_each_deserted_line_once() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    let tags: Vec<String> = (0..16).map(|tag| format!("tag {tag}")).collect();
    let many: Vec<_> =
        (0..100).map(|n| NewTask { tags: tags.clone(), ..NewTask::titled(format!("task {n}")) }).collect();
    let cost = async || {
        let before = server.calls().await;
        let fresh = many.iter().map(|task| NewTask { id: Id::random(), ..task.clone() }).collect();
        create(&desk, fresh).await;
        server.calls().await - before
    };
    let alone = cost().await;
    let waits = desk.send(&ann, ClaimTask::new(vec!["other".to_owned()])).await.unwrap();
    assert!(matches!(waits, Claim::Queued { .. }));
    let beside_a_claim = cost().await;
    assert!(
        beside_a_claim <= alone + tags.len() as u64 + 4,
        "{alone} calls, {beside_a_claim} beside a claim that waits"
    );
}

/// What is left to be linked is put away in few records, without a look at the store for each.
#[tokio::test]
async fn a_create_with_ten_thousand_dependencies_takes_few_calls() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let parts: Vec<_> = (0..10_000).map(|_| NewTask::titled("part")).collect();
    let depends_on = parts.iter().map(|part| part.id.to_string()).collect();
    create(&desk, parts).await;
    let before = server.calls().await;
    create(&desk, vec![NewTask { depends_on, ..NewTask::titled("whole") }]).await;
    let calls = server.calls().await - before;
    assert!(calls <= 200, "{calls} calls");
}
