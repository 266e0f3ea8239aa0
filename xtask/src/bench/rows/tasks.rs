//! Tasks.

use super::{Goal, How, Row};
use crate::bench::conditions::Pin;

pub(super) fn rows() -> Vec<Row> {
    let group = Row {
        part: "tasks",
        name: "group-process",
        ours: "create + claim + complete, files, class process, 64 at once",
        limit: "one transaction each",
        pin: Pin::None,
        redis: false,
        how: How::Program(&["group", "--class", "process", "--clients", "64"], 2_000),
        goal: Goal::AtLeast(2.5),
        apart: &[],
    };
    let claim = Row {
        name: "claim-1",
        ours: "claim + complete, Redis, one at a time",
        limit: "two bare scripts, one SET each",
        pin: Pin::Across,
        redis: true,
        how: How::Program(&["claim", "--clients", "1"], 2_000),
        goal: Goal::None,
        ..group
    };
    vec![
        group,
        Row {
            name: "group-power",
            ours: "create + claim + complete, files, class power, 64 at once",
            how: How::Program(&["group", "--class", "power", "--clients", "64"], 1_000),
            goal: Goal::AtLeast(6.0),
            ..group
        },
        claim,
        Row {
            name: "claim-50",
            ours: "claim + complete, Redis, 50 at once",
            how: How::Program(&["claim", "--clients", "50"], 8_000),
            ..claim
        },
    ]
}
