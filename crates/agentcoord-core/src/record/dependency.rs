//! Records of what tasks depend on, and of the work that is left over them.

use serde::Deserialize;

use super::Counts;
use crate::table::{Entry, Record, Table, index};
use crate::task::DependencyState;
use crate::time::LeaseMs;

record! {
    /// That a task depends on another one.
    DependencyRecord { dependency: String, dependent: String, state: DependencyState; }
}

impl DependencyRecord {
    /// The key of a dependency of one task on another.
    #[must_use]
    pub fn key(dependency: &str, dependent: &str) -> String {
        format!("{dependency}/{dependent}")
    }
}

impl Record for DependencyRecord {
    const TABLE: Table = Table::Dependency;

    fn entries(&self, key: &str, out: &mut Vec<Entry>) {
        out.push(index::dependent(&self.dependency, self.state, key));
        out.push(index::need(&self.dependent, key));
    }

    fn count(&self, counts: &mut Counts, sign: i64) {
        if self.state != DependencyState::Done {
            counts.dependencies += sign;
        }
    }
}

record! {
    /// Tasks that `task` depends on and that are still to be linked: more than one step may do.
    LinkRecord { task: String, ids: Vec<String>, since: LeaseMs; }
}

impl LinkRecord {
    /// The key of a part of what a task depends on.
    #[must_use]
    pub fn key(task: &str, part: usize) -> String {
        format!("{task}/{part}")
    }
}

impl Record for LinkRecord {
    const TABLE: Table = Table::Link;

    fn entries(&self, key: &str, out: &mut Vec<Entry>) {
        out.push(index::work(self.since, Table::Link, key));
    }

    fn count(&self, counts: &mut Counts, sign: i64) {
        counts.work += sign;
    }
}

record! {
    /// That more dependents of a task than one step may look at are still to be told how it stands.
    AnnouncementRecord { since: LeaseMs; }
}

impl Record for AnnouncementRecord {
    const TABLE: Table = Table::Announcement;

    fn entries(&self, key: &str, out: &mut Vec<Entry>) {
        out.push(index::work(self.since, Table::Announcement, key));
    }

    fn count(&self, counts: &mut Counts, sign: i64) {
        counts.work += sign;
    }
}
