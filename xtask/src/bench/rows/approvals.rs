//! Approvals: how soon an agent knows what a person has decided.

use super::{Goal, How, Row};
use crate::bench::conditions::Pin;

pub(super) fn rows() -> Vec<Row> {
    let redis = Row {
        part: "approvals",
        name: "verdict-across",
        ours: "signed vote -> the agent's await resolves, signature checked, Redis",
        limit: "the vote alone",
        peer: "",
        pin: Pin::Across,
        redis: true,
        how: How::Program(&["verdict", "--engine", "redis"], 400),
        goal: Goal::AtMost(2.5),
        apart: &[("p50 alone", Goal::None), ("p99", Goal::None)],
    };
    vec![
        redis,
        Row { name: "verdict-one", pin: Pin::One, ..redis },
        Row {
            name: "verdict-files",
            ours: "signed vote -> the agent's await resolves, signature checked, files",
            pin: Pin::None,
            redis: false,
            how: How::Program(&["verdict", "--engine", "files"], 400),
            goal: Goal::None,
            apart: &[("p50 alone", Goal::Alone(1_000.0))],
            ..redis
        },
    ]
}
