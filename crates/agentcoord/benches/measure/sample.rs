//! Times of one round, and the lines that carry them to xtask.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is the module that prints")]

use std::time::{Duration, Instant};

use crate::Outcome;

/// How often ours and the limit change places within a round, so that a disturbance meets both.
const SLICES: usize = 20;

/// Durations of single operations.
#[derive(Default)]
pub(crate) struct Sample(Vec<Duration>);

impl Sample {
    pub(crate) fn add(&mut self, taken: Duration) {
        self.0.push(taken);
    }

    /// The duration that so many percent of the operations stayed within, in microseconds.
    fn percentile(&mut self, percent: usize) -> f64 {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        let at = (self.0.len() * percent).div_ceil(100).saturating_sub(1).min(last);
        self.0.get(at).map_or(f64::NAN, |taken| taken.as_secs_f64() * 1e6)
    }
}

/// Times `operations` of each side in every round, in turn, and prints p50 and p99; the first round only warms up.
pub(crate) async fn in_turn(
    rounds: usize,
    operations: usize,
    mut ours: impl AsyncFnMut() -> Outcome<()>,
    mut limit: impl AsyncFnMut() -> Outcome<()>,
) -> Outcome<()> {
    for round in 0..=rounds {
        let (mut of_ours, mut of_limit) = (Sample::default(), Sample::default());
        for _ in 0..SLICES {
            for _ in 0..operations.div_ceil(SLICES) {
                let begun = Instant::now();
                ours().await?;
                of_ours.add(begun.elapsed());
            }
            for _ in 0..operations.div_ceil(SLICES) {
                let begun = Instant::now();
                limit().await?;
                of_limit.add(begun.elapsed());
            }
        }
        if round > 0 {
            say("p50", "us", of_ours.percentile(50), Some(of_limit.percentile(50)));
            say("p99", "us", of_ours.percentile(99), Some(of_limit.percentile(99)));
        }
    }
    Ok(())
}

/// How many a second.
pub(crate) fn rate(number: usize, taken: Duration) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX)) / taken.as_secs_f64()
}

/// Prints one measure of one round.
pub(crate) fn say(measure: &str, unit: &str, ours: f64, limit: Option<f64>) {
    let line = serde_json::json!({"measure": measure, "unit": unit, "ours": ours, "limit": limit});
    println!("{line}");
}

/// Says why there is no measurement.
pub(crate) fn fail(error: &dyn std::error::Error) {
    eprintln!("error: {error}");
}
