//! Each guard is taken away once: the properties notice, or they would be worth nothing.

use std::io::Write;
use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use super::properties::{
    NO_GAP, NOBODY_STUCK, NOTHING_FOREIGN, NOTHING_LOST, ONCE, ONE_HOLDER, REFUSED_STAYS_REFUSED, VOID_STAYS_VOID,
};
use super::world::Verb::{Acquire, Claim, Complete, Create, Read, Release, Void};
use super::{Faults, Guard, Loss, NONE, PLAIN, Scenario};

/// With all guards the scenario holds; without this one, this property does not.
fn is_noticed(guard: Guard, broken: &'static str, scenario: Scenario) {
    let began = Instant::now();
    let whole = scenario.clone().checker().spawn_bfs().join();
    for property in scenario.properties().iter().filter(|p| p.expectation == Expectation::Always) {
        whole.assert_no_discovery(property.name);
    }
    let without = Scenario { without: Some(guard), ..scenario };
    let finish = HasDiscoveries::AnyOf([broken].into());
    let checker = without.checker().finish_when(finish).spawn_bfs().join();
    let seconds = began.elapsed().as_secs_f32();
    let found = checker.discovery(broken).map(|path| path.into_actions());
    let (states, steps) = (whole.unique_state_count(), found.as_ref().map(Vec::len));
    writeln!(
        std::io::stderr(),
        "without {guard:?}: {steps:?} steps, {states} states with it, {seconds:.1} s: {found:?}"
    )
    .expect("a stream");
    assert!(found.is_some(), "without {guard:?} nobody notices that {broken}");
}

/// Redis is killed and has lost everything.
const LOSS: Scenario = Scenario { faults: Faults { crashes: 1, ..NONE }, losses: &[Loss::Everything], ..PLAIN };

#[test]
fn without_the_phase_gate_what_was_acknowledged_is_lost() {
    let scenario = Scenario { scripts: &[&[Create, Create], &[Create]], ..LOSS };
    is_noticed(Guard::PhaseGate, NOTHING_LOST, scenario);
}

#[test]
fn without_the_row_in_file_transactions_what_was_acknowledged_is_lost() {
    let scenario = Scenario { scripts: &[&[Create], &[Create, Read]], returns: 1, ..LOSS };
    is_noticed(Guard::RowInFileTransactions, NOTHING_LOST, scenario);
}

#[test]
fn without_the_row_in_the_replicator_what_was_acknowledged_is_lost() {
    let scenario = Scenario {
        scripts: &[&[Create], &[Create]],
        faults: Faults { crashes: 1, cuts: 1, fetches: 1, ..NONE },
        returns: 1,
        ..LOSS
    };
    is_noticed(Guard::RowInReplicator, NOTHING_LOST, scenario);
}

#[test]
fn without_the_ring_in_events_a_request_takes_effect_twice() {
    let scenario = Scenario { scripts: &[&[Create], &[Create]], ..LOSS };
    is_noticed(Guard::RingInEvents, ONCE, scenario);
}

#[test]
fn without_admission_to_a_run_what_was_acknowledged_is_lost() {
    let scenario = Scenario { scripts: &[&[Create], &[Create]], losses: &[Loss::Tail], ..LOSS };
    is_noticed(Guard::RunAdmission, NOTHING_LOST, scenario);
}

#[test]
fn without_the_prefix_of_writes_a_take_over_finds_a_gap() {
    let scenario = Scenario { scripts: &[&[Complete], &[Claim]], ..LOSS };
    is_noticed(Guard::PrefixOfWrites, NO_GAP, scenario);
}

#[test]
fn without_the_prefix_of_reads_what_was_read_is_lost() {
    let scenario = Scenario { scripts: &[&[Complete], &[Read]], ..LOSS };
    is_noticed(Guard::PrefixOfReads, NOTHING_LOST, scenario);
}

#[test]
fn without_the_epoch_in_the_journal_a_dead_branch_is_installed() {
    let scenario = Scenario {
        scripts: &[&[Create], &[Create]],
        faults: Faults { crashes: 1, cuts: 1, ..NONE },
        returns: 1,
        ..LOSS
    };
    is_noticed(Guard::EpochInJournal, NOTHING_LOST, scenario);
}

