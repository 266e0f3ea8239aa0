//! Times of one round, and the lines that carry them to xtask.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is the module that prints")]

use std::time::{Duration, Instant};

use crate::Outcome;

/// How often ours and the limit change places within a round, so that a disturbance meets both.
pub(crate) const SLICES: usize = 20;

/// Durations of single operations.
#[derive(Default)]
pub(crate) struct Sample(Vec<Duration>);

impl Sample {
    pub(crate) fn add(&mut self, taken: Duration) {
        self.0.push(taken);
    }

    /// The duration that so many percent of the operations stayed within, in microseconds.
    pub(crate) fn percentile(&mut self, percent: usize) -> f64 {
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
    let (ours, limit) = (async || timed(ours()).await, async || timed(limit()).await);
    both_in_turn(rounds, operations, ours, limit, |ours, limit| {
        say("p50", "us", ours.percentile(50), Some(limit.percentile(50)));
        say("p99", "us", ours.percentile(99), Some(limit.percentile(99)));
    })
    .await
}

/// Lets each side time `operations` of its own in every round, in turn, and tells of every round but the first.
pub(crate) async fn both_in_turn(
    rounds: usize,
    operations: usize,
    mut ours: impl AsyncFnMut() -> Outcome<Duration>,
    mut limit: impl AsyncFnMut() -> Outcome<Duration>,
    tell: impl Fn(&mut Sample, &mut Sample),
) -> Outcome<()> {
    for round in 0..=rounds {
        let (mut of_ours, mut of_limit) = (Sample::default(), Sample::default());
        for _ in 0..SLICES {
            for _ in 0..operations.div_ceil(SLICES) {
                of_ours.add(ours().await?);
            }
            for _ in 0..operations.div_ceil(SLICES) {
                of_limit.add(limit().await?);
            }
        }
        if round > 0 {
            tell(&mut of_ours, &mut of_limit);
        }
    }
    Ok(())
}

/// How long something takes.
pub(crate) async fn timed<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<Duration> {
    let begun = Instant::now();
    work.await?;
    Ok(begun.elapsed())
}

/// How many a second.
pub(crate) fn rate(number: usize, taken: Duration) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX)) / taken.as_secs_f64()
}

/// Prints one measure of one round.
pub(crate) fn say(measure: &str, unit: &str, ours: f64, limit: Option<f64>) {
    tell(&serde_json::json!({"measure": measure, "unit": unit, "ours": ours, "limit": limit}));
}

/// Prints one measure of one round whose limit is another one than that of the row.
pub(crate) fn say_against(measure: &str, unit: &str, ours: f64, limit: f64, against: &str) {
    tell(&serde_json::json!({"measure": measure, "unit": unit, "ours": ours, "limit": limit, "against": against}));
}

/// Reads an order of the program that has started this one; none when it has ended.
pub(crate) fn order() -> Outcome<Option<String>> {
    let mut line = String::new();
    Ok((std::io::stdin().read_line(&mut line)? > 0).then(|| line.trim().to_owned()))
}

/// Prints one measure of one round beside that of a peer.
pub(crate) fn say_beside(measure: &str, unit: &str, ours: f64, peer: f64) {
    tell(&serde_json::json!({"measure": measure, "unit": unit, "ours": ours, "peer": peer}));
}

/// Prints an answer to the program that has started this one.
pub(crate) fn answer(word: &str) {
    println!("{word}");
}

fn tell(line: &serde_json::Value) {
    println!("{line}");
}

/// Says why there is no measurement.
pub(crate) fn fail(error: &dyn std::error::Error) {
    eprintln!("error: {error}");
}
