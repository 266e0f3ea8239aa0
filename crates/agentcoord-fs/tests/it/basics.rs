//! The engine port, call by call.

use agentcoord_core::engine::{Engine, EngineKind};
use agentcoord_core::ids::Csn;
use agentcoord_core::limits;
use agentcoord_core::lock::{Acquire, ReleaseLock};
use agentcoord_core::op::{Blob, answer, encode};
use agentcoord_core::table::{Range, Table};
use agentcoord_core::task::{CreateTasks, NewTask};
use agentcoord_fs::Threading;

use crate::stage::{Agent, EPOCH, Store, lock, open, run, tasks};

async fn lock_is_granted_refused_and_passed_on(threading: Threading) {
    let store = Store::new();
    let (ada, bob) =
        (Agent::register(store.engine(threading), "ada").await, Agent::register(store.engine(threading), "bob").await);
    let Acquire::Granted(grant) = ada.run(lock("src/a.rs", Some(0))).await.unwrap() else { panic!("not granted") };
    assert_eq!(grant.token.epoch(), EPOCH);
    let Acquire::Contended { conflicts } = bob.run(lock("src/a.rs", Some(0))).await.unwrap() else {
        panic!("not contended")
    };
    assert_eq!(conflicts[0].name, "ada");
    let _released = ada.run(ReleaseLock { token: grant.token, paths: vec![] }).await.unwrap();
    let Acquire::Granted(next) = bob.run(lock("src/a.rs", Some(0))).await.unwrap() else { panic!("not granted") };
    assert!(next.token > grant.token);
}

#[test]
fn lock_is_granted_refused_and_passed_on_by_a_writer_thread() {
    run(lock_is_granted_refused_and_passed_on(Threading::Threaded));
}

#[test]
fn lock_is_granted_refused_and_passed_on_by_direct_calls() {
    run(lock_is_granted_refused_and_passed_on(Threading::Direct));
}

#[test]
fn repeated_request_returns_the_first_answer() {
    run(async {
        let store = Store::new();
        let engine = store.engine(Threading::Threaded);
        let agent = Agent::register(engine.clone(), "ada").await;
        let call = agent.call(agent.session(), tasks(["one".to_owned()]));
        let first = engine.step(call.clone()).await.unwrap();
        let again = store.engine(Threading::Direct).step(call).await.unwrap();
        assert_eq!(first, again);
        assert_eq!(engine.state().await.unwrap().0.counts.pending, 1);
    });
}

#[test]
fn everything_written_is_there_after_opening_again() {
    run(async {
        let store = Store::new();
        let engine = store.engine(Threading::Threaded);
        let agent = Agent::register(engine.clone(), "ada").await;
        let task = NewTask { description: Some("long text".into()), ..NewTask::titled("with text") };
        let id = task.id.clone();
        let create = CreateTasks::new(vec![task]);
        let created = answer::<CreateTasks>(&engine.step(agent.call(agent.session(), create)).await.unwrap()).unwrap();
        let key = created.items[0].key.clone();

        let reopened = crate::stage::engine(&open(store.dir.path()), Threading::Direct);
        assert_eq!((reopened.kind(), reopened.epoch()), (EngineKind::Files, EPOCH));
        assert_eq!(reopened.dump().await.unwrap().records, engine.dump().await.unwrap().records);
        let missing = "0".repeat(8);
        let found = reopened.fetch(Table::Task, &[missing, key]).await.unwrap();
        assert!(found[0].is_none() && found[1].is_some());
        let name = Blob::name("task", &id, "description");
        assert_eq!(reopened.blobs(&[name]).await.unwrap(), vec![Some(b"long text".to_vec())]);
        let events = reopened.events(Csn(0), 100).await.unwrap();
        assert_eq!(events.iter().map(|e| e.csn.0).collect::<Vec<_>>(), vec![1, 2]);
        assert_eq!(reopened.events(Csn(1), 100).await.unwrap()[0].verb, "task/create");
        assert_eq!(reopened.state().await.unwrap().0.csn, Csn(2));
    });
}

