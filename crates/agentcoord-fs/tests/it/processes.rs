//! Many processes on one store at once, and the end of some by kill -9.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentcoord_core::agent::Tick;
use agentcoord_core::engine::{Channel, Engine, Wake, Wakes};
use agentcoord_core::lock::{Acquire, ConfirmLock, ReleaseLock};
use agentcoord_core::op::{Actor, answer};
use agentcoord_core::record::TaskRecord;
use agentcoord_core::table::Table;
use agentcoord_core::task::{Claim, ClaimTask, CompleteTask, CreateTasks};
use agentcoord_fs::{FsWakes, ModeEngine, ModeRow, Threading, process};

use crate::peer::{Peer, say};
use crate::stage::{Agent, EPOCH, Store, engine, lock, open, run, tasks};

const PEERS: usize = 4;
const INCREMENTS: usize = 25;

/// Role: increments a number in a plain file, under a lock.
pub(crate) fn count(dir: &Path) {
    run(async {
        let namespace = open(dir);
        let (sender, mut woken) = tokio::sync::mpsc::unbounded_channel();
        let sink: Arc<dyn Fn(Wake) + Send + Sync> = Arc::new(move |wake| drop(sender.send(wake)));
        let wakes = FsWakes::new(&namespace, sink).unwrap();
        let agent = Agent::register(engine(&namespace, Threading::Threaded), "counter").await;
        wakes.subscribe(&Channel::Client(agent.client.clone())).await.unwrap();
        for _ in 0..INCREMENTS {
            let mut acquired = agent.run(lock("counter", None)).await.unwrap();
            let grant = loop {
                match acquired {
                    Acquire::Granted(grant) => break grant,
                    Acquire::Queued { ticket, tick_in } => {
                        let pause = Duration::from_millis(tick_in.unwrap_or(60_000));
                        if tokio::time::timeout(pause, woken.recv()).await.is_err() {
                            let _ticked = agent.run_as(Actor::System, Tick { most: 8 }).await.unwrap();
                        }
                        acquired = agent.run(ConfirmLock { ticket }).await.unwrap();
                    }
                    other => panic!("{other:?}"),
                }
            };
            let file = dir.join("number");
            let number: usize = std::fs::read_to_string(&file).map_or(0, |text| text.parse().unwrap());
            tokio::task::yield_now().await;
            std::fs::write(&file, (number + 1).to_string()).unwrap();
            let _released = agent.run(ReleaseLock { token: grant.token, paths: vec![] }).await.unwrap();
        }
    });
}

#[test]
fn lock_keeps_increments_of_many_processes_apart() {
    let store = Store::new();
    let peers: Vec<_> = (0..PEERS).map(|_| Peer::start("counter", store.dir.path())).collect();
    for peer in peers {
        let _said = peer.finish();
    }
    let number = std::fs::read_to_string(store.dir.path().join("number")).unwrap();
    assert_eq!(number, (PEERS * INCREMENTS).to_string());
}

