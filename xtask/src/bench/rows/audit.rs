//! The audit log: what sealing costs those who append, and how fast a log is verified.

use super::{Goal, How, Row};
use crate::bench::conditions::Pin;

pub(super) fn rows() -> Vec<Row> {
    let append = Row {
        part: "audit",
        name: "append-files",
        ours: "audit append while a keeper seals, files",
        limit: "the same without a keeper",
        peer: "",
        pin: Pin::None,
        redis: false,
        how: How::Program(&["append", "--engine", "files"], 10_000),
        goal: Goal::AtMost(1.3),
        apart: &[],
    };
    let verify = Row {
        name: "verify-files",
        ours: "audit entries verified a second, files",
        limit: "",
        how: How::Program(&["verify", "--engine", "files"], 200_000),
        goal: Goal::AtLeast(500_000.0),
        ..append
    };
    vec![
        append,
        Row {
            name: "append-redis",
            ours: "audit append while a keeper seals, Redis",
            redis: true,
            how: How::Program(&["append", "--engine", "redis"], 10_000),
            ..append
        },
        verify,
        Row {
            name: "verify-redis",
            ours: "audit entries verified a second, Redis",
            redis: true,
            how: How::Program(&["verify", "--engine", "redis"], 200_000),
            goal: Goal::AtLeast(200_000.0),
            ..verify
        },
    ]
}
