//! Each guard is taken away once: the properties notice, or they would be worth nothing.

use std::io::Write;
use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use super::properties::{
    FENCES_RISE, NO_GAP, NOBODY_STUCK, NOTHING_FOREIGN, NOTHING_LOST, ONCE, ONE_HOLDER, VOID_STAYS_VOID,
};
use super::world::Verb::{Acquire, Claim, Complete, Create, Read, Release, Void};
use super::{Faults, Guard, Loss, NONE, PLAIN, Scenario};

/// With all guards the scenario holds; without this one, one of these properties does not.
fn is_noticed(guard: Guard, broken: &[&str], scenario: Scenario) {
    let began = Instant::now();
    let whole = scenario.clone().checker().spawn_bfs().join();
    let failures = |checker: &dyn Fn(&'static str) -> Option<usize>| {
        let always = scenario.properties().into_iter().filter(|p| p.expectation == Expectation::Always);
        always.filter_map(|p| checker(p.name).map(|length| (p.name, length))).collect::<Vec<_>>()
    };
    let found = failures(&|name| whole.discovery(name).map(|path| path.into_actions().len()));
    assert_eq!(found, [], "with all guards");
    let without = Scenario { without: Some(guard), ..scenario.clone() };
    let checker = without.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = failures(&|name| checker.discovery(name).map(|path| path.into_actions().len()));
    let seconds = began.elapsed().as_secs_f32();
    let states = (whole.unique_state_count(), checker.unique_state_count());
    writeln!(std::io::stderr(), "without {guard:?}: {found:?}; {states:?} states, {seconds:.1} s").expect("a stream");
    assert!(found.iter().any(|(name, _)| broken.contains(name)), "without {guard:?} nobody notices: {found:?}");
}

const LOSS: Scenario = Scenario { faults: Faults { crashes: 1, ..NONE }, losses: &[Loss::Everything], ..PLAIN };

#[test]
fn without_the_phase_gate_what_was_acknowledged_is_lost() {
    is_noticed(Guard::PhaseGate, &[NOTHING_LOST], Scenario { scripts: &[&[Create, Create], &[Create]], ..LOSS });
}

#[test]
fn without_the_row_in_file_transactions_what_was_acknowledged_is_lost() {
    is_noticed(
        Guard::RowInFileTransactions,
        &[NOTHING_LOST, ONE_HOLDER],
        Scenario { scripts: &[&[Create], &[Create, Read]], returns: 1, ..LOSS },
    );
}

#[test]
fn without_the_row_in_the_replicator_what_was_acknowledged_is_lost() {
    is_noticed(
        Guard::RowInReplicator,
        &[NOTHING_LOST],
        Scenario {
            scripts: &[&[Create, Create], &[Create]],
            faults: Faults { crashes: 1, cuts: 1, fetches: 1, ..NONE },
            losses: &[Loss::Everything],
            returns: 1,
            ..PLAIN
        },
    );
}

#[test]
fn without_the_ring_in_events_a_request_takes_effect_twice() {
    is_noticed(Guard::RingInEvents, &[ONCE], Scenario { scripts: &[&[Create]], ..LOSS });
}

#[test]
fn without_admission_to_a_run_what_was_acknowledged_is_lost() {
    is_noticed(
        Guard::RunAdmission,
        &[NOTHING_LOST],
        Scenario { scripts: &[&[Create], &[Create]], losses: &[Loss::Tail], ..LOSS },
    );
}

#[test]
fn without_the_prefix_of_writes_a_take_over_finds_a_gap() {
    is_noticed(Guard::PrefixOfWrites, &[NO_GAP], Scenario { scripts: &[&[Complete], &[Claim]], ..LOSS });
}

#[test]
fn without_the_prefix_of_reads_what_was_read_is_lost() {
    is_noticed(Guard::PrefixOfReads, &[NOTHING_LOST], Scenario { scripts: &[&[Complete], &[Read]], ..LOSS });
}

