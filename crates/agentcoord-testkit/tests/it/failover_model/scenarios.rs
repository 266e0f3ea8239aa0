//! What is walked through every day, to the end, and what is walked through as far as one likes.

use std::io::Write;
use std::time::Instant;

use stateright::{Checker, Expectation, Model, UniformChooser};

use super::world::Verb::{Acquire, Claim, Complete, Create, Read, Release, Void};
use super::{Faults, Loss, NONE, PLAIN, Scenario};

fn report(name: &str, checker: &impl Checker<Scenario>, began: Instant) {
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    let seconds = began.elapsed().as_secs_f32();
    writeln!(std::io::stderr(), "{name}: {states} states, depth {depth}, {seconds:.1} s").expect("a stream");
}

/// What must always hold does. A counterexample is told as the steps that lead there.
fn nothing_is_broken(scenario: &Scenario, checker: &impl Checker<Scenario>) {
    for property in scenario.properties().iter().filter(|property| property.expectation == Expectation::Always) {
        let broken = checker.discovery(property.name).map(|path| path.into_actions());
        assert_eq!(broken, None, "not true: {}", property.name);
    }
}

/// Walks through every order of events, and says how many states there were.
fn holds(name: &str, scenario: Scenario) {
    let began = Instant::now();
    let checker = scenario.clone().checker().spawn_bfs().join();
    report(name, &checker, began);
    nothing_is_broken(&scenario, &checker);
    checker.assert_properties();
}

/// Walks through as many states as there may be: from the beginning, which finds what is near, and on random ways to the
/// end, which find what is far.
fn holds_so_far(name: &str, scenario: &Scenario, states: usize, seed: u64) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = || scenario.clone().checker().threads(threads).target_state_count(states);
    let began = Instant::now();
    let near = checker().spawn_bfs().join();
    report(&format!("{name}, near"), &near, began);
    let began = Instant::now();
    let far = checker().spawn_simulation(seed, UniformChooser).join();
    report(&format!("{name}, far"), &far, began);
    nothing_is_broken(scenario, &near);
    nothing_is_broken(scenario, &far);
}

/// A number from the environment: how long a soak is.
fn setting(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |value| value.parse().expect("a number"))
}

const TWO_CREATORS: Scenario =
    Scenario { scripts: &[&[Create, Create], &[Create]], losses: &[Loss::Everything], returns: 1, ..PLAIN };

const THREE: Scenario = Scenario {
    scripts: &[&[Acquire], &[Acquire], &[Create]],
    faults: Faults { crashes: 1, kills: 1, lost_answers: 1, ..NONE },
    losses: &[Loss::Everything],
    returns: 1,
    ..PLAIN
};

const FLAPPING: Scenario = Scenario { faults: Faults { crashes: 1, cuts: 1, fetches: 1, ..NONE }, ..TWO_CREATORS };

#[test]
fn three_processes_go_there_and_back_with_a_kill_and_a_lost_answer() {
    holds("three processes", THREE);
}

#[test]
fn a_locker_that_is_cut_off_meets_no_late_grant() {
    let scripts: &[&[_]] = &[&[Acquire, Release], &[Acquire]];
    holds(
        "cut off, late execution",
        Scenario { scripts, faults: Faults { cuts: 1, delays: 1, ..NONE }, returns: 1, ..PLAIN },
    );
}

#[test]
fn the_request_of_a_dead_caller_is_settled_though_it_arrives_late() {
    let scripts: &[&[_]] = &[&[Create], &[Void(0), Read], &[Create]];
    holds("dead caller", Scenario { scripts, faults: Faults { cuts: 1, kills: 1, ..NONE }, returns: 1, ..PLAIN });
}

#[test]
fn a_restart_of_redis_without_its_tail_loses_nothing() {
    let scripts: &[&[_]] = &[&[Create], &[Create, Create]];
    let losses = &[Loss::Nothing, Loss::Tail];
    holds(
        "lost tail",
        Scenario { scripts, faults: Faults { crashes: 1, kills: 1, fetches: 1, ..NONE }, losses, ..TWO_CREATORS },
    );
}

#[test]
fn what_a_read_has_seen_stays() {
    let scripts: &[&[_]] = &[&[Complete], &[Read, Claim]];
    holds("read", Scenario { scripts, faults: Faults { crashes: 1, kills: 1, ..NONE }, ..TWO_CREATORS });
}

#[test]
fn there_and_back_and_there_with_a_writer_and_a_replicator_that_pause() {
    holds("there, back, there", FLAPPING);
}

#[test]
fn a_return_that_died_does_not_disturb_the_next_one() {
    holds(
        "two returns",
        Scenario { faults: Faults { cuts: 1, kills: 1, delays: 1, ..NONE }, returns: 2, ..TWO_CREATORS },
    );
}

#[test]
fn a_flush_of_a_running_redis_loses_nothing() {
    let losses = &[Loss::Flushed];
    let faults = Faults { crashes: 2, kills: 1, delays: 1, ..NONE };
    holds("flush", Scenario { faults, losses, ..TWO_CREATORS });
}

#[test]
fn an_old_dump_is_not_taken_for_the_state() {
    let losses = &[Loss::Everything, Loss::OldDump];
    holds("old dump", Scenario { faults: Faults { crashes: 2, ..NONE }, losses, is_trimmed: true, ..TWO_CREATORS });
}

#[test]
fn a_namespace_of_another_host_is_left_alone() {
    holds("another host", Scenario { faults: Faults { crashes: 1, foundings: 1, kills: 1, ..NONE }, ..TWO_CREATORS });
}

#[test]
fn a_cold_replica_does_not_take_over() {
    let faults = Faults { crashes: 1, kills: 1, ..NONE };
    let losses = &[Loss::Nothing, Loss::Everything];
    holds("cold replica", Scenario { faults, losses, returns: 0, is_cold: true, ..TWO_CREATORS });
}

/// More of everything, as far as the number of states allows that may be told: `cargo xtask soak model`.
#[test]
fn more_of_everything_holds_as_far_as_one_likes() {
    let states = setting("AGENTCOORD_SOAK_STATES", 100_000);
    let seed = u64::try_from(setting("AGENTCOORD_SOAK_SEED", 1)).expect("a number");
    let all = Faults { kills: 1, lost_answers: 1, delays: 1, crashes: 1, cuts: 1, foundings: 0, fetches: 1 };
    let losses = &[Loss::Nothing, Loss::Tail, Loss::Everything, Loss::OldDump, Loss::Flushed];
    let lockers: &[&[_]] = &[&[Acquire, Release], &[Acquire, Release], &[Create, Complete]];
    let more = [
        ("three, two operations each", Scenario { scripts: lockers, ..THREE }),
        ("three, all faults", Scenario { faults: all, losses, is_unhurried: true, ..THREE }),
        (
            "three, dependent tasks",
            Scenario { scripts: &[&[Complete], &[Claim], &[Read, Claim]], faults: all, ..THREE },
        ),
        (
            "three, a dead caller",
            Scenario { scripts: &[&[Create, Create], &[Void(0), Read], &[Create]], faults: all, losses, ..THREE },
        ),
        (
            "two, all faults, two returns",
            Scenario { faults: all, losses, returns: 2, is_unhurried: true, ..TWO_CREATORS },
        ),
        (
            "two, journals trimmed, two returns",
            Scenario {
                faults: Faults { crashes: 2, ..FLAPPING.faults },
                losses,
                returns: 2,
                is_trimmed: true,
                ..FLAPPING
            },
        ),
    ];
    for (name, scenario) in more {
        holds_so_far(name, &scenario, states, seed);
    }
}
