//! A namespace that is deleted below those who have it open.

use std::fs;

use agentcoord_core::Error;
use agentcoord_core::agent::Deregister;
use agentcoord_core::engine::Engine;
use agentcoord_fs::{StateDir, Threading};

use crate::stage::{Agent, NAMESPACE, Store, lock};

async fn gone_for_those_on(threading: Threading) {
    let store = Store::new();
    let state_dir = StateDir::open(store.dir.path()).unwrap();
    assert_eq!(state_dir.namespaces().unwrap(), [NAMESPACE]);
    let engine = store.engine(threading);
    let ann = Agent::register(engine.clone(), "ann").await;
    ann.run(Deregister { reason: None }).await.unwrap();
    // One that has written before, and one that has not.
    for engine in [engine, store.engine(threading)] {
        if store.namespace.directory().exists() {
            store.namespace.purge(&store.namespace.lock_mode().unwrap(), true).unwrap();
        }
        let error = engine.step(ann.call(ann.session(), lock("a", None))).await.unwrap_err();
        assert!(matches!(&error, Error::Unavailable { .. }), "{error:?}");
        assert!(engine.state().await.is_err());
    }
    assert!(!store.namespace.directory().exists());
    assert_eq!(store.namespace.word(), None);
    assert!(store.namespace.lock_mode().is_err());
    assert_eq!(state_dir.namespaces().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn who_writes_on_a_thread_hears_that_the_namespace_is_gone() {
    gone_for_those_on(Threading::Threaded).await;
}

#[tokio::test]
async fn who_writes_directly_hears_that_the_namespace_is_gone() {
    gone_for_those_on(Threading::Direct).await;
}

#[tokio::test]
async fn session_keeps_what_serves_and_leftovers_of_a_purge_go_with_the_next() {
    let store = Store::new();
    let all = store.dir.path().join("namespaces");
    fs::create_dir_all(all.join(".purged-left/sessions")).unwrap();
    let ann = Agent::register(store.engine(Threading::Direct), "ann").await;
    let mode = store.namespace.lock_mode().unwrap();
    let error = store.namespace.purge(&mode, true).unwrap_err();
    assert!(matches!(error, Error::Refused { policy: "sessions_live", .. }), "{error:?}");
    let _granted = ann.run(lock("a", None)).await.unwrap();
    // One that does not serve may go, whatever is written in it.
    store.namespace.purge(&mode, false).unwrap();
    assert_eq!(fs::read_dir(all).unwrap().count(), 0);
}
