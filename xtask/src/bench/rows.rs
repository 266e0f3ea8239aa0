//! The rows: what is compared with what, where the two sit, and what we want to reach.

use super::conditions::Pin;

/// What a ratio of ours over the limit should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    /// A cost: the smaller the better.
    AtMost(f64),
    /// A gain: the larger the better.
    AtLeast(f64),
    /// A number of ours alone, without a limit.
    Count(f64),
    /// Not set: told for the reader.
    None,
}

/// How a row is measured.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    /// By the measured program: its arguments, and operations a round.
    Program(&'static [&'static str], usize),
    /// By starting `agentcoord status` and another program in turn.
    Cold(Against),
}

/// What a cold start is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Against {
    RedisCli,
    Sqlite3,
}

/// One thing that is measured; it fills a line of the table for each of its measures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// What `--rows` chooses by.
    pub(super) part: &'static str,
    /// Its name, which is also that of its scratch directory.
    pub(super) name: &'static str,
    pub(super) ours: &'static str,
    pub(super) limit: &'static str,
    pub(super) pin: Pin,
    pub(super) redis: bool,
    pub(super) how: How,
    pub(super) goal: Goal,
}

impl Row {
    pub(super) fn title(&self) -> String {
        match self.pin.words() {
            "" => self.ours.to_owned(),
            words => format!("{}, {words}", self.ours),
        }
    }
}

/// The parts that `--rows` chooses from.
pub(super) fn parts() -> Vec<&'static str> {
    let mut parts: Vec<_> = all().iter().map(|row| row.part).collect();
    parts.dedup();
    parts
}

/// All rows, in the order of the table.
pub(super) fn all() -> Vec<Row> {
    let lock = Row {
        part: "locks",
        name: "lock-across",
        ours: "lock + release, uncontended, Redis",
        limit: "two bare scripts, one SET each",
        pin: Pin::Across,
        redis: true,
        how: How::Program(&["lock"], 2_000),
        goal: Goal::AtMost(1.5),
    };
    let group = Row {
        part: "tasks",
        name: "group-process",
        ours: "create + claim + complete, files, class process, 64 at once",
        limit: "one transaction each",
        pin: Pin::None,
        redis: false,
        how: How::Program(&["group", "--class", "process", "--clients", "64"], 2_000),
        goal: Goal::AtLeast(2.5),
    };
    let claim = Row {
        part: "tasks",
        name: "claim-1",
        ours: "claim + complete, Redis, one at a time",
        limit: "two bare scripts, one SET each",
        pin: Pin::Across,
        redis: true,
        how: How::Program(&["claim", "--clients", "1"], 2_000),
        goal: Goal::None,
    };
    let status = Row {
        part: "cli",
        name: "status-redis",
        ours: "cold `agentcoord status`, Redis",
        limit: "`redis-cli ping`",
        pin: Pin::None,
        redis: true,
        how: How::Cold(Against::RedisCli),
        goal: Goal::AtMost(0.8),
    };
    vec![
        lock,
        Row { name: "lock-one", pin: Pin::One, goal: Goal::AtMost(1.9), ..lock },
        Row {
            name: "calls",
            ours: "commands in the script of an uncontended acquire",
            limit: "",
            pin: Pin::None,
            how: How::Program(&["calls"], 1),
            goal: Goal::Count(12.0),
            ..lock
        },
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_do_not_share_a_scratch_directory() {
        let names: BTreeSet<_> = all().iter().map(|row| row.name).collect();
        assert_eq!(names.len(), all().len());
    }
}
