//! Agents and sessions: who is there, who is gone, and what becomes of what they held.

use agentcoord_core::Error;
use agentcoord_core::agent::{AgentState, EvictAgent, Heartbeat, Register, SessionKind, Suspicion, Tick, UpdateAgent};
use agentcoord_core::ids::Id;
use agentcoord_core::limits;
use agentcoord_core::lock::{Acquire, RenewLock};
use agentcoord_core::store::Backend;
use agentcoord_core::task::TaskStatus;

use crate::actor::{Scene, claimed, contended, granted, locking, queued, registration, waiting};
use crate::refused;

/// Two processes configured with one name are two agents and never share ownership.
pub async fn same_name_is_two_agents(scene: Scene) {
    let (one, two) = (scene.agent("ada").await, scene.agent("ada").await);
    assert_eq!((one.name(), two.name()), ("ada", "ada-2"));
    assert_ne!(one.agent(), two.agent());
    let held = one.hold(&["a"]).await;
    contended(two.try_lock(&["a"]).await);
    refused!(two.release(held.token).await, Error::Stale { .. });
    let task = one.create_titled("one worker's").await;
    let claim = one.claim().await;
    refused!(two.complete(&claim).await, Error::Stale { .. });
    refused!(two.claim_id(&task).await, Error::Held { holder, .. } if holder == "ada");
}

/// Names are given out in order, and a name whose session has ended goes to the next who wants it.
pub async fn a_name_is_taken_up_again_after_its_session(scene: Scene) {
    let one = scene.agent("ada").await;
    let two = scene.agent("ada").await;
    one.leave().await;
    let next = scene.agent("ada").await;
    assert_eq!((next.name(), next.agent()), ("ada", one.agent()));
    assert_ne!(next.session(), one.session());
    assert_ne!(next.agent(), two.agent());
}

/// With `resume`, name and key are the same session; another key is another agent.
pub async fn shell_agent_continues_its_session(scene: Scene) {
    let shell = |key: &str| Register {
        key: key.to_owned(),
        kind: SessionKind::Shell,
        resume: true,
        ttl: limits::SHELL_SESSION_TTL,
        ..registration("ada")
    };
    let mut first = scene.agent_as(shell("tty-1")).await;
    let held = first.hold(&["a"]).await;
    let again = first.ask(Register { working_on: Some("locks".to_owned()), ..shell("tty-1") }).await.expect("accepted");
    assert!(again.resumed);
    assert_eq!(again.session, *first.session());
    first.become_session(&again);
    first.release(held.token).await.expect("it is the same holder");
    let agent = scene.store().agents().find("ada").await.expect("there");
    assert_eq!(agent.working_on.as_deref(), Some("locks"));
    let other = scene.agent_as(shell("tty-2")).await;
    assert_ne!(other.session(), first.session());
    first.leave().await;
    let new = scene.agent_as(shell("tty-1")).await;
    assert_ne!(new.session(), first.session(), "an ended session is not continued");
    assert_eq!(new.agent(), first.agent());
}

/// After the time to live without a sign of life, what the session held passes on.
pub async fn session_ends_without_heartbeat(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    ada.hold(&["a"]).await;
    ada.create_titled("a task").await;
    ada.claim().await;
    let ticket = queued(bob.lock(&["a"]).await);
    scene.pass(limits::SESSION_TTL - 1).await;
    bob.beat().await;
    assert_eq!(queued(bob.confirm_lock(&ticket).await), ticket, "not yet");
    scene.pass(1).await;
    granted(bob.confirm_lock(&ticket).await);
    bob.claim().await;
    refused!(ada.ask(Heartbeat { progress: true }).await, Error::Stale { .. });
    assert!(scene.store().agents().list(false).await.expect("readable").iter().all(|a| a.name != "ada"));
    let ended = scene.store().agents().find("ada").await.expect("still known").ended.expect("it has ended");
    assert_eq!(ended.1, "no heartbeat");
}

/// One heartbeat keeps everything that a session holds.
pub async fn heartbeats_keep_everything_held(scene: Scene) {
    let ada = scene.agent("ada").await;
    let held = ada.hold(&["a", "b"]).await;
    let task = ada.create_titled("a task").await;
    ada.claim().await;
    for _ in 0..5 {
        scene.pass(limits::SESSION_TTL - 1).await;
        ada.beat().await;
        scene.settle().await;
    }
    assert!(scene.is_current("b", held.token).await);
    assert_eq!(scene.task(&task).await.status, TaskStatus::Claimed);
}