#[test]
fn without_the_epoch_in_the_journal_a_dead_branch_is_installed() {
    is_noticed(
        Guard::EpochInJournal,
        &[NOTHING_LOST],
        Scenario {
            scripts: &[&[Create, Create], &[Create]],
            faults: Faults { crashes: 1, cuts: 1, ..NONE },
            losses: &[Loss::Everything],
            returns: 1,
            ..PLAIN
        },
    );
}

#[test]
fn without_closing_first_a_straggler_runs_while_the_state_is_written_back() {
    is_noticed(
        Guard::CloseFirst,
        &[ONE_HOLDER, ONCE, NOTHING_LOST],
        Scenario { scripts: &[&[Acquire], &[Acquire]], faults: Faults { cuts: 1, ..NONE }, returns: 1, ..PLAIN },
    );
}

#[test]
fn without_a_tombstone_a_voided_request_takes_effect() {
    is_noticed(
        Guard::Tombstone,
        &[VOID_STAYS_VOID],
        Scenario { scripts: &[&[Create], &[Void(0)]], faults: Faults { kills: 1, ..NONE }, ..PLAIN },
    );
}

#[test]
fn without_the_journal_before_the_last_look_what_was_acknowledged_is_lost() {
    is_noticed(Guard::AppendFirst, &[NOTHING_LOST], Scenario { scripts: &[&[Create], &[Create]], ..LOSS });
}

#[test]
fn without_the_last_look_what_was_acknowledged_is_lost() {
    is_noticed(Guard::LastLook, &[NOTHING_LOST], Scenario { scripts: &[&[Create], &[Create]], ..LOSS });
}

#[test]
fn without_the_demand_for_a_complete_replica_what_was_acknowledged_is_lost() {
    is_noticed(
        Guard::CompleteReplica,
        &[NOTHING_LOST, NO_GAP],
        Scenario { scripts: &[&[Create]], is_cold: true, ..LOSS },
    );
}

#[test]
fn without_a_look_at_the_lineage_another_hosts_namespace_is_written_over() {
    is_noticed(
        Guard::Lineage,
        &[NOTHING_FOREIGN],
        Scenario { scripts: &[&[Create]], faults: Faults { crashes: 1, foundings: 1, ..NONE }, returns: 1, ..LOSS },
    );
}

#[test]
fn without_the_epoch_of_the_watermark_what_was_acknowledged_is_lost() {
    is_noticed(
        Guard::EpochOfWatermark,
        &[NOTHING_LOST, NO_GAP],
        Scenario {
            scripts: &[&[Create, Create], &[Create]],
            faults: Faults { crashes: 1, cuts: 1, ..NONE },
            losses: &[Loss::Everything],
            returns: 1,
            ..PLAIN
        },
    );
}

#[test]
fn without_a_second_reading_a_take_over_stumbles_over_a_gap_that_fills() {
    is_noticed(
        Guard::SecondReading,
        &[NO_GAP],
        Scenario { scripts: &[&[Create], &[Create], &[Create]], faults: Faults { cuts: 1, ..NONE }, ..PLAIN },
    );
}

#[test]
fn without_the_same_lineage_an_old_dump_looks_foreign() {
    is_noticed(
        Guard::SameLineage,
        &[NOBODY_STUCK],
        Scenario {
            scripts: &[&[Create, Create]],
            faults: Faults { crashes: 2, ..NONE },
            losses: &[Loss::Everything, Loss::OldDump],
            returns: 1,
            ..PLAIN
        },
    );
}

#[test]
fn without_final_refusals_a_lock_is_granted_late() {
    is_noticed(
        Guard::FinalRefusals,
        &[ONE_HOLDER, FENCES_RISE],
        Scenario { scripts: &[&[Acquire, Release], &[Acquire]], faults: Faults { delays: 1, ..NONE }, ..PLAIN },
    );
}
