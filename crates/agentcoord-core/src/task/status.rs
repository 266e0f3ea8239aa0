//! The states of a task, and their words.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The states of a task. A task is in exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Waits for other tasks.
    Blocked,
    /// Waits for a time.
    Scheduled,
    /// Ready to be claimed.
    Pending,
    /// Claimed by an agent.
    Claimed,
    /// The claimer said that it has begun.
    InProgress,
    /// Done.
    Completed,
    /// The worker said that it cannot be done.
    Failed,
    /// Called off.
    Cancelled,
    /// Attempts or crashes are used up.
    Dead,
}

impl TaskStatus {
    /// All states, in the order of a task's life.
    pub const ALL: [Self; 9] = [
        Self::Blocked,
        Self::Scheduled,
        Self::Pending,
        Self::Claimed,
        Self::InProgress,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Dead,
    ];

    /// Whether it ends a task, unless somebody redrives it.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Dead)
    }

    /// The state as a snake_case word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Scheduled => "scheduled",
            Self::Pending => "pending",
            Self::Claimed => "claimed",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
        }
    }

    /// The state of a word.
    pub fn parse(word: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|s| s.word() == word).ok_or_else(|| {
            let words: Vec<_> = Self::ALL.iter().map(|s| s.word()).collect();
            Error::invalid("status", word, words.join(", "))
        })
    }
}