/// A beat alone moves the liveness clock and never the progress clock; an operation moves both.
pub async fn heartbeat_is_not_progress(scene: Scene) {
    let ada = scene.agent("ada").await;
    scene.pass(10_000).await;
    ada.beat().await;
    scene.pass(5_000).await;
    let agent = scene.store().agents().find("ada").await.expect("there");
    assert_eq!((agent.heartbeat_age, agent.progress_age), (5_000, 15_000));
    ada.ask(UpdateAgent { status: Some("reading".to_owned()), ..UpdateAgent::default() }).await.expect("live");
    let agent = scene.store().agents().find("ada").await.expect("there");
    assert_eq!((agent.heartbeat_age, agent.progress_age), (0, 0));
    assert_eq!(agent.status.as_deref(), Some("reading"));
}

/// A heartbeat leaves no event.
pub async fn a_heartbeat_leaves_no_event(scene: Scene) {
    let ada = scene.agent("ada").await;
    let before = scene.csn().await;
    ada.beat().await;
    assert_eq!(scene.csn().await, before);
    assert!(scene.events(before).await.is_empty());
}

/// Locks go to waiters, tasks back to the front of their queue, waits are cancelled.
pub async fn deregister_passes_holdings_on(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    ada.hold(&["a"]).await;
    eve.hold(&["b"]).await;
    queued(ada.lock(&["b"]).await);
    let first = ada.create_titled("first").await;
    ada.create_titled("second").await;
    let claim = ada.claim().await;
    assert_eq!(claim.key, first);
    let ticket = queued(bob.lock(&["a"]).await);
    assert_eq!(ada.leave().await, 3);
    granted(bob.confirm_lock(&ticket).await);
    assert_eq!(bob.claim().await.key, first, "in front of the second");
    assert!(scene.waiters("b").await.is_empty());
}

/// Whatever an ended session sends later is refused and writes nothing.
pub async fn late_writes_of_an_ended_session_are_stale(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let held = ada.hold(&["a"]).await;
    let task = ada.create_titled("a task").await;
    let claim = ada.claim().await;
    ada.leave().await;
    let again = bob.claim().await;
    let before = scene.csn().await;
    refused!(ada.release(held.token).await, Error::Stale { .. });
    refused!(ada.ask(RenewLock { token: held.token, ttl: None }).await, Error::Stale { .. });
    refused!(ada.ask(locking(&["b"])).await, Error::Stale { .. });
    refused!(ada.complete(&claim).await, Error::Stale { .. });
    refused!(ada.fail(&claim, "late", true).await, Error::Stale { .. });
    refused!(ada.ask(Heartbeat { progress: false }).await, Error::Stale { .. });
    assert_eq!(scene.csn().await, before);
    let task = scene.task(&task).await;
    assert_eq!((task.token, task.error), (Some(again.token), None));
}

/// A session with more holdings than a step may settle ends at once and is settled in bounded steps.
pub async fn a_session_with_many_holdings_ends_in_bounded_steps(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let mut tokens = Vec::new();
    for number in 0..100 {
        tokens.push(ada.hold(&[&format!("p{number:03}")]).await.token);
    }
    assert_eq!(ada.leave().await, limits::WORK_PER_STEP as u64);
    for (number, token) in tokens.into_iter().enumerate() {
        assert!(!scene.is_current(&format!("p{number:03}"), token).await, "all are void at once");
    }
    scene.settle().await;
    assert!(scene.store().locks().list().await.expect("readable").is_empty());
    assert!(matches!(bob.try_lock(&["p000", "p050", "p099"]).await, Acquire::Granted(_)));
}

/// A child session ends by itself and leaves its agent's own holdings alone.
pub async fn a_child_session_ends_alone(scene: Scene) {
    let ada = scene.agent("ada").await;
    let child = scene.agent_as(Register { parent: Some(ada.session().clone()), ..registration("ada") }).await;
    assert_eq!(child.agent(), ada.agent());
    let held = ada.hold(&["a"]).await;
    contended(child.try_lock(&["a"]).await);
    child.hold(&["b"]).await;
    child.leave().await;
    assert!(scene.holders("b").await.is_empty());
    assert!(scene.is_current("a", held.token).await);
    let orphan = Register { parent: Some(child.session().clone()), ..registration("ada") };
    refused!(ada.ask(orphan).await, Error::Stale { .. });
}