/// Role: claims and completes tasks until there is none, and says which.
pub(crate) fn work(dir: &Path) {
    run(async {
        let engine = engine(&open(dir), Threading::Threaded);
        let agent = Agent::register(engine.clone(), "worker").await;
        loop {
            match agent.run(ClaimTask { wait: Some(0), ..ClaimTask::new(vec![]) }).await.unwrap() {
                Claim::Claimed(claim) => {
                    let record = engine.fetch(Table::Task, std::slice::from_ref(&claim.key)).await.unwrap();
                    let record: TaskRecord = agentcoord_core::op::decode(record[0].as_ref().unwrap(), "task").unwrap();
                    let done = CompleteTask::new(claim.key.clone(), record.id, claim.token, None);
                    let _changed = agent.run(done).await.unwrap();
                    say(&claim.key);
                }
                Claim::Nothing { .. } => return,
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn tasks_are_claimed_once_each_by_many_processes() {
    run(async {
        let store = Store::new();
        let engine = store.engine(Threading::Threaded);
        let boss = Agent::register(engine.clone(), "boss").await;
        let mut created = BTreeSet::new();
        for chunk in 0..3 {
            let items = boss.run(tasks((0..100).map(|n| format!("task {chunk}/{n}")))).await.unwrap().items;
            created.extend(items.into_iter().map(|t| t.key));
        }
        let peers: Vec<_> = (0..PEERS).map(|_| Peer::start("worker", store.dir.path())).collect();
        let done: Vec<String> = peers.into_iter().flat_map(Peer::finish).collect();
        assert_eq!(done.len(), created.len(), "no task was done twice or left");
        assert_eq!(done.into_iter().collect::<BTreeSet<_>>(), created);
        let counts = engine.state().await.unwrap().0.counts;
        assert_eq!((counts.completed, counts.pending), (300, 0));
    });
}

/// Role: creates tasks for ever, several at a time, and says each when it is acknowledged.
pub(crate) fn create(dir: &Path) {
    run(async {
        let engine = engine(&open(dir), Threading::Threaded);
        let agent = Arc::new(Agent::register(engine.clone(), "creator").await);
        loop {
            let steps: Vec<_> = (0..8)
                .map(|n| {
                    let (engine, call) = (engine.clone(), agent.call(agent.session(), tasks([format!("task {n}")])));
                    tokio::spawn(async move { answer::<CreateTasks>(&engine.step(call).await.unwrap()).unwrap() })
                })
                .collect();
            for step in steps {
                say(&step.await.unwrap().items[0].key);
            }
        }
    });
}

#[test]
fn killed_processes_lose_nothing_acknowledged_and_block_nobody() {
    let store = Store::new();
    let mut acknowledged = BTreeSet::new();
    let mut peers: Vec<_> = (0..3).map(|_| Peer::start("creator", store.dir.path())).collect();
    for round in 0..15_usize {
        let peer = &mut peers[round % 3];
        // Anywhere between a few and some dozen acknowledged tasks after its start.
        for _ in 0..(1 + round * 7 % 23) {
            acknowledged.insert(peer.hear().expect("a creator goes on"));
        }
        let identity = process::of(peer.pid()).unwrap();
        assert_eq!(process::is_alive(&identity), process::Liveness::Alive);
        acknowledged.extend(peer.kill());
        assert_eq!(process::is_alive(&identity), process::Liveness::Dead);
        peers[round % 3] = Peer::start("creator", store.dir.path());
    }
    for peer in &mut peers {
        acknowledged.extend(peer.kill());
    }
    run(async {
        let begun = Instant::now();
        let engine = store.engine(Threading::Threaded);
        let agent = Agent::register(engine.clone(), "survivor").await;
        assert!(agent.run(tasks(["after all".to_owned()])).await.is_ok());
        assert!(begun.elapsed() < Duration::from_secs(5), "the turnstile is free at once");

        let stored = engine.dump().await.unwrap();
        let keys: BTreeSet<_> =
            stored.records.keys().filter(|(t, _)| *t == Table::Task).map(|(_, k)| k.clone()).collect();
        assert!(acknowledged.is_subset(&keys), "{} acknowledged, {} stored", acknowledged.len(), keys.len());
        assert_eq!(stored.state.counts.pending as usize, keys.len());
        let csns: Vec<u64> = stored.events.iter().map(|e| e.csn.0).collect();
        assert_eq!(csns, (1..=stored.state.csn.0).collect::<Vec<_>>());
        let ready = stored.entries.iter().filter(|e| e.parts()[..2] == ["ready", ""]).count();
        assert_eq!(ready, keys.len());
    });
    let conn = rusqlite::Connection::open(store.file("agentcoord.db")).unwrap();
    let sound: String = conn.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}

/// Role: opens a namespace that may not exist yet, and makes files serve if nobody has decided.
pub(crate) fn found(dir: &Path) {
    let namespace = open(dir);
    let mode = namespace.lock_mode().unwrap();
    if mode.row().unwrap().is_none() {
        mode.write(&ModeRow::serving(EPOCH, ModeEngine::Files)).unwrap();
        say("founded");
    }
}

#[test]
fn processes_that_start_together_found_a_namespace_once() {
    for _ in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let peers: Vec<_> = (0..6).map(|_| Peer::start("founder", dir.path())).collect();
        let founded: Vec<_> = peers.into_iter().flat_map(Peer::finish).collect();
        assert_eq!(founded, ["founded"]);
        assert!(open(dir.path()).word().is_some());
    }
}

#[test]
fn own_process_is_alive_and_another_start_time_or_boot_is_not_it() {
    let own = process::own_identity();
    assert_eq!(process::is_alive(&own), process::Liveness::Alive);
    let reused = agentcoord_core::agent::ProcessIdentity { started: own.started + 1, ..own.clone() };
    assert_eq!(process::is_alive(&reused), process::Liveness::Dead);
    let elsewhere = agentcoord_core::agent::ProcessIdentity { boot_id: "another".into(), ..own };
    assert_eq!(process::is_alive(&elsewhere), process::Liveness::Unknown);
}
