//! What becomes of what a process held when it is killed, stopped, or hangs; with real processes, on both engines.

use std::process::Command;
use std::time::Duration;

use agentcoord::core::agent::{AgentRegistry, AgentState, Register, Registered, SessionKind, Suspicion};
use agentcoord::core::ids::Id;
use agentcoord::core::lock::{Acquire, AcquireLock, LockPath};
use agentcoord::core::op::Actor;
use agentcoord::core::task::NewTask;
use agentcoord::{Config, Connection, CoordinationClient, Error, FileLock, Style, process};
use rustix::process::Signal;

use crate::child::Process;
use crate::place::Place;

/// Far beyond the tests' patience: what ends before it has not ended by its time to live.
const LONG: Duration = Duration::from_secs(600);
/// The tests' patience.
const PATIENCE: Duration = Duration::from_secs(20);

on_both_engines!(
    lock_of_a_killed_process_passes_on,
    lock_of_a_killed_process_passes_on_when_the_keeper_was_killed_with_it,
    keeper_that_is_killed_alone_is_replaced,
    command_ends_the_dead_that_are_in_its_way,
    stopped_holder_loses_its_lock_at_its_time_and_writes_nothing_later,
    process_with_another_start_time_is_another_process,
    shell_agent_ends_with_the_process_it_is_bound_to,
    process_that_cannot_be_seen_is_known_by_its_lock,
    agent_that_hangs_is_stuck_and_one_with_a_long_job_is_not,
    keeper_forgets_what_is_more_than_is_kept,
);

async fn taken(session: &CoordinationClient, path: &str) -> FileLock {
    tokio::time::timeout(PATIENCE, session.lock_file(path).into_future()).await.expect("in time").unwrap()
}

async fn lock_of_a_killed_process_passes_on(place: &Place) {
    let waiter = place.session("waiter").await.unwrap();
    let mut holder = Process::start(place, "holder", LONG);
    assert_eq!(holder.ask("lock a"), "held");
    let mut waiting = waiter.lock_file("a").into_future();
    let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
    assert!(early.is_err(), "the lock is held");
    holder.kill();
    let lock = tokio::time::timeout(PATIENCE, waiting).await.expect("in time").unwrap();
    let store = waiter.store().await.unwrap();
    let why = AgentRegistry::find(&store, "holder").await.unwrap().ended.unwrap().1;
    assert!(why.starts_with("its process"), "{why}");
    lock.release().await.unwrap();
    waiter.close().await.unwrap();
}

async fn lock_of_a_killed_process_passes_on_when_the_keeper_was_killed_with_it(place: &Place) {
    let mut keeper = Process::start(place, "keeper", LONG);
    let mut holder = Process::start(place, "holder", LONG);
    assert_eq!(holder.ask("lock a"), "held");
    let waiter = place.session("waiter").await.unwrap();
    keeper.kill();
    holder.kill();
    taken(&waiter, "a").await.release().await.unwrap();
    waiter.close().await.unwrap();
}

async fn keeper_that_is_killed_alone_is_replaced(place: &Place) {
    let mut keeper = Process::start(place, "keeper", LONG);
    assert_eq!(keeper.ask("lock k"), "held");
    let mut holder = Process::start(place, "holder", LONG);
    assert_eq!(holder.ask("lock a"), "held");
    let waiter = place.session("waiter").await.unwrap();
    keeper.kill();
    // The next keeper notices the end of the one before, and then goes on watching.
    taken(&waiter, "k").await.release().await.unwrap();
    holder.kill();
    taken(&waiter, "a").await.release().await.unwrap();
    waiter.close().await.unwrap();
}

/// A connection without a session, as a command has it: it is no keeper.
async fn command(place: &Place) -> Connection {
    let mut config = Config::new(place.dir.path(), place.dir.path().join("state"));
    config.redis_url.clone_from(&place.redis_url);
    config.backend = place.backend;
    Connection::open(config, Style::OneShot).await.unwrap()
}