/// A session's id is used once.
pub async fn a_session_id_is_used_once(scene: Scene) {
    let ada = scene.agent("ada").await;
    let body = Register { session: ada.session().clone(), ..registration("bob") };
    refused!(scene.system().await.ask(body).await, Error::Refused { policy: "id_taken", .. });
}

/// Silent is without heartbeats, stuck is with heartbeats but without progress; each comes with evidence.
pub async fn hung_tells_silent_from_stuck(scene: Scene) {
    let long = |name: &str| Register { ttl: 3_600_000, ..registration(name) };
    let silent = scene.agent_as(long("silent")).await;
    let stuck = scene.agent_as(long("stuck")).await;
    let well = scene.agent_as(long("well")).await;
    for _ in 0..10 {
        scene.pass(60_000).await;
        stuck.beat().await;
        well.ask(Heartbeat { progress: true }).await.expect("live");
    }
    let suspects = scene.store().agents().hung(limits::HUNG_THRESHOLD).await.expect("readable");
    let told: Vec<_> = suspects.iter().map(|s| (s.agent.name.as_str(), s.verdict)).collect();
    assert_eq!(told, [(silent.name(), Suspicion::Silent), (stuck.name(), Suspicion::Stuck)]);
    assert!(suspects.iter().all(|s| s.evidence.contains("600 s")), "{suspects:?}");
}

/// Who waits for a lock or has declared a long job is never stuck.
pub async fn waiting_and_busy_are_never_stuck(scene: Scene) {
    let long = |name: &str| Register { ttl: 3_600_000, ..registration(name) };
    let holder = scene.agent_as(long("holder")).await;
    let waiter = scene.agent_as(long("waiter")).await;
    let idle = scene.agent_as(long("worker")).await;
    let busy = scene.agent_as(long("busy")).await;
    holder.hold(&["a"]).await;
    queued(waiter.lock(&["a"]).await);
    waiting(idle.wait_claim(&[]).await);
    busy.ask(UpdateAgent { busy_for: Some(3_600_000), ..UpdateAgent::default() }).await.expect("live");
    for _ in 0..10 {
        scene.pass(60_000).await;
        for agent in [&waiter, &idle, &busy] {
            agent.beat().await;
        }
        holder.ask(Heartbeat { progress: true }).await.expect("live");
    }
    assert!(scene.store().agents().hung(limits::HUNG_THRESHOLD).await.expect("readable").is_empty());
    let state = async |name: &str| scene.store().agents().find(name).await.expect("there").state;
    assert_eq!(state("waiter").await, AgentState::Waiting);
    assert_eq!(state("worker").await, AgentState::Waiting);
    assert_eq!(state("busy").await, AgentState::Busy);
    assert_eq!(state("holder").await, AgentState::Active);
    busy.ask(UpdateAgent { busy_for: Some(0), ..UpdateAgent::default() }).await.expect("live");
    assert_eq!(state("busy").await, AgentState::Idle);
}

/// A wall clock that jumps an hour either way ends no session.
pub async fn a_wall_clock_that_jumps_ends_no_session(scene: Scene) {
    let ada = scene.agent("ada").await;
    for jump in [3_600_000, -7_200_000] {
        scene.set_wall_by(jump).await;
        scene.settle().await;
        ada.beat().await;
    }
}

/// Agents are found by exact name, id, and unique prefix of the id.
pub async fn agents_are_found_by_name_and_prefix(scene: Scene) {
    let ada = scene.agent("ada").await;
    scene.agent("bob").await;
    for typed in ["ada", ada.agent()] {
        assert_eq!(scene.store().agents().find(typed).await.expect("there").key, ada.agent());
    }
    refused!(scene.store().agents().find("nobody").await, Error::NotFound { .. });
}

/// A tick settles what is due and says when to come again.
pub async fn a_tick_says_when_the_next_item_is_due(scene: Scene) {
    scene.agent("ada").await;
    let system = scene.system().await;
    let ticked = system.ask(Tick { most: 64 }).await.expect("accepted");
    assert_eq!((ticked.settled, ticked.next_in), (0, Some(limits::SESSION_TTL)));
    scene.pass(limits::SESSION_TTL).await;
    let ticked = system.ask(Tick { most: 64 }).await.expect("accepted");
    assert_eq!(ticked.settled, 1);
}

