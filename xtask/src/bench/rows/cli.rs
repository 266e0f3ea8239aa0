//! The command line.

use super::{Against, Goal, How, Row};
use crate::bench::conditions::Pin;

pub(super) fn rows() -> Vec<Row> {
    let status = Row {
        part: "cli",
        name: "status-redis",
        ours: "cold `agentcoord status`, Redis",
        limit: "`redis-cli ping`",
        peer: "",
        pin: Pin::None,
        redis: true,
        how: How::Cold(Against::RedisCli),
        goal: Goal::AtMost(0.8),
        apart: &[],
    };
    vec![
        status,
        Row {
            name: "status-files",
            ours: "cold `agentcoord status`, files",
            limit: "`sqlite3 FILE 'select 1'`",
            redis: false,
            how: How::Cold(Against::Sqlite3),
            goal: Goal::AtMost(1.5),
            ..status
        },
    ]
}