fn shell_agent(name: &str, process: Option<agentcoord::core::agent::ProcessIdentity>) -> Register {
    Register {
        agent: Id::random(),
        session: Id::random(),
        name: name.to_owned(),
        key: String::new(),
        role: "Engineer".to_owned(),
        working_on: None,
        capabilities: Vec::new(),
        host: agentcoord::machine_name(),
        process,
        kind: SessionKind::Shell,
        ttl: 3_600_000,
        parent: None,
        resume: true,
        metadata: None,
    }
}

async fn acquire(connection: &Connection, as_who: &Registered, path: &str, wait: Option<u64>) -> Acquire {
    let body = AcquireLock { wait, ..AcquireLock::new(vec![LockPath::parse(path).unwrap()]) };
    connection.acquire(&Actor::Session(as_who.session.clone()), body).await.unwrap()
}

async fn command_ends_the_dead_that_are_in_its_way(place: &Place) {
    let (mut one, mut two) = (Process::start(place, "one", LONG), Process::start(place, "two", LONG));
    assert_eq!(one.ask("lock a"), "held");
    assert_eq!(two.ask("lock b"), "held");
    let connection = command(place).await;
    let ann = connection.run(&Actor::System, shell_agent("ann", None)).await.unwrap();
    assert!(matches!(acquire(&connection, &ann, "a", Some(0)).await, Acquire::Contended { .. }));
    drop((one, two));
    assert!(matches!(acquire(&connection, &ann, "a", Some(0)).await, Acquire::Granted(_)));
    assert!(matches!(acquire(&connection, &ann, "b", Some(5_000)).await, Acquire::Granted(_)));
}

async fn stopped_holder_loses_its_lock_at_its_time_and_writes_nothing_later(place: &Place) {
    let waiter = place.session("waiter").await.unwrap();
    let mut holder = Process::start(place, "holder", Duration::from_millis(900));
    assert_eq!(holder.ask("lock a"), "held");
    holder.signal(Signal::STOP);
    let lock = taken(&waiter, "a").await;
    holder.signal(Signal::CONT);
    assert!(holder.ask("release").starts_with("Stale"));
    let again = holder.ask("lock a");
    assert!(again.starts_with("Stale"), "a reaped agent locks nothing: {again}");
    lock.release().await.unwrap();
    waiter.close().await.unwrap();
}

async fn process_with_another_start_time_is_another_process(place: &Place) {
    let connection = command(place).await;
    let mut reused = process::own_identity();
    reused.started += 1;
    let [dead, alive] =
        [("dead", reused), ("alive", process::own_identity())].map(|(name, it)| shell_agent(name, Some(it)));
    let dead = connection.run(&Actor::System, dead).await.unwrap();
    let alive = connection.run(&Actor::System, alive).await.unwrap();
    assert!(matches!(acquire(&connection, &dead, "a", Some(0)).await, Acquire::Granted(_)));
    assert!(matches!(acquire(&connection, &alive, "b", Some(0)).await, Acquire::Granted(_)));
    let waiter = place.session("waiter").await.unwrap();
    taken(&waiter, "a").await.release().await.unwrap();
    let refused = waiter.lock_file("b").timeout(Duration::ZERO).await;
    assert!(matches!(refused, Err(Error::Held { .. })), "{refused:?}");
    waiter.close().await.unwrap();
}

async fn shell_agent_ends_with_the_process_it_is_bound_to(place: &Place) {
    let mut host = Command::new("sleep").arg("1000").spawn().unwrap();
    let waiter = place.session("waiter").await.unwrap();
    let connection = command(place).await;
    // Known first, bound later.
    let shell = connection.run(&Actor::System, shell_agent("shell", None)).await.unwrap();
    let bound = shell_agent("shell", process::of(host.id()));
    assert!(connection.run(&Actor::System, bound).await.unwrap().resumed);
    assert!(matches!(acquire(&connection, &shell, "a", Some(0)).await, Acquire::Granted(_)));
    let refused = waiter.lock_file("a").timeout(Duration::ZERO).await;
    assert!(matches!(refused, Err(Error::Held { .. })), "{refused:?}");
    let waiting = waiter.lock_file("a").into_future();
    host.kill().unwrap();
    let lock = tokio::time::timeout(PATIENCE, waiting).await.expect("in time").unwrap();
    host.wait().unwrap();
    lock.release().await.unwrap();
    waiter.close().await.unwrap();
}