/// A lock and a task that were offered to a session pass on when it ends before it confirms.
pub async fn nothing_offered_to_an_ended_session_is_lost(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    let held = ada.hold(&["a"]).await;
    queued(bob.lock(&["a"]).await);
    waiting(bob.wait_claim(&[]).await);
    let lock_ticket = queued(eve.lock(&["a"]).await);
    let task_ticket = waiting(eve.wait_claim(&[]).await);
    ada.release(held.token).await.expect("held");
    let task = ada.create_titled("a task").await;
    bob.leave().await;
    granted(eve.confirm_lock(&lock_ticket).await);
    let claim = claimed(eve.confirm_task(&task_ticket).await);
    assert_eq!((claim.key.as_str(), claim.attempt), (task.as_str(), 1));
    assert_eq!(scene.task(&task).await.crashes, 0);
}

/// Bad input is refused with the field's name before anything is written.
pub async fn bad_registrations_write_nothing(scene: Scene) {
    let system = scene.system().await;
    let good = registration("ada");
    for (field, bad) in [
        ("name", Register { name: String::new(), ..good.clone() }),
        ("name", Register { name: "a\0b".to_owned(), ..good.clone() }),
        ("name", Register { name: " ada".to_owned(), ..good.clone() }),
        ("role", Register { role: "x".repeat(limits::NAME_BYTES + 1), ..good.clone() }),
        ("capabilities", Register { capabilities: vec![String::new()], ..good.clone() }),
        ("capabilities", Register { capabilities: vec!["x".to_owned(); limits::CLAIM_TAGS + 1], ..good.clone() }),
        ("ttl", Register { ttl: 0, ..good.clone() }),
        ("metadata", Register { metadata: Some("\0".to_owned()), ..good.clone() }),
    ] {
        refused!(system.ask(bad).await, Error::Invalid { field: named, .. } if named == field);
    }
    refused!(system.ask(Tick { most: 0 }).await, Error::Invalid { field: "most", .. });
    assert_eq!(scene.csn().await.0, 0);
    assert!(scene.store().agents().list(true).await.expect("readable").is_empty());
}

/// A session that was never registered may do nothing.
pub async fn an_unknown_session_is_stale(scene: Scene) {
    let mut stranger = scene.agent("ada").await;
    let made_up = agentcoord_core::agent::Registered {
        agent: stranger.agent().to_owned(),
        session: Id::random(),
        name: "ada".to_owned(),
        resumed: false,
    };
    stranger.become_session(&made_up);
    let before = scene.csn().await;
    refused!(stranger.ask(locking(&["a"])).await, Error::Stale { .. });
    refused!(stranger.ask(Heartbeat { progress: true }).await, Error::Stale { .. });
    assert_eq!(scene.csn().await, before);
}

fn evicting(session: &Id) -> EvictAgent {
    EvictAgent {
        session: Some(session.clone()),
        agent: None,
        reason: "its process has ended".to_owned(),
        audit: r#"{"decision_type":"eviction"}"#.to_owned(),
    }
}

fn evicting_all(agent: &str) -> EvictAgent {
    EvictAgent { agent: Some(agent.to_owned()), session: None, ..evicting(&Id::random()) }
}

/// An eviction ends an agent like its time does: locks pass on, tasks return, late writes are stale.
pub async fn eviction_ends_every_session_of_an_agent(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let child = scene.agent_as(Register { parent: Some(ada.session().clone()), ..registration("ada") }).await;
    let held = ada.hold(&["a"]).await;
    child.hold(&["b"]).await;
    let task = ada.create_titled("a task").await;
    let claim = ada.claim().await;
    let tickets = [queued(bob.lock(&["a"]).await), queued(bob.lock(&["b"]).await)];
    let evicted = scene.human("eve").await.ask(evicting_all(ada.agent())).await.expect("a person may");
    assert_eq!((evicted.agent.as_str(), evicted.sessions, evicted.settled), (ada.agent(), 2, 3));
    for ticket in &tickets {
        granted(bob.confirm_lock(ticket).await);
    }
    assert_eq!(scene.task(&task).await.status, TaskStatus::Pending);
    refused!(ada.release(held.token).await, Error::Stale { .. });
    refused!(ada.complete(&claim).await, Error::Stale { .. });
    refused!(ada.ask(Heartbeat { progress: true }).await, Error::Stale { .. });
    refused!(child.ask(locking(&["c"])).await, Error::Stale { .. });
}

