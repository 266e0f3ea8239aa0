//! What a task of the demo asks for, and what an agent says it did: the payload and the result.

use serde::{Deserialize, Serialize};

/// Every task carries it; agents claim by it.
pub(super) const TAG: &str = "edit";
/// Nobody uses git's index without it.
pub(super) const INDEX: &str = "@git/index";
/// How audit entries of edits are called.
pub(super) const DECISION: &str = "edit";

/// One edit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// From 1.
    pub(super) number: usize,
    /// Tells this demo from every other, also in the repository that another one has left.
    pub(super) run: String,
    /// The file.
    pub(super) path: String,
    /// Whether a person must say yes first.
    pub(super) ask: bool,
}

impl Job {
    /// The title of its task.
    pub(super) fn title(&self) -> String {
        format!("Edit {} (no. {})", self.path, self.number)
    }

    /// The subject of its commit.
    pub(super) fn subject(&self) -> String {
        format!("demo {}: edit no. {}", self.run, self.number)
    }

    /// The line to add at the end of the file.
    pub(super) fn line(&self) -> String {
        format!("agentcoord demo {}, edit no. {}", self.run, self.number)
    }

    /// The edit, for people.
    pub(super) fn diff(&self) -> String {
        format!("--- a/{0}\n+++ b/{0}\n@@ at the end @@\n+{1}\n", self.path, self.line())
    }

    /// The file with the line added.
    pub(super) fn apply(&self, mut content: Vec<u8>) -> Vec<u8> {
        if content.last().is_some_and(|last| *last != b'\n') {
            content.push(b'\n');
        }
        content.extend_from_slice(self.line().as_bytes());
        content.push(b'\n');
        content
    }
}

/// What an agent reports.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// The commit.
    pub(super) commit: String,
    /// Longest wait for a lock, in milliseconds.
    pub(super) waited_ms: u64,
    /// For what.
    pub(super) waited_for: String,
    /// Whether an agent that died had left the file half done.
    pub(super) leftover: bool,
}