#[test]
fn scan_returns_entries_in_order_and_within_the_limit() {
    run(async {
        let store = Store::new();
        let engine = store.engine(Threading::Threaded);
        let agent = Agent::register(engine.clone(), "ada").await;
        let _created = agent.run(tasks((0..20).map(|n| format!("task {n}")))).await.unwrap();
        let range = Range::under(&["ready", ""]);
        let all = engine.scan(&range, 100).await.unwrap();
        assert_eq!(all.len(), 20);
        assert!(all.is_sorted());
        let first = engine.scan(&range, 7).await.unwrap();
        assert_eq!(first, all[..7]);
        assert_eq!(engine.scan(&range.after(&first[6]), 100).await.unwrap(), all[7..]);
    });
}

#[test]
fn database_of_a_newer_version_is_refused() {
    let store = Store::new();
    let conn = rusqlite::Connection::open(store.file("agentcoord.db")).unwrap();
    conn.pragma_update(None, "user_version", agentcoord_core::record::SCHEMA + 1).unwrap();
    let state_dir = agentcoord_fs::StateDir::open(store.dir.path()).unwrap();
    let error = agentcoord_fs::Namespace::open(&state_dir, crate::stage::NAMESPACE).unwrap_err();
    assert!(error.to_string().contains("upgrade agentcoord"), "{error}");
}

#[test]
fn file_that_is_no_database_is_reported_as_corrupt() {
    let store = Store::new();
    let dir = tempfile::tempdir().unwrap();
    let state_dir = agentcoord_fs::StateDir::open(dir.path()).unwrap();
    let namespace = dir.path().join("namespaces/other");
    std::fs::create_dir_all(&namespace).unwrap();
    std::fs::copy("/proc/self/exe", namespace.join("agentcoord.db")).unwrap();
    let error = agentcoord_fs::Namespace::open(&state_dir, "other").unwrap_err();
    assert!(matches!(error, agentcoord_core::Error::Corrupt { .. }), "{error:?}");
    drop(store);
}

#[test]
fn events_beyond_the_window_are_deleted_now_and_then() {
    run(async {
        let store = Store::new();
        let engine = store.engine(Threading::Threaded);
        let agent = Agent::register(engine.clone(), "ada").await;
        let _created = agent.run(tasks(["old".to_owned()])).await.unwrap();
        assert_eq!(engine.events(Csn(0), 10).await.unwrap().len(), 2);
        // As if many events had been appended since.
        let mut state = engine.state().await.unwrap().0;
        let trimmed_at = (limits::EVENT_WINDOW + 2).next_multiple_of(256);
        state.csn = Csn(trimmed_at - 2);
        let conn = rusqlite::Connection::open(store.file("agentcoord.db")).unwrap();
        conn.execute("UPDATE state SET state = ?1", [encode(&state).unwrap()]).unwrap();
        for _ in 0..2 {
            assert_eq!(engine.events(Csn(0), 10).await.unwrap()[0].csn, Csn(1));
            let _created = agent.run(tasks(["new".to_owned()])).await.unwrap();
        }
        let kept: Vec<_> = engine.events(Csn(0), 10).await.unwrap().iter().map(|e| e.csn.0).collect();
        assert_eq!(kept, [trimmed_at - 1, trimmed_at]);
    });
}

#[test]
fn replaced_database_is_noticed_by_the_next_call() {
    run(async {
        let store = Store::new();
        let engine = store.engine(Threading::Threaded);
        let agent = Agent::register(engine.clone(), "ada").await;
        let database = store.file("agentcoord.db");
        std::fs::rename(&database, store.file("moved.db")).unwrap();
        std::fs::copy(store.file("moved.db"), &database).unwrap();
        let step = agent.run(tasks(["lost".to_owned()])).await.unwrap_err();
        let read = engine.state().await.unwrap_err();
        for error in [step, read] {
            assert!(matches!(error, agentcoord_core::Error::Unavailable { .. }), "{error:?}");
        }
    });
}

#[test]
fn removed_directory_is_noticed_by_the_next_step() {
    run(async {
        let store = Store::new();
        let engine = store.engine(Threading::Threaded);
        let agent = Agent::register(engine.clone(), "ada").await;
        std::fs::remove_dir_all(store.dir.path().join("namespaces")).unwrap();
        let error = agent.run(tasks(["lost".to_owned()])).await.unwrap_err();
        assert!(matches!(error, agentcoord_core::Error::Unavailable { .. }), "{error:?}");
        assert_eq!(store.namespace.word(), None);
        assert!(store.namespace.row().is_err());
    });
}