/// The agent's other sessions go on.
pub async fn evicting_a_session_leaves_its_agents_others(scene: Scene) {
    let ada = scene.agent("ada").await;
    let child = scene.agent_as(Register { parent: Some(ada.session().clone()), ..registration("ada") }).await;
    ada.hold(&["a"]).await;
    child.hold(&["b"]).await;
    scene.system().await.ask(evicting(child.session())).await.expect("the system may");
    assert_eq!(scene.holders("a").await, ["ada"]);
    assert!(scene.holders("b").await.is_empty());
    ada.beat().await;
}

/// A process hears of its session's end at once, whoever ended it; nobody listens for a shell agent.
pub async fn the_end_of_a_session_is_told_to_its_client(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let shell = Register { kind: SessionKind::Shell, ..registration("eve") };
    let eve = scene.agent_as(shell).await;
    let topic = |player: &crate::actor::Player| format!("{}-{}", player.client(), player.session());
    let (system, before) = (scene.system().await, scene.csn().await);
    system.ask(evicting(ada.session())).await.expect("the system may");
    system.ask(evicting(eve.session())).await.expect("the system may");
    assert_eq!(scene.wakes(before).await, [topic(&ada)]);
    let before = scene.csn().await;
    scene.pass(limits::SESSION_TTL).await;
    scene.settle().await;
    assert_eq!(scene.wakes(before).await, [topic(&bob)]);
}

/// An agent evicts nobody, not even itself.
pub async fn agents_never_evict(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    for body in [evicting(bob.session()), evicting(ada.session()), evicting_all(bob.agent())] {
        refused!(ada.ask(body).await, Error::Refused { policy: "humans_only", .. });
    }
    bob.beat().await;
}

