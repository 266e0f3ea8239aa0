//! The mode row, its word, and the epoch check of steps.

use std::os::unix::fs::FileExt;

use agentcoord_core::engine::Engine;
use agentcoord_core::ids::{Epoch, Id};
use agentcoord_core::{Disposition, Error};
use agentcoord_fs::{ModeEngine, ModeRow, Phase, Threading};

use crate::stage::{Agent, EPOCH, Store, open, run, tasks};

#[test]
fn row_and_word_are_read_back_as_written() {
    let store = Store::without_mode();
    assert_eq!((store.namespace.word(), store.namespace.row().unwrap()), (None, None));
    let row = ModeRow {
        phase: Phase::Returning,
        attempt: 3,
        complainant: Some("ada".into()),
        run_id: Some("abc".into()),
        instance: Some("def".into()),
        generation: 2,
        reason: Some("gone".into()),
        replica_complete: true,
        right_to_take_over: true,
        owner: Some(Id::random()),
        ..ModeRow::serving(Epoch(16_000), ModeEngine::Redis)
    };
    store.namespace.lock_mode().unwrap().write(&row).unwrap();
    let other = open(store.dir.path());
    assert_eq!(other.row().unwrap().as_ref(), Some(&row));
    assert_eq!(other.word(), Some(row.word()));
    // A handle that was open before sees the change as well.
    assert_eq!(store.namespace.word(), Some(row.word()));
}

#[test]
fn epoch_never_goes_back() {
    let store = Store::new();
    let lock = store.namespace.lock_mode().unwrap();
    let error = lock.write(&ModeRow::serving(Epoch(EPOCH.0 - 1), ModeEngine::Redis)).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert!(lock.write(&ModeRow::serving(Epoch(1 << 17), ModeEngine::Redis)).is_err());
    assert_eq!(lock.row().unwrap(), Some(ModeRow::serving(EPOCH, ModeEngine::Files)));
}

#[test]
fn torn_word_is_no_word_and_publishing_repairs_it() {
    let store = Store::new();
    let word = store.namespace.word();
    let file = std::fs::OpenOptions::new().write(true).open(store.file("mode")).unwrap();
    file.write_all_at(&[9], 0).unwrap();
    assert_eq!(store.namespace.word(), None);
    assert!(store.namespace.lock_mode().unwrap().publish().unwrap().is_some());
    assert_eq!(store.namespace.word(), word);
}

#[test]
fn word_that_lags_behind_its_row_refuses_steps_and_publishing_repairs_it() {
    run(async {
        let store = Store::new();
        let agent = Agent::register(store.engine(Threading::Threaded), "ada").await;
        // A process that ended between the row and the word.
        let conn = rusqlite::Connection::open(store.file("agentcoord.db")).unwrap();
        conn.execute("UPDATE mode SET epoch = epoch + 1, engine = 'redis'", []).unwrap();
        assert_eq!(store.namespace.word().map(|w| w.epoch), Some(EPOCH));
        let error = agent.run(tasks(["late".to_owned()])).await.unwrap_err();
        assert!(matches!(error, Error::Fenced { epoch: EPOCH, .. }), "{error:?}");
        let row = store.namespace.lock_mode().unwrap().publish().unwrap().unwrap();
        assert_eq!(store.namespace.word(), Some(row.word()));
    });
}

#[test]
fn steps_are_refused_unless_files_serve_in_the_epoch_of_the_call() {
    run(async {
        let store = Store::new();
        let engine = store.engine(Threading::Threaded);
        let agent = Agent::register(engine.clone(), "ada").await;
        let before = engine.dump().await.unwrap();
        let serving = ModeRow::serving(EPOCH, ModeEngine::Files);
        for row in [
            ModeRow { phase: Phase::Preparing, ..serving.clone() },
            ModeRow { engine: ModeEngine::Redis, ..serving.clone() },
            ModeRow { epoch: Epoch(EPOCH.0 + 1), ..serving },
        ] {
            store.namespace.lock_mode().unwrap().write(&row).unwrap();
            let error = agent.run(tasks(["late".to_owned()])).await.unwrap_err();
            assert!(matches!(error, Error::Fenced { epoch: EPOCH, .. }), "{row:?}: {error:?}");
            assert_eq!(error.disposition(), Disposition::Unavailable);
        }
        let after = engine.dump().await.unwrap();
        assert_eq!((before.records, before.state), (after.records, after.state));
    });
}

#[test]
fn steps_before_an_engine_was_chosen_are_unavailable() {
    run(async {
        let (chosen, store) = (Store::new(), Store::without_mode());
        let agent = Agent::register(chosen.engine(Threading::Direct), "ada").await;
        let call = agent.call(agent.session(), tasks(["early".to_owned()]));
        let error = store.engine(Threading::Direct).step(call).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    });
}

#[test]
fn wait_for_a_lock_that_is_not_let_go_ends_and_names_the_process() {
    run(async {
        let store = Store::new();
        let agent = Agent::register(store.engine(Threading::Threaded), "ada").await;
        // As a stopped process would sit in both.
        let mode_lock = store.namespace.lock_mode().unwrap();
        let door = std::fs::OpenOptions::new().read(true).write(true).open(store.file("writer.lock")).unwrap();
        rustix::fs::flock(&door, rustix::fs::FlockOperation::LockExclusive).unwrap();
        door.write_all_at(b"4242      \n", 0).unwrap();

        let namespace = store.namespace.clone();
        let mode = tokio::task::spawn_blocking(move || namespace.lock_mode().map(|_| ()));
        let step = agent.run(tasks(["stuck".to_owned()])).await.unwrap_err().to_string();
        let mode = mode.await.unwrap().unwrap_err().to_string();
        assert!(step.contains("process 4242 sits in it"), "{step}");
        assert!(mode.contains(&format!("process {} sits in it", std::process::id())), "{mode}");

        drop((mode_lock, door));
        assert!(agent.run(tasks(["free again".to_owned()])).await.is_ok());
        assert!(store.namespace.lock_mode().is_ok());
    });
}

#[test]
fn waiting_again_for_a_lock_that_is_not_let_go_takes_no_further_files() {
    let store = Store::new();
    let door = std::fs::File::open(store.file("mode.lock")).unwrap();
    rustix::fs::flock(&door, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let open_doors = || {
        let files =
            std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        files.filter(|path| *path == store.file("mode.lock")).count()
    };
    assert!(store.namespace.lock_mode().is_err());
    let waiting = open_doors();
    assert!(store.namespace.lock_mode().is_err());
    assert_eq!(open_doors(), waiting);
    drop(door);
    assert!(store.namespace.lock_mode().is_ok());
}
