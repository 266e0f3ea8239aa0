//! The machine in memory: what is derived always equals what the records imply.

use std::sync::Arc;

use agentcoord_core::ids::Epoch;
use agentcoord_core::memory::MemoryEngine;
use agentcoord_core::script;
use agentcoord_testkit::clock::ManualClock;
use agentcoord_testkit::{differential, harness};

#[test]
fn derived_rows_are_what_the_records_imply() {
    for seed in 1..=4 {
        let clock = Arc::new(ManualClock::default());
        let engine = Arc::new(MemoryEngine::new(Epoch(1), clock.clone(), Box::new(|_| {})));
        let run = differential::run(engine, clock, async || {}, seed, 5_000);
        let report = harness::block_on(run).unwrap_or_else(|difference| panic!("{difference}"));
        assert!(report.done * 2 > report.operations, "most operations should do something: {report:?}");
        // Each verb must come to an outcome in every run.
        assert_eq!(report.verbs.len(), script::ALL.len(), "{report:?}");
        assert!(report.verbs.values().all(|done| *done > 0), "{report:?}");
    }
}
