//! Locks: what one costs, how fast it passes on, and what the locks and waiters of others cost.

use super::{Goal, How, Row};
use crate::bench::conditions::Pin;

pub(super) fn rows() -> Vec<Row> {
    [uncontended(), passed_on(), crowded(), processes()].concat()
}

const LOCK: Row = Row {
    part: "locks",
    name: "lock-across",
    ours: "lock + release, uncontended, Redis",
    limit: "two bare scripts, one SET each",
    peer: "",
    pin: Pin::Across,
    redis: true,
    how: How::Program(&["lock"], 2_000),
    goal: Goal::AtMost(1.5),
    apart: &[],
};

fn uncontended() -> Vec<Row> {
    vec![
        LOCK,
        Row { name: "lock-one", pin: Pin::One, goal: Goal::AtMost(1.9), ..LOCK },
        Row {
            name: "calls",
            ours: "commands in the script of an uncontended acquire",
            limit: "",
            pin: Pin::None,
            how: How::Program(&["calls"], 1),
            goal: Goal::Alone(12.0),
            ..LOCK
        },
    ]
}

fn passed_on() -> Vec<Row> {
    let redis = Row {
        name: "handover-across",
        ours: "release -> the next holder's code, Redis",
        limit: "bare publish + one acquire",
        how: How::Program(&["handover-redis", "--engine", "redis"], 1_000),
        goal: Goal::AtMost(1.25),
        apart: &[("p99", Goal::AtMost(3.0))],
        ..LOCK
    };
    vec![
        redis,
        Row { name: "handover-one", pin: Pin::One, ..redis },
        Row {
            name: "handover-files",
            ours: "release -> the next holder's code, files",
            limit: "one bare transaction",
            pin: Pin::None,
            redis: false,
            how: How::Program(&["handover-files", "--engine", "files"], 1_000),
            goal: Goal::AtMost(10.0),
            apart: &[("p99", Goal::None)],
            ..redis
        },
    ]
}

fn crowded() -> Vec<Row> {
    let acquire = Row {
        part: "crowds",
        name: "crowd-held-redis",
        ours: "acquire, with many other locks held, Redis",
        limit: "the same in an empty store",
        how: How::Program(&["crowded-acquire", "--engine", "redis"], 2_000),
        goal: Goal::AtMost(1.3),
        ..LOCK
    };
    let release = Row {
        name: "crowd-waiting-redis",
        ours: "release, with 10,000 waiters at other paths, Redis",
        how: How::Program(&["crowded-release", "--engine", "redis", "--waiters", "10000"], 2_000),
        ..acquire
    };
    let deadlock = Row {
        name: "deadlock-redis",
        ours: "the answer that it is a deadlock, with 1,000 waiters, Redis",
        limit: "one acquire",
        how: How::Program(&["deadlock", "--engine", "redis", "--waiters", "1000"], 500),
        goal: Goal::AtMost(3.0),
        ..acquire
    };
    let heartbeat = Row {
        name: "heartbeat-redis",
        ours: "heartbeat, holding 1,000 locks, Redis",
        limit: "holding one",
        how: How::Program(&["heartbeat", "--engine", "redis", "--held", "1000"], 2_000),
        goal: Goal::AtMost(1.1),
        ..acquire
    };
    let on_files = Row { pin: Pin::None, redis: false, ..acquire };
    vec![
        acquire,
        Row {
            name: "crowd-held-files",
            ours: "acquire, with many other locks held, files",
            how: How::Program(&["crowded-acquire", "--engine", "files"], 2_000),
            ..on_files
        },
        release,
        Row {
            name: "crowd-waiting-files",
            ours: "release, with 10,000 waiters at other paths, files",
            how: How::Program(&["crowded-release", "--engine", "files", "--waiters", "10000"], 2_000),
            ..on_files
        },
        deadlock,
        Row {
            ours: "the answer that it is a deadlock, with 1,000 waiters, files",
            name: "deadlock-files",
            limit: deadlock.limit,
            how: How::Program(&["deadlock", "--engine", "files", "--waiters", "1000"], 500),
            goal: deadlock.goal,
            ..on_files
        },
        heartbeat,
        Row {
            name: "heartbeat-files",
            ours: "heartbeat, holding 1,000 locks, files",
            limit: heartbeat.limit,
            how: How::Program(&["heartbeat", "--engine", "files", "--held", "1000"], 2_000),
            goal: heartbeat.goal,
            ..on_files
        },
        Row {
            name: "subtree",
            ours: "longest command of Redis while a subtree with 10,000 waiters is released",
            limit: "",
            how: How::Program(&["subtree", "--engine", "redis", "--waiters", "10000"], 1),
            goal: Goal::Alone(5.0),
            ..acquire
        },
    ]
}

fn processes() -> Vec<Row> {
    let killed = Row {
        part: "processes",
        name: "killed-redis",
        ours: "kill -9 of the holder -> the next holder's code, Redis",
        limit: "",
        pin: Pin::None,
        how: How::Program(&["killed", "--engine", "redis"], 100),
        goal: Goal::None,
        apart: &[("p99", Goal::Alone(50.0))],
        ..LOCK
    };
    let fairness = Row {
        name: "fairness-redis",
        ours: "turns of 64 processes at one path, fewest, Redis",
        limit: "most",
        // As many seconds.
        how: How::Program(&["fairness", "--engine", "redis", "--processes", "64"], 60),
        goal: Goal::AtLeast(0.9),
        apart: &[],
        ..killed
    };
    vec![
        killed,
        Row {
            name: "killed-files",
            ours: "kill -9 of the holder -> the next holder's code, files",
            redis: false,
            how: How::Program(&["killed", "--engine", "files"], 100),
            ..killed
        },
        fairness,
        Row {
            name: "fairness-files",
            ours: "turns of 64 processes at one path, fewest, files",
            redis: false,
            how: How::Program(&["fairness", "--engine", "files", "--processes", "64"], 60),
            ..fairness
        },
    ]
}
