//! One seeded random sequence of operations on the machine in memory and on another engine; everything is compared.
//!
//! After each operation: the answers, the shared state and the event. Every now and then and at the end: every record,
//! index entry and blob, and whether what is derived equals what the records imply. This is what makes it safe that the
//! rules exist twice.

mod compare;
mod history;
mod known;
mod operations;
mod tasks;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use agentcoord_core::engine::Engine;
use agentcoord_core::error::{Disposition, Error};
use agentcoord_core::memory::MemoryEngine;
use agentcoord_core::time::Clock;

use crate::clock::ManualClock;
use compare::Comparison;
use operations::{Asked, Generator, Next};

/// Operations between two comparisons of everything.
const WHOLE: usize = 2_500;
/// Operations that a difference tells, the last of which is the one that showed it.
const TOLD: usize = 25;

/// Names the number of operations that a test of an engine runs, in sequences of at most [`SEQUENCE`].
pub const OPERATIONS: &str = "AGENTCOORD_DIFFERENTIAL_OPERATIONS";
/// Names the seed of the first sequence.
pub const SEED: &str = "AGENTCOORD_DIFFERENTIAL_SEED";
/// Operations in one sequence: comparing everything takes the longer the more there is.
pub const SEQUENCE: usize = 20_000;

/// The sequences that a test of an engine runs, as seed and operations: one of [`SEQUENCE`] operations from `seed`, or
/// what [`OPERATIONS`] and [`SEED`] name.
///
/// # Panics
/// When either is no number.
#[must_use]
pub fn sequences(seed: u64) -> Vec<(u64, usize)> {
    let named = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
    };
    let operations = named(OPERATIONS).map_or(SEQUENCE, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let first = named(SEED).unwrap_or(seed);
    let starts = (0..operations).step_by(SEQUENCE);
    (first..).zip(starts).map(|(seed, start)| (seed, SEQUENCE.min(operations - start))).collect()
}

/// What a run without a difference did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Operations sent to both.
    pub operations: usize,
    /// Answers that were outcomes, not refusals; a low share means that the sequence tested little.
    pub done: usize,
    /// How many of them each verb had.
    pub verbs: BTreeMap<&'static str, usize>,
    /// The last commit sequence number.
    pub csn: u64,
    /// Records at the end.
    pub records: usize,
}

/// Where the engine and the machine part.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The seed; a run with it and as many operations as `operation` shows the difference again.
    pub seed: u64,
    /// Which operation, from 1.
    pub operation: usize,
    /// What differs.
    pub what: String,
    /// The last steps of the sequence.
    pub steps: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, operation {}: {}", self.seed, self.operation, self.what)?;
        writeln!(f, "the last steps:")?;
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step}"))
    }
}

/// Runs a sequence on `engine`, which must be empty and read `clock`, and on the machine in memory.
///
/// `moved` is called after each move of the clock; it freezes the wall clock of a store that has its own.
///
/// # Errors
/// The first difference.
pub async fn run<F, Moved>(
    engine: Arc<dyn Engine>,
    clock: Arc<ManualClock>,
    moved: F,
    seed: u64,
    operations: usize,
) -> Result<Report, Box<Difference>>
where
    F: Fn() -> Moved,
    Moved: Future<Output = ()>,
{
    let oracle = MemoryEngine::new(engine.epoch(), clock.clone(), Box::new(|_| {}));
    let mut generator = Generator::new(seed, engine.epoch());
    let mut comparison = Comparison::new(oracle, engine);
    let mut told = VecDeque::new();
    let (mut sent, mut verbs) = (0, BTreeMap::new());
    moved().await;
    while sent < operations {
        let next = generator.next(clock.read().wall);
        if told.len() == TOLD {
            told.pop_front();
        }
        told.push_back(next.clone());
        let found = match next {
            Next::Advance(ms) => {
                clock.advance(Duration::from_millis(ms));
                moved().await;
                continue;
            }
            Next::SetWall(ms) => {
                clock.set_wall_by(ms);
                moved().await;
                continue;
            }
            Next::Reboot(id, boot) => {
                clock.reboot(&id, boot);
                moved().await;
                continue;
            }
            Next::Ask(asked) => {
                sent += 1;
                comparison.know(&asked.call);
                let verb = asked.call.verb;
                match ask_both(&comparison, *asked, &mut generator).await {
                    Ok(is_outcome) => {
                        *verbs.entry(verb).or_default() += usize::from(is_outcome);
                        comparison.step().await
                    }
                    Err(what) => Err(what),
                }
            }
        };
        let found = match found {
            Ok(()) if sent % WHOLE == 0 || sent == operations => comparison.whole().await,
            found => found,
        };
        if let Err(what) = found {
            return Err(Box::new(Difference {
                seed,
                operation: sent,
                what,
                steps: told.iter().map(|next| format!("{next:?}")).collect(),
            }));
        }
    }
    let (csn, records) = comparison.size();
    Ok(Report { operations, done: verbs.values().sum(), verbs, csn, records })
}

/// Sends one operation to both and compares the answers. True when it was not refused.
async fn ask_both(comparison: &Comparison, asked: Asked, generator: &mut Generator) -> Result<bool, String> {
    let expected = comparison.oracle.step(asked.call.clone()).await;
    let actual = comparison.engine.step(asked.call.clone()).await;
    let told = |answer: &agentcoord_core::Result<Vec<u8>>| match answer {
        Ok(bytes) => (asked.read)(bytes),
        Err(e) => failure(e),
    };
    let expected_told = told(&expected);
    // Equal bytes say the same; different ones may too.
    if !matches!((&expected, &actual), (Ok(expected), Ok(actual)) if expected == actual) {
        let actual_told = told(&actual);
        if expected_told != actual_told {
            return Err(format!("the machine answers\n    {expected_told}\nthe engine\n    {actual_told}"));
        }
    }
    let is_outcome = expected_told.starts_with("Done");
    generator.answered(asked, &expected.unwrap_or_default());
    Ok(is_outcome)
}

/// A failure in words. How an engine tells the cause of a permanent one is its own matter.
fn failure(error: &Error) -> String {
    match error.disposition() {
        Disposition::Permanent => "a permanent failure".to_owned(),
        Disposition::Unavailable | Disposition::OutcomeUnknown => format!("a failure: {error:?}"),
    }
}
