//! The machine in memory: what is derived always equals what the records imply.

use std::collections::BTreeMap;
use std::sync::Arc;

use agentcoord_core::ids::Epoch;
use agentcoord_core::memory::MemoryEngine;
use agentcoord_core::script;
use agentcoord_testkit::clock::ManualClock;
use agentcoord_testkit::{differential, harness};

#[test]
fn derived_rows_are_what_the_records_imply() {
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 1..=4 {
        let clock = Arc::new(ManualClock::default());
        let engine = Arc::new(MemoryEngine::new(Epoch(1), clock.clone(), Box::new(|_| {})));
        let run = differential::run(engine, clock, async || {}, seed, 5_000);
        let report = harness::block_on(run).unwrap_or_else(|difference| panic!("{difference}"));
        assert!(report.done * 2 > report.operations, "most operations should do something: {report:?}");
        for (verb, done) in report.verbs {
            *outcomes.entry(verb).or_default() += done;
        }
    }
    assert_eq!(outcomes.len(), script::ALL.len(), "{outcomes:?}");
    assert!(outcomes.values().all(|done| *done > 0), "each verb must come to an outcome: {outcomes:?}");
}
