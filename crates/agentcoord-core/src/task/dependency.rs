//! What a task waits for.

use serde::{Deserialize, Serialize};

use super::TaskStatus;

/// How a dependency stands. It follows the state of the task that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DependencyState {
    /// The task has not ended.
    Open,
    /// The task has ended without being completed, or is not there. It may be redriven.
    Lost,
    /// The task is completed.
    Done,
}

impl DependencyState {
    /// The state as a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Lost => "lost",
            Self::Done => "done",
        }
    }

    /// What the state of a task makes of the dependencies on it.
    #[must_use]
    pub fn of(status: TaskStatus) -> Self {
        match status {
            TaskStatus::Completed => Self::Done,
            TaskStatus::Failed | TaskStatus::Cancelled | TaskStatus::Dead => Self::Lost,
            TaskStatus::Blocked
            | TaskStatus::Scheduled
            | TaskStatus::Pending
            | TaskStatus::Claimed
            | TaskStatus::InProgress => Self::Open,
        }
    }
}

/// A task that another one depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Its short id.
    pub key: String,
    /// Its state; none: it is not there any more.
    pub status: Option<TaskStatus>,
    /// How the dependency stands.
    pub state: DependencyState,
}