#[test]
fn without_closing_first_a_straggler_runs_while_the_state_is_written_back() {
    let scenario =
        Scenario { scripts: &[&[Acquire], &[Acquire]], faults: Faults { cuts: 1, ..NONE }, returns: 1, ..PLAIN };
    is_noticed(Guard::CloseFirst, ONE_HOLDER, scenario);
}

#[test]
fn without_the_attempt_in_what_is_written_back_a_dead_return_writes_over_a_live_one() {
    let scenario = Scenario {
        scripts: &[&[Create], &[Create, Create]],
        faults: Faults { cuts: 1, kills: 1, ..NONE },
        returns: 2,
        ..PLAIN
    };
    is_noticed(Guard::AttemptInWrites, NOTHING_LOST, scenario);
}

#[test]
fn without_a_watermark_that_waits_for_the_journal_a_take_over_finds_a_gap() {
    let scenario = Scenario { scripts: &[&[Create], &[Create]], ..LOSS };
    is_noticed(Guard::WatermarkAfterAppend, NO_GAP, scenario);
}

#[test]
fn without_the_install_before_a_record_is_dropped_what_was_acknowledged_is_lost() {
    let scenario = Scenario {
        scripts: &[&[Create, Create], &[Create]],
        faults: Faults { cuts: 1, ..NONE },
        is_trimmed: true,
        ..PLAIN
    };
    is_noticed(Guard::TrimAfterInstall, NOTHING_LOST, scenario);
}

#[test]
fn without_a_tombstone_a_voided_request_takes_effect() {
    let scenario = Scenario { scripts: &[&[Create], &[Void(0)]], faults: Faults { kills: 1, ..NONE }, ..PLAIN };
    is_noticed(Guard::Tombstone, VOID_STAYS_VOID, scenario);
}

#[test]
fn without_the_journal_before_the_last_look_what_was_acknowledged_is_lost() {
    let scenario = Scenario { scripts: &[&[Create], &[Create]], ..LOSS };
    is_noticed(Guard::AppendFirst, NOTHING_LOST, scenario);
}

#[test]
fn without_the_last_look_what_was_acknowledged_is_lost() {
    let scenario = Scenario { scripts: &[&[Create], &[Create]], ..LOSS };
    is_noticed(Guard::LastLook, NOTHING_LOST, scenario);
}

#[test]
fn without_the_demand_for_a_complete_replica_what_was_acknowledged_is_lost() {
    let scenario = Scenario { scripts: &[&[Create]], is_cold: true, ..LOSS };
    is_noticed(Guard::CompleteReplica, NOTHING_LOST, scenario);
}

#[test]
fn without_a_look_at_the_lineage_another_hosts_namespace_is_written_over() {
    let scenario =
        Scenario { scripts: &[&[Create]], faults: Faults { crashes: 1, foundings: 1, ..NONE }, returns: 1, ..LOSS };
    is_noticed(Guard::Lineage, NOTHING_FOREIGN, scenario);
}

#[test]
fn without_the_epoch_of_the_watermark_what_was_acknowledged_is_lost() {
    let scenario = Scenario {
        scripts: &[&[Create], &[Create]],
        faults: Faults { crashes: 1, cuts: 1, ..NONE },
        returns: 1,
        ..LOSS
    };
    is_noticed(Guard::EpochOfWatermark, NOTHING_LOST, scenario);
}

#[test]
fn without_what_is_known_before_the_word_a_take_over_stumbles_over_a_gap() {
    let scenario = Scenario {
        scripts: &[&[Create], &[Create], &[Create]],
        faults: Faults { cuts: 1, ..NONE },
        is_unhurried: true,
        ..PLAIN
    };
    is_noticed(Guard::KnownBeforeWord, NO_GAP, scenario);
}

#[test]
fn without_the_same_lineage_an_old_dump_looks_foreign() {
    let scenario = Scenario {
        scripts: &[&[Create, Create]],
        faults: Faults { crashes: 2, ..NONE },
        losses: &[Loss::Everything, Loss::OldDump],
        returns: 1,
        ..PLAIN
    };
    is_noticed(Guard::SameLineage, NOBODY_STUCK, scenario);
}

#[test]
fn without_final_refusals_a_lock_is_granted_to_who_was_refused() {
    let scenario =
        Scenario { scripts: &[&[Acquire, Release], &[Acquire]], faults: Faults { delays: 1, ..NONE }, ..PLAIN };
    is_noticed(Guard::FinalRefusals, REFUSED_STAYS_REFUSED, scenario);
}
