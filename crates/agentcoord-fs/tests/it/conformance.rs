//! The engine against the conformance cases and against the machine, in both ways of threading.

use std::sync::Arc;

use agentcoord_core::engine::Engine;
use agentcoord_fs::{Durability, FsEngine, Threading};
use agentcoord_testkit::clock::ManualClock;
use agentcoord_testkit::harness::{Harness, block_on};
use agentcoord_testkit::{conformance, differential};
use async_trait::async_trait;

use crate::stage::{EPOCH, Store, open};

struct FsHarness {
    store: Store,
    clock: Arc<ManualClock>,
    threading: Threading,
    engine: Arc<dyn Engine>,
}

impl FsHarness {
    fn open(store: &Store, clock: &Arc<ManualClock>, threading: Threading) -> Arc<dyn Engine> {
        // Opened from the directory, as another process would.
        let namespace = open(store.dir.path());
        Arc::new(FsEngine::open(&namespace, EPOCH, clock.clone(), Durability::Process, threading).unwrap())
    }
}

#[async_trait]
impl Harness for FsHarness {
    fn variants() -> Vec<String> {
        ["threaded", "direct"].map(str::to_owned).to_vec()
    }

    async fn start(variant: &str) -> Self {
        let threading = if variant == "direct" { Threading::Direct } else { Threading::Threaded };
        let (store, clock) = (Store::new(), Arc::new(ManualClock::default()));
        let engine = Self::open(&store, &clock, threading);
        Self { store, clock, threading, engine }
    }

    fn clock(&self) -> Arc<ManualClock> {
        self.clock.clone()
    }

    fn engine(&self) -> Arc<dyn Engine> {
        self.engine.clone()
    }

    async fn peer(&self) -> Arc<dyn Engine> {
        Self::open(&self.store, &self.clock, self.threading)
    }
}

conformance!(FsHarness);

#[test]
fn the_file_and_the_machine_in_memory_hold_the_same() {
    block_on(async {
        for (seed, variant) in (1..).zip(FsHarness::variants()) {
            for (seed, operations) in differential::sequences(seed) {
                let harness = FsHarness::start(&variant).await;
                let run = differential::run(harness.engine(), harness.clock(), async || {}, seed, operations);
                let report = run.await.unwrap_or_else(|difference| panic!("{variant}: {difference}"));
                assert!(report.done * 2 > report.operations, "most operations should do something: {report:?}");
            }
        }
    });
}
