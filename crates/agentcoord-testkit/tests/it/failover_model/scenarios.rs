//! What is walked through every day, to the end.

use std::io::Write;
use std::time::Instant;

use stateright::{Checker, Model};

use super::world::Verb::{Acquire, Claim, Complete, Create, Read, Release, Void};
use super::{Faults, Loss, NONE, PLAIN, Scenario};

/// Walks through every order of events, and says how many states there were.
fn holds(name: &str, scenario: Scenario) {
    let began = Instant::now();
    let checker = scenario.checker().spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    let seconds = began.elapsed().as_secs_f32();
    writeln!(std::io::stderr(), "{name}: {states} states, depth {depth}, {seconds:.1} s").expect("a stream");
    checker.assert_properties();
}

#[test]
fn three_processes_go_there_and_back_with_a_kill_and_a_lost_answer() {
    let scenario = Scenario {
        scripts: &[&[Acquire], &[Acquire], &[Create]],
        faults: Faults { crashes: 1, ..NONE },
        losses: &[Loss::Everything],
        returns: 1,
        ..PLAIN
    };
    holds("three processes, Redis loses everything", scenario.clone());
    holds(
        "three processes, Redis loses everything, a kill",
        Scenario { faults: Faults { kills: 1, ..scenario.faults }, ..scenario.clone() },
    );
    holds(
        "three processes, Redis loses everything, a lost answer",
        Scenario { faults: Faults { lost_answers: 1, ..scenario.faults }, ..scenario.clone() },
    );
    holds("both", Scenario { faults: Faults { lost_answers: 1, kills: 1, ..scenario.faults }, ..scenario.clone() });
}

#[test]
fn lockers_of_whom_one_is_cut_off_with_a_late_execution() {
    holds(
        "one is cut off, a late execution",
        Scenario {
            scripts: &[&[Acquire, Release], &[Acquire]],
            faults: Faults { cuts: 1, delays: 1, ..NONE },
            returns: 1,
            ..PLAIN
        },
    );
}

#[test]
fn a_dead_caller_whose_request_is_settled_and_arrives_late() {
    holds(
        "a dead caller",
        Scenario {
            scripts: &[&[Create], &[Void(0), Read]],
            faults: Faults { cuts: 1, kills: 1, ..NONE },
            returns: 1,
            ..PLAIN
        },
    );
}

#[test]
fn redis_restarts_without_its_tail() {
    holds(
        "a lost tail",
        Scenario {
            scripts: &[&[Create], &[Create, Create]],
            faults: Faults { crashes: 1, kills: 1, fetches: 1, ..NONE },
            losses: &[Loss::Nothing, Loss::Tail],
            returns: 1,
            ..PLAIN
        },
    );
}

#[test]
fn what_a_read_has_seen_stays() {
    holds(
        "a read",
        Scenario {
            scripts: &[&[Complete], &[Read, Claim]],
            faults: Faults { crashes: 1, kills: 1, ..NONE },
            losses: &[Loss::Everything],
            returns: 1,
            ..PLAIN
        },
    );
}

#[test]
fn there_and_back_and_there_with_a_writer_and_a_replicator_that_pause() {
    holds(
        "flapping",
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
fn an_old_dump_comes_back() {
    holds(
        "an old dump",
        Scenario {
            scripts: &[&[Create, Create], &[Create]],
            faults: Faults { crashes: 2, ..NONE },
            losses: &[Loss::Everything, Loss::OldDump],
            returns: 1,
            is_trimmed: true,
            ..PLAIN
        },
    );
}

#[test]
fn another_host_founds_the_namespace() {
    holds(
        "another host",
        Scenario {
            scripts: &[&[Create, Create], &[Create]],
            faults: Faults { crashes: 1, foundings: 1, kills: 1, ..NONE },
            losses: &[Loss::Everything],
            returns: 1,
            ..PLAIN
        },
    );
}

#[test]
fn a_cold_replica_does_not_take_over() {
    holds(
        "a cold replica",
        Scenario {
            scripts: &[&[Create, Create], &[Create]],
            faults: Faults { crashes: 1, kills: 1, ..NONE },
            losses: &[Loss::Nothing, Loss::Everything],
            is_cold: true,
            ..PLAIN
        },
    );
}