/// Who was evicted can read why and by whom; of two who evict, one does and one entry is written.
pub async fn an_eviction_names_its_author_and_is_audited_once(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    scene.human("eve").await.ask(evicting(ada.session())).await.expect("a person may");
    let system = scene.system().await;
    refused!(system.ask(evicting(ada.session())).await, Error::WrongState { actual, .. } if actual == "gone");
    refused!(system.ask(evicting_all(ada.agent())).await, Error::WrongState { actual, .. } if actual == "gone");
    system.ask(evicting(bob.session())).await.expect("the system may");
    let reason =
        async |name: &str| scene.store().agents().find(name).await.expect("still known").ended.expect("it has ended").1;
    assert_eq!(reason("ada").await, "evicted by human:eve: its process has ended");
    assert_eq!(reason("bob").await, "its process has ended");
    let entries = scene.store().audit().read(0, 10).await.expect("readable").items;
    let told: Vec<_> = entries.iter().map(|e| e.entry.as_str()).collect();
    assert_eq!(told, [r#"{"decision_type":"eviction"}"#; 2]);
}

/// All sessions end at once; what they held is passed on in bounded steps.
pub async fn an_eviction_of_many_sessions_is_bounded(scene: Scene) {
    let ada = scene.agent("ada").await;
    let mut held = Vec::new();
    for number in 0..4 {
        let child = scene.agent_as(Register { parent: Some(ada.session().clone()), ..registration("ada") }).await;
        for path in 0..40 {
            let path = format!("{number}/{path}");
            held.push((child.hold(&[&path]).await.token, path));
        }
    }
    let evicted = scene.human("eve").await.ask(evicting_all(ada.agent())).await.expect("a person may");
    assert_eq!(evicted.sessions, 5);
    assert!(evicted.settled < 2 * limits::WORK_PER_STEP as u64, "{evicted:?}");
    for (token, path) in held {
        assert!(!scene.is_current(&path, token).await, "all are void at once");
    }
    scene.settle().await;
    assert!(scene.store().locks().list().await.expect("readable").is_empty());
}

/// An eviction says whom and why.
pub async fn bad_evictions_write_nothing(scene: Scene) {
    let ada = scene.agent("ada").await;
    let eve = scene.human("eve").await;
    let before = scene.csn().await;
    let good = evicting(ada.session());
    for (field, bad) in [
        ("agent", EvictAgent { session: None, ..good.clone() }),
        ("agent", EvictAgent { agent: Some(ada.agent().to_owned()), ..good.clone() }),
        ("reason", EvictAgent { reason: " ".to_owned(), ..good.clone() }),
        ("audit", EvictAgent { audit: "\0".to_owned(), ..good.clone() }),
    ] {
        refused!(eve.ask(bad).await, Error::Invalid { field: named, .. } if named == field);
    }
    refused!(eve.ask(evicting(&Id::random())).await, Error::NotFound { .. });
    refused!(eve.ask(evicting_all("0123456789")).await, Error::NotFound { .. });
    assert_eq!(scene.csn().await, before);
}

/// So many agents, and one who sends whatever the case needs.
async fn crowd(scene: &Scene, size: u64) -> Vec<crate::actor::Player> {
    let mut crowd = Vec::new();
    for number in 0..size {
        crowd.push(scene.agent(&format!("agent-{number}")).await);
    }
    crowd
}

async fn live(scene: &Scene) -> usize {
    scene.store().agents().list(false).await.expect("readable").len()
}

/// When more than half of a crowd falls silent while others go on, each gets one more time to live, and only one.
pub async fn many_that_fall_silent_at_once_are_spared_once(scene: Scene) {
    let crowd = crowd(&scene, limits::CROWD + 2).await;
    let held = crowd[0].hold(&["a"]).await;
    let (silent, alive) = crowd.split_at(6);
    for _ in 0..3 {
        scene.pass(limits::SESSION_TTL / 3).await;
        for agent in alive {
            agent.beat().await;
        }
    }
    scene.settle().await;
    assert_eq!(live(&scene).await, crowd.len(), "nobody has ended");
    assert!(scene.is_current("a", held.token).await);
    silent[1].beat().await;
    assert_eq!(scene.store().agents().find("agent-0").await.expect("there").state, AgentState::Silent);
    for _ in 0..2 {
        scene.pass(limits::SESSION_TTL / 3).await;
        for agent in alive.iter().chain([&silent[1]]) {
            agent.beat().await;
        }
        scene.settle().await;
        assert_eq!(live(&scene).await, crowd.len());
    }
    scene.pass(limits::SESSION_TTL / 3).await;
    scene.settle().await;
    assert_eq!(live(&scene).await, alive.len() + 1, "now the silent ones have");
    refused!(silent[0].ask(Heartbeat { progress: true }).await, Error::Stale { .. });
    assert!(!scene.is_current("a", held.token).await);
}

/// One of a crowd that dies is reaped at its time, also while others are spared no more.
pub async fn one_dead_among_many_ends_at_its_time(scene: Scene) {
    let crowd = crowd(&scene, limits::CROWD + 2).await;
    crowd[0].hold(&["a"]).await;
    let ticket = queued(crowd[1].lock(&["a"]).await);
    for _ in 0..3 {
        scene.pass(limits::SESSION_TTL / 3).await;
        for agent in &crowd[1..] {
            agent.beat().await;
        }
    }
    granted(crowd[1].confirm_lock(&ticket).await);
    refused!(crowd[0].ask(Heartbeat { progress: true }).await, Error::Stale { .. });
}

/// After a time in which nobody reached the store everybody goes on, whoever comes first.
pub async fn a_store_that_was_away_ends_no_session(scene: Scene) {
    let crowd = crowd(&scene, limits::CROWD).await;
    let held = crowd[3].hold(&["a"]).await;
    for _ in 0..3 {
        scene.pass(3_600_000).await;
        for agent in crowd.iter().rev() {
            agent.beat().await;
        }
    }
    crowd[3].release(held.token).await.expect("still held");
    // Nobody comes back: then they are gone after all.
    scene.pass(3_600_000).await;
    scene.settle().await;
    scene.pass(limits::SESSION_TTL).await;
    scene.settle().await;
    assert_eq!(live(&scene).await, 0);
}

/// Fewer are no crowd: each ends at its time.
pub async fn a_few_that_fall_silent_are_not_spared(scene: Scene) {
    crowd(&scene, limits::CROWD - 1).await;
    scene.pass(limits::SESSION_TTL).await;
    scene.settle().await;
    assert_eq!(live(&scene).await, 0);
}

/// A reaped agent that locks again is refused, for what it held and for anything else.
pub async fn a_reaped_agent_gets_no_lock(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    ada.hold(&["a"]).await;
    scene.pass(limits::SESSION_TTL - 1).await;
    bob.beat().await;
    scene.pass(1).await;
    for path in ["a", "b"] {
        refused!(ada.ask(locking(&[path])).await, Error::Stale { .. });
    }
    bob.hold(&["a"]).await;
    let back = scene.agent("ada").await;
    contended(back.try_lock(&["a"]).await);
    refused!(ada.ask(locking(&["a"])).await, Error::Stale { .. });
}
