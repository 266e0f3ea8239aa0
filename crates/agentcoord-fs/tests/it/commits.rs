//! Group commit, and what fails alone or together.

use std::fs::File;

use agentcoord_core::engine::Engine;
use agentcoord_core::table::Table;
use agentcoord_core::{Disposition, Error};
use agentcoord_fs::Threading;
use rusqlite::Connection;
use rustix::fs::{FlockOperation, flock};

use crate::stage::{Agent, Store, run, tasks};

/// Makes every step fail, in the middle of its writes, that stores a text with `poison` in it.
fn poison(store: &Store, how: &str) {
    let sql = format!(
        "CREATE TRIGGER poison BEFORE INSERT ON event WHEN instr(NEW.event, CAST('poison' AS BLOB)) > 0 \
         BEGIN SELECT RAISE({how}, 'poisoned'); END"
    );
    Connection::open(store.file("agentcoord.db")).unwrap().execute_batch(&sql).unwrap();
}

/// Sends requests that are committed together: the turnstile is shut until all of them wait.
async fn together(store: &Store, titles: &[String]) -> (Vec<Result<(), Error>>, Vec<String>) {
    let engine = store.engine(Threading::Threaded);
    let agent = Agent::register(engine.clone(), "ada").await;
    let shut = File::open(store.file("writer.lock")).unwrap();
    flock(&shut, FlockOperation::LockExclusive).unwrap();
    let steps: Vec<_> = titles
        .iter()
        .map(|title| {
            let (engine, call) = (engine.clone(), agent.call(agent.session(), tasks([title.clone()])));
            tokio::spawn(async move { engine.step(call).await.map(|_| ()) })
        })
        .collect();
    tokio::task::yield_now().await;
    drop(shut);
    let mut results = Vec::new();
    for step in steps {
        results.push(step.await.unwrap());
    }
    let stored = engine.dump().await.unwrap();
    let found = stored.events.iter().filter(|e| e.verb == "task/create");
    let found = found.map(|e| format!("{:?}", e.images)).collect();
    assert_eq!(stored.state.counts.pending as usize, stored.events.len() - 1, "counters and events agree");
    let records = stored.records.keys().filter(|(table, _)| *table == Table::Task).count();
    let entries = stored.entries.iter().filter(|entry| entry.parts()[0] == "ready").count();
    assert_eq!((records, entries), (stored.events.len() - 1, stored.events.len() - 1), "and records and index");
    (results, found)
}

#[test]
fn failing_request_does_not_spoil_the_others_of_its_commit() {
    run(async {
        let store = Store::new();
        poison(&store, "ABORT");
        let titles: Vec<_> =
            (0..64).map(|n| if n % 8 == 3 { format!("poison {n}") } else { format!("good {n}") }).collect();
        let (results, stored) = together(&store, &titles).await;
        for (title, result) in titles.iter().zip(&results) {
            assert_eq!(result.is_ok(), title.starts_with("good"), "{title}: {result:?}");
        }
        assert_eq!(stored.len(), 56);
        assert!(
            Agent::register(store.engine(Threading::Direct), "bob").await.run(tasks(["after".into()])).await.is_ok()
        );
    });
}

#[test]
fn commit_that_sqlite_gives_up_is_answered_as_not_happened() {
    run(async {
        let store = Store::new();
        poison(&store, "ROLLBACK");
        let titles: Vec<_> = (0..32).map(|n| if n == 20 { "poison".to_owned() } else { format!("good {n}") }).collect();
        let (results, stored) = together(&store, &titles).await;
        // Requests of earlier or later commits succeed; what was answered is what is there.
        assert!(results[20].is_err());
        let succeeded = results.iter().filter(|r| r.is_ok()).count();
        assert_eq!(stored.len(), succeeded);
        for error in results.iter().enumerate().filter(|(n, _)| *n != 20).filter_map(|(_, r)| r.as_ref().err()) {
            assert_eq!(error.disposition(), Disposition::Unavailable, "{error:?}");
        }
    });
}

#[test]
fn direct_step_that_fails_leaves_nothing_behind() {
    run(async {
        let store = Store::new();
        poison(&store, "ABORT");
        let engine = store.engine(Threading::Direct);
        let agent = Agent::register(engine.clone(), "ada").await;
        let before = engine.dump().await.unwrap();
        assert!(agent.run(tasks(["poison".to_owned()])).await.is_err());
        let after = engine.dump().await.unwrap();
        assert_eq!(before.records, after.records);
        assert_eq!((before.entries, before.state), (after.entries, after.state));
    });
}
