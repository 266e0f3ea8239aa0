//! Failover: what it costs that Redis may be lost, and what a client sees when it is.

use super::{Goal, How, Row};
use crate::bench::conditions::Pin;

pub(super) fn rows() -> Vec<Row> {
    [mirrored(), outages(), vec![idle()]].concat()
}

const LOCK: Row = Row {
    part: "failover",
    name: "mirrored-across",
    ours: "lock + release, journal and replica on, Redis",
    limit: "without them",
    peer: "",
    pin: Pin::Across,
    redis: true,
    how: How::Program(&["mirrored"], 4_000),
    goal: Goal::AtMost(1.25),
    apart: &[("p99", Goal::None)],
};

fn mirrored() -> Vec<Row> {
    let half = Row {
        name: "mirrored-half-across",
        ours: "the same, 64 clients, offered half of what saturates Redis alone",
        how: How::Program(&["mirrored-half"], 20_000),
        apart: &[("p99", Goal::None), ("offered", Goal::None)],
        ..LOCK
    };
    let saturated = Row {
        name: "mirrored-saturated-across",
        ours: "the same, 64 clients, as fast as they can",
        how: How::Program(&["mirrored-saturated"], 20_000),
        goal: Goal::AtLeast(0.65),
        apart: &[
            ("rate until the files have it", Goal::None),
            ("lag then", Goal::None),
            ("lag ends after", Goal::Alone(2.0)),
        ],
        ..LOCK
    };
    vec![
        LOCK,
        Row { name: "mirrored-one", pin: Pin::One, ..LOCK },
        half,
        Row { name: "mirrored-half-one", pin: Pin::One, ..half },
        saturated,
        Row { name: "mirrored-saturated-one", pin: Pin::One, ..saturated },
        Row {
            name: "mirrored-processes",
            ours: "the same, 64 clients in 8 processes, as fast as they can",
            pin: Pin::None,
            how: How::Program(&["mirrored-processes", "--processes", "8"], 20_000),
            ..saturated
        },
    ]
}

fn outages() -> Vec<Row> {
    let killed = Row {
        name: "outage-killed",
        ours: "longest wait of a busy client, Redis killed",
        limit: "",
        pin: Pin::None,
        // It brings a server of its own, which ends.
        redis: false,
        how: How::Program(&["outage", "--by", "kill"], 1),
        goal: Goal::None,
        apart: &[("stall", Goal::Alone(100.0))],
        ..LOCK
    };
    vec![
        killed,
        Row {
            name: "outage-stopped",
            ours: "longest wait of a busy client, Redis stopped",
            limit: "the detection window",
            how: How::Program(&["outage", "--by", "stop"], 1),
            apart: &[("stall", Goal::AtMost(1.2))],
            ..killed
        },
        Row {
            name: "there-and-back",
            ours: "a busy client, many tasks: Redis is back, Redis is killed",
            how: How::Program(&["there-and-back"], 1),
            apart: &[("take-over: stall", Goal::Alone(100.0)), ("return: stall", Goal::Alone(100.0))],
            ..killed
        },
    ]
}

fn idle() -> Row {
    Row {
        name: "idle",
        ours: "a process with a session in which nothing happens",
        limit: "",
        pin: Pin::None,
        how: How::Program(&["idle"], 1),
        goal: Goal::Alone(0.5),
        apart: &[("on Redis alone", Goal::None)],
        ..LOCK
    }
}