async fn process_that_cannot_be_seen_is_known_by_its_lock(place: &Place) {
    let connection = command(place).await;
    let mut elsewhere = process::own_identity();
    elsewhere.pid_namespace = 1;
    let [ended, alive, unknown] = ["ended", "alive", "unknown"].map(|name| shell_agent(name, Some(elsewhere.clone())));
    let namespaces = place.dir.path().join("state/namespaces");
    let sessions = namespaces.join(connection.namespace()).join("sessions");
    std::fs::create_dir_all(&sessions).unwrap();
    std::fs::File::create(sessions.join(ended.session.as_str())).unwrap();
    let locked = std::fs::File::create(sessions.join(alive.session.as_str())).unwrap();
    locked.lock().unwrap();
    for (body, path) in [(ended, "a"), (alive, "b"), (unknown, "c")] {
        let registered = connection.run(&Actor::System, body).await.unwrap();
        assert!(matches!(acquire(&connection, &registered, path, Some(0)).await, Acquire::Granted(_)));
    }
    let waiter = place.session("waiter").await.unwrap();
    taken(&waiter, "a").await.release().await.unwrap();
    for path in ["b", "c"] {
        let refused = waiter.lock_file(path).timeout(Duration::ZERO).await;
        assert!(matches!(refused, Err(Error::Held { .. })), "{refused:?}");
    }
    drop(locked);
    taken(&waiter, "b").await.release().await.unwrap();
    waiter.close().await.unwrap();
}

async fn agent_that_hangs_is_stuck_and_one_with_a_long_job_is_not(place: &Place) {
    let ttl = Duration::from_millis(900);
    let (hangs, works) =
        (place.session("hangs").ttl(ttl).await.unwrap(), place.session("works").ttl(ttl).await.unwrap());
    works.busy_for(LONG).await.unwrap();
    let held = hangs.lock_file("a").await.unwrap();
    // Nothing happens for longer than their time to live; their threads keep them alive.
    tokio::time::sleep(ttl * 2).await;
    let store = hangs.store().await.unwrap();
    let threshold = u64::try_from(ttl.as_millis()).unwrap();
    let suspects = store.hung(threshold).await.unwrap();
    let told: Vec<_> = suspects.iter().map(|s| (s.agent.name.as_str(), s.verdict)).collect();
    assert_eq!(told, [("hangs", Suspicion::Stuck)], "{suspects:?}");
    assert_eq!(AgentRegistry::find(&store, "works").await.unwrap().state, AgentState::Busy);
    held.release().await.unwrap();
    hangs.close().await.unwrap();
    works.close().await.unwrap();
}

async fn keeper_forgets_what_is_more_than_is_kept(place: &Place) {
    let agent = place.session("agent").await.unwrap();
    for number in 0..100 {
        agent.create_task(NewTask::titled(format!("task {number}"))).await.unwrap();
        agent.claim_task(["none"; 0]).await.unwrap().unwrap().complete(None).await.unwrap();
    }
    agent.close().await.unwrap();
    let mut config = Config::new(place.dir.path(), place.dir.path().join("state"));
    config.redis_url.clone_from(&place.redis_url);
    config.backend = place.backend;
    config.retention.keep = 3;
    let connection = Connection::open(config, Style::LongRunning).await.unwrap();
    let session = CoordinationClient::session("Engineer", "next").dir(place.dir.path()).on(connection).await.unwrap();
    let store = session.store().await.unwrap();
    let forgotten = async {
        while store.now().await.unwrap().0.completed > 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, forgotten).await.expect("more than one portion, without anybody asking");
    session.close().await.unwrap();
}
