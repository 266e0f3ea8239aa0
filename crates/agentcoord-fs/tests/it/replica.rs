//! The files as a replica: what is applied, and what is not.

use std::collections::HashMap;
use std::sync::Arc;

use agentcoord_core::engine::Engine;
use agentcoord_core::ids::{Csn, Epoch};
use agentcoord_core::memory::MemoryEngine;
use agentcoord_core::op::encode_compact;
use agentcoord_core::replica::Logged;
use agentcoord_core::table::Table;
use agentcoord_core::{Error, time::Clock};
use agentcoord_fs::{Durability, ModeEngine, ModeRow, Phase, Replica, SystemClock, Threading};

use crate::stage::{Agent, EPOCH, Store, run, tasks};

/// The log of an engine in memory on which an agent has made some tasks, and that engine.
async fn log() -> (Vec<Logged>, MemoryEngine) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let engine = MemoryEngine::new(EPOCH, clock, Box::new(|_| {}));
    let agent = Agent::register(Arc::new(engine.clone()), "ada").await;
    let mut log = Vec::new();
    for number in 0..5 {
        agent.run(tasks([format!("task {number}")])).await.unwrap();
        let known = Csn(log.len() as u64);
        let state = encode_compact(&engine.dump().state).unwrap();
        for event in engine.events(known, 10).await.unwrap() {
            // Of two events between two looks only the last one's state is known; the first one is the registration.
            let mut then = engine.dump().state;
            then.csn = event.csn;
            let state =
                if event.csn == engine.dump().state.csn { state.clone() } else { encode_compact(&then).unwrap() };
            log.push(Logged { csn: event.csn, event: encode_compact(&event).unwrap(), state });
        }
    }
    (log, engine)
}

fn mirrored(epoch: Epoch) -> ModeRow {
    ModeRow { replica_complete: true, right_to_take_over: true, ..ModeRow::serving(epoch, ModeEngine::Redis) }
}

/// A store on which Redis serves.
fn store() -> Store {
    let store = Store::without_mode();
    store.namespace.lock_mode().unwrap().write(&mirrored(EPOCH)).unwrap();
    store
}

#[test]
fn events_applied_in_order_make_the_state_of_their_engine() {
    run(async {
        let (log, engine) = log().await;
        let store = store();
        let mut replica = Replica::open(&store.namespace, Durability::Process).unwrap();
        assert_eq!(replica.apply(EPOCH, log[..2].to_vec(), HashMap::new()).unwrap(), Csn(2));
        // What is known already is passed over.
        assert_eq!(replica.apply(EPOCH, log.clone(), HashMap::new()).unwrap(), Csn(log.len() as u64));
        let files = store.engine(Threading::Direct).dump().await.unwrap();
        let mut memory = engine.dump();
        memory.records.retain(|(table, _), _| *table != Table::Pulse);
        assert_eq!((files.records, files.entries), (memory.records, memory.entries));
        assert_eq!(files.state, memory.state);
    });
}

#[test]
fn events_of_an_epoch_that_is_over_are_not_applied() {
    run(async {
        let (log, _) = log().await;
        let store = store();
        let mut replica = Replica::open(&store.namespace, Durability::Process).unwrap();
        let later = Epoch(EPOCH.0 + 2);
        for row in [
            ModeRow { phase: Phase::Preparing, ..ModeRow::serving(Epoch(EPOCH.0 + 1), ModeEngine::Files) },
            ModeRow::serving(Epoch(EPOCH.0 + 1), ModeEngine::Files),
            mirrored(later),
        ] {
            store.namespace.lock_mode().unwrap().write(&row).unwrap();
            let error = replica.apply(EPOCH, log.clone(), HashMap::new()).unwrap_err();
            assert!(matches!(error, Error::Fenced { epoch: EPOCH, .. }), "{row:?}: {error:?}");
        }
        assert_eq!(store.namespace.csn().unwrap(), Csn(0));
    });
}

#[test]
fn events_behind_a_gap_are_not_applied() {
    run(async {
        let (log, _) = log().await;
        let store = store();
        let mut replica = Replica::open(&store.namespace, Durability::Process).unwrap();
        let error = replica.apply(EPOCH, log[1..].to_vec(), HashMap::new()).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
        assert_eq!(store.namespace.csn().unwrap(), Csn(0));
    });
}
