//! A differential test that cannot find a difference proves nothing.

use std::sync::Arc;

use agentcoord_core::ids::Epoch;
use agentcoord_core::memory::MemoryEngine;
use agentcoord_testkit::clock::ManualClock;
use agentcoord_testkit::differential;
use agentcoord_testkit::harness::block_on;

fn engine(clock: &Arc<ManualClock>) -> Arc<MemoryEngine> {
    Arc::new(MemoryEngine::new(Epoch(1), clock.clone(), Box::new(|_| {})))
}

#[test]
fn an_engine_whose_time_runs_otherwise_is_found_out_with_the_steps_that_show_it() {
    let (clock, stopped) = (Arc::new(ManualClock::default()), Arc::new(ManualClock::default()));
    let found = block_on(differential::run(engine(&stopped), clock, async || {}, 1, 2_000));
    let difference = found.expect_err("the clocks differ");
    assert!(difference.operation < 50, "{difference}");
    let last = difference.steps.last().expect("the step that shows it");
    assert!(last.starts_with("Ask("), "{difference}");
}

#[test]
fn a_seed_and_the_number_of_operations_name_one_run() {
    let run = || {
        let clock = Arc::new(ManualClock::default());
        block_on(differential::run(engine(&clock), clock, async || {}, 7, 500)).expect("the same machine")
    };
    assert_eq!(run(), run());
}
