//! Attempts that came to nothing, and what comes after them.

use serde::{Deserialize, Serialize};

use super::{NextTask, TaskChanged};
use crate::check;
use crate::error::Result;
use crate::ids::{Id, IdPrefix, Token};
use crate::limits;
use crate::op::{Handed, Verb};
use crate::time::WallMs;

/// The range of [`FailTask::chance`].
const CHANCES: u64 = 1_000;

/// How long a task rests after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// The pause after the first failure, in milliseconds; after each further one it is twice as long. 0: none at all.
    pub first: u64,
    /// The longest pause, in milliseconds.
    pub most: u64,
    /// By how many per cent a pause is at most longer or shorter, at random.
    pub jitter: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: limits::BACKOFF_FIRST, most: limits::BACKOFF_MOST, jitter: limits::BACKOFF_JITTER }
    }
}

impl Backoff {
    /// A first pause, in milliseconds; the rest as by default.
    #[must_use]
    pub fn from_pause(first: u64) -> Self {
        Self { first, most: limits::BACKOFF_MOST.max(first), ..Self::default() }
    }

    pub(super) fn validate(&self) -> Result<()> {
        check::range("backoff.first", self.first, 0, limits::DURATION)?;
        check::range("backoff.most", self.most, self.first, limits::DURATION)?;
        check::range("backoff.jitter", self.jitter.into(), 0, 100)
    }

    /// The pause after a failed attempt, in milliseconds. `chance` is the attempt's luck, 0 to 1,000.
    #[must_use]
    pub fn pause(&self, attempt: u32, chance: u32) -> u64 {
        let doubled = self.first.saturating_mul(1 << attempt.saturating_sub(1).min(40));
        let pause = doubled.min(self.most);
        let spread = pause * u64::from(self.jitter) / 100;
        pause - spread + 2 * spread * u64::from(chance) / CHANCES
    }
}

/// Says that the task could not be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailTask {
    /// The task's short id.
    pub key: String,
    /// The token of the claim.
    pub token: Token,
    /// Why.
    pub reason: String,
    /// Whether another attempt may help.
    pub retry: bool,
    /// Where in its range the pause before the next attempt lies, 0 to 1,000. Filled by [`FailTask::new`], because rules
    /// make no random numbers.
    pub chance: u32,
    /// The audit entry that is written when this ends the task.
    pub audit: String,
    /// Claims the next task in the same step.
    pub next: Option<NextTask>,
}

impl FailTask {
    /// A failure; `audit` is the entry of the audit log in case that it ends the task.
    #[must_use]
    pub fn new(key: String, token: Token, reason: String, retry: bool, audit: String) -> Self {
        let digits = u32::from_str_radix(&Id::random().as_str()[..8], 16).unwrap_or_default();
        let chance = (u64::from(digits) * (CHANCES + 1)) >> 32;
        Self { key, token, reason, retry, chance: u32::try_from(chance).unwrap_or_default(), audit, next: None }
    }
}

impl Verb for FailTask {
    const NAME: &'static str = "task/fail";
    type Reply = TaskChanged;

    fn validate(&self) -> Result<()> {
        IdPrefix::parse("id", &self.key)?;
        check::line("reason", &self.reason, limits::NOTE_BYTES)?;
        check::range("chance", self.chance.into(), 0, CHANCES)?;
        check::line("audit", &self.audit, limits::BLOB_BYTES)?;
        self.next.as_ref().map_or(Ok(()), NextTask::validate)
    }

    fn take(reply: &mut TaskChanged, handed: Handed) {
        reply.take(handed);
    }
}

/// Puts a failed, cancelled or dead task back into its queue, with all its attempts before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedriveTask {
    /// The task, by what was typed.
    pub key: String,
}

impl Verb for RedriveTask {
    const NAME: &'static str = "task/redrive";
    type Reply = TaskChanged;

    fn validate(&self) -> Result<()> {
        IdPrefix::parse("id", &self.key).map(drop)
    }
}

/// An attempt that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setback {
    /// Which attempt.
    pub attempt: u32,
    /// Whether its worker was lost, rather than saying that it failed.
    pub crashed: bool,
    /// Why.
    pub reason: String,
    /// When.
    pub at: WallMs,
    /// The agent, by key.
    pub agent: Option<String>,
    /// The agent's name.
    pub name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff { first: 1_000, most: 10_000, jitter: 0 };
        let pauses: Vec<u64> = (1..=6).map(|attempt| backoff.pause(attempt, 500)).collect();
        assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        assert_eq!(backoff.pause(1_000, 0), 10_000);
        assert_eq!(Backoff { first: 0, ..backoff }.pause(9, 1_000), 0);
    }

    #[test]
    fn chance_moves_a_pause_within_its_jitter() {
        let backoff = Backoff { first: 1_000, most: 10_000, jitter: 20 };
        assert_eq!([0, 500, 1_000].map(|chance| backoff.pause(1, chance)), [800, 1_000, 1_200]);
    }

    #[test]
    fn chances_are_within_their_range_and_differ() {
        let fail = || FailTask::new("01234567".into(), Token(1), "no luck".into(), true, "{}".into());
        let chances: Vec<u32> = (0..64).map(|_| fail().chance).collect();
        assert!(chances.iter().all(|c| u64::from(*c) <= CHANCES));
        assert!(chances.iter().any(|c| *c != chances[0]));
        assert!(fail().validate().is_ok());
    }
}
