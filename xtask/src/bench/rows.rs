//! The rows: what is compared with what, where the two sit, and what we want to reach.

mod approvals;
mod audit;
mod cli;
mod failover;
mod locks;
mod tasks;

use super::conditions::Pin;

/// What a ratio of ours over the limit, or over the peer, should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    /// A cost: the smaller the better.
    AtMost(f64),
    /// A gain: the larger the better.
    AtLeast(f64),
    /// A number of ours alone, without a limit.
    Alone(f64),
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
    /// Whose queue it is measured beside instead of a limit; none: empty.
    pub(super) peer: &'static str,
    pub(super) pin: Pin,
    pub(super) redis: bool,
    pub(super) how: How,
    pub(super) goal: Goal,
    /// Measures that have a goal of their own.
    pub(super) apart: &'static [(&'static str, Goal)],
}

impl Row {
    /// What one of its measures should reach.
    pub(super) fn goal(&self, measure: &str) -> Goal {
        self.apart.iter().find(|(name, _)| *name == measure).map_or(self.goal, |(_, goal)| *goal)
    }

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
    [locks::rows(), tasks::rows(), approvals::rows(), audit::rows(), failover::rows(), cli::rows()].concat()
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
