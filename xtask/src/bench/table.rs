//! What was measured, as one table: medians over the rounds, the ratio with its extremes, goal and verdict.

use std::fmt::Write;

use serde_json::{Value, json};

use super::conditions::Machine;
use super::rows::{Goal, Row};

/// The limit's own rounds may differ by this factor; past it the machine was busy with something else.
const CALM: f64 = 1.5;

const HEAD: [&str; 8] = ["row", "measure", "ours", "limit", "peer", "ratio (min, max)", "goal", "verdict"];

/// One measure of one round.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    measure: String,
    unit: String,
    ours: f64,
    limit: Option<f64>,
    peer: Option<f64>,
    /// What the limit is, when it is not the row's.
    against: Option<String>,
}

impl Measured {
    pub(super) fn new(measure: &str, unit: &str, ours: f64, limit: Option<f64>) -> Self {
        Self { measure: measure.to_owned(), unit: unit.to_owned(), ours, limit, peer: None, against: None }
    }

    /// From a line of a measured program; none when it is something else.
    pub(super) fn of(line: &Value) -> Option<Self> {
        let text = |name: &str| line[name].as_str();
        let measured = Self::new(text("measure")?, text("unit")?, line["ours"].as_f64()?, line["limit"].as_f64());
        Some(Self { against: text("against").map(str::to_owned), peer: line["peer"].as_f64(), ..measured })
    }

    /// Ours over the limit or the peer, or ours where there is neither.
    fn ratio(&self) -> f64 {
        self.limit.or(self.peer).map_or(self.ours, |other| self.ours / other)
    }
}

/// Median, smallest and largest of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(numbers: impl Iterator<Item = f64>) -> Option<Self> {
        let mut numbers: Vec<f64> = numbers.collect();
        numbers.sort_by(f64::total_cmp);
        let (min, max) = (*numbers.first()?, *numbers.last()?);
        Some(Self { median: numbers[numbers.len() / 2], min, max })
    }
}

/// A row of the table for each of its measures, or why there is none.
#[derive(Clone, Debug)]
pub(super) struct Line {
    row: Row,
    measures: Vec<Summary>,
    skipped: Option<String>,
}

#[derive(Clone, Debug)]
struct Summary {
    measure: String,
    unit: String,
    ours: Spread,
    limit: Option<Spread>,
    peer: Option<Spread>,
    against: Option<String>,
    ratio: Spread,
}

impl Line {
    pub(super) fn of(row: &Row, measured: &[Measured]) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for m in measured {
            if !names.contains(&m.measure.as_str()) {
                names.push(&m.measure);
            }
        }
        let summary = |name: &&str| {
            let of = || measured.iter().filter(|m| m.measure == *name);
            Some(Summary {
                measure: (*name).to_owned(),
                unit: of().next()?.unit.clone(),
                ours: Spread::of(of().map(|m| m.ours))?,
                limit: Spread::of(of().filter_map(|m| m.limit)),
                peer: Spread::of(of().filter_map(|m| m.peer)),
                against: of().next()?.against.clone(),
                ratio: Spread::of(of().map(Measured::ratio))?,
            })
        };
        Self { row: *row, measures: names.iter().filter_map(summary).collect(), skipped: None }
    }

    pub(super) fn skipped(row: &Row, error: &anyhow::Error) -> Self {
        Self { row: *row, measures: Vec::new(), skipped: Some(format!("{error:#}")) }
    }

    /// The cells under [`HEAD`].
    fn cells(&self) -> Vec<[String; 8]> {
        let title = self.row.title();
        let beside = |name: &str| if name.is_empty() { "-".to_owned() } else { name.to_owned() };
        if let Some(reason) = &self.skipped {
            let none = || "-".to_owned();
            return vec![[
                title,
                none(),
                none(),
                beside(self.row.limit),
                beside(self.row.peer),
                none(),
                self.row.goal.words(),
                format!("skipped: {reason}"),
            ]];
        }
        let cells = |s: &Summary| {
            let (goal, against) = (self.row.goal(&s.measure), s.against.as_deref().unwrap_or(self.row.limit));
            let limit = s.limit.map_or("-".to_owned(), |l| format!("{} {} ({against})", short(l.median), s.unit));
            let Spread { median, min, max } = s.ratio;
            let peer = s.peer.map_or("-".to_owned(), |p| format!("{} {} ({})", short(p.median), s.unit, self.row.peer));
            let ratio = s.limit.or(s.peer).map(|_| format!("{median:.2} ({min:.2}, {max:.2})"));
            let ours = format!("{} {}", short(s.ours.median), s.unit);
            let ratio = ratio.unwrap_or_else(|| "-".to_owned());
            [title.clone(), s.measure.clone(), ours, limit, peer, ratio, goal.words(), s.verdict(goal)]
        };
        self.measures.iter().map(cells).collect()
    }
}

impl Summary {
    fn verdict(&self, goal: Goal) -> String {
        let verdict = match goal.is_met(self.ratio.median) {
            Some(true) => "met",
            Some(false) => "missed",
            None => "-",
        };
        let disturbed = self.limit.or(self.peer).is_some_and(|other| other.max > CALM * other.min);
        if disturbed { format!("{verdict}, disturbed") } else { verdict.to_owned() }
    }
}

impl Goal {
    fn words(self) -> String {
        match self {
            Self::AtMost(most) => format!("at most {most}"),
            Self::AtLeast(least) => format!("at least {least}"),
            Self::Alone(most) => format!("at most {most}"),
            Self::None => "-".to_owned(),
        }
    }

    fn is_met(self, ratio: f64) -> Option<bool> {
        match self {
            Self::AtMost(most) | Self::Alone(most) => Some(ratio <= most),
            Self::AtLeast(least) => Some(ratio >= least),
            Self::None => None,
        }
    }
}

/// A number with about three digits.
fn short(number: f64) -> String {
    if number >= 100.0 || number.fract() == 0.0 { format!("{number:.0}") } else { format!("{number:.1}") }
}

/// The table for a terminal.
pub(super) fn text(machine: &Machine, lines: &[Line]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(lines.iter().flat_map(Line::cells));
    let widths: Vec<usize> =
        (0..HEAD.len()).map(|at| rows.iter().map(|r| r[at].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    for word in &machine.words {
        let _infallible = writeln!(text, "{word}");
    }
    text.push_str(&load(machine));
    text
}

/// The table and all that a reader needs to judge it, as a page.
pub(super) fn page(machine: &Machine, lines: &[Line]) -> String {
    let mut text = String::from(INTRODUCTION);
    let _infallible = write!(text, "\n| {} |\n|{}\n", HEAD.join(" | "), "---|".repeat(HEAD.len()));
    for cells in lines.iter().flat_map(Line::cells) {
        let _infallible = writeln!(text, "| {} |", cells.join(" | "));
    }
    text.push_str("\nMeasured on:\n\n");
    for word in machine.words.iter().chain([&load(machine)]) {
        let _infallible = writeln!(text, "- {word}");
    }
    text
}

const INTRODUCTION: &str = "\
# Performance

Written by `cargo xtask bench --write-docs`; do not edit.

Each row compares two things that were measured in turn in one run on one machine: ours, and the limit, which is the same
work as bare commands of the store below, or a peer, which is another project's queue at the same work; peers are installed
and measured only when they are asked for (`--peers`). The ratio is ours over the other, the median over the rounds with the
smallest and largest round. The times are told for scale and are no promise: they change with every machine and its other work.
Where client and server sit changes a single client's latency several times, so such rows are given for both on cores of
their own and for both on one core. A row whose limit itself changed by more than half between rounds is marked as
disturbed. Rows that fall short of their goal stay in the table.
";

fn load(machine: &Machine) -> String {
    format!("load {:.1} when it began", machine.load)
}

/// Everything, for programs.
pub(super) fn json(machine: &Machine, lines: &[Line]) -> Value {
    let spread = |s: &Spread| json!({"median": s.median, "min": s.min, "max": s.max});
    let measure = |line: &Line, s: &Summary| {
        json!({
            "measure": s.measure, "unit": s.unit, "ours": spread(&s.ours), "limit": s.limit.as_ref().map(spread),
            "against": s.against, "peer": s.peer.as_ref().map(spread), "ratio": s.limit.or(s.peer).map(|_| spread(&s.ratio)),
            "goal": line.row.goal(&s.measure).words(), "verdict": s.verdict(line.row.goal(&s.measure)),
        })
    };
    let line = |line: &Line| {
        json!({
            "row": line.row.name, "part": line.row.part, "ours": line.row.title(), "limit": line.row.limit, "peer": line.row.peer,
            "goal": line.row.goal.words(), "skipped": line.skipped,
            "measures": line.measures.iter().map(|s| measure(line, s)).collect::<Vec<_>>(),
        })
    };
    json!({
        "machine": machine.words, "load": machine.load, "rows": lines.iter().map(line).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::rows;
    use super::*;

    fn machine() -> Machine {
        Machine { words: vec!["one core".to_owned()], load: 0.5 }
    }

    #[test]
    fn verdict_is_that_of_the_median_and_a_shaky_limit_is_told() {
        let row = rows::all()[0];
        assert_eq!(row.goal, Goal::AtMost(1.5));
        let rounds = |all: &[(f64, f64)]| {
            let measured: Vec<_> =
                all.iter().map(|(ours, limit)| Measured::new("p50", "us", *ours, Some(*limit))).collect();
            text(&machine(), &[Line::of(&row, &measured)])
        };
        let met = rounds(&[(14.0, 10.0), (30.0, 10.0), (13.0, 10.0)]);
        assert!(met.contains("1.40 (1.30, 3.00)") && met.contains("met") && !met.contains("disturbed"), "{met}");
        let missed = rounds(&[(16.0, 10.0), (64.0, 40.0), (16.0, 10.0)]);
        assert!(missed.contains("missed, disturbed"), "{missed}");
    }

    #[test]
    fn measure_can_have_a_goal_and_a_limit_of_its_own() {
        let row = rows::all().into_iter().find(|row| row.name == "handover-one").expect("a row");
        let p99 =
            serde_json::json!({"measure": "p99", "unit": "us", "ours": 25, "limit": 10, "against": "its own p50"});
        let measured = [Measured::new("p50", "us", 20.0, Some(10.0)), Measured::of(&p99).expect("a measure")];
        let told = text(&machine(), &[Line::of(&row, &measured)]);
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines[1].contains("at most 1.25") && lines[1].ends_with("missed"), "{told}");
        assert!(
            lines[2].contains("(its own p50)") && lines[2].contains("at most 3") && lines[2].ends_with("met"),
            "{told}"
        );
    }

    #[test]
    fn peer_has_a_column_of_its_own_and_the_ratio_is_over_it() {
        let row = rows::all().into_iter().find(|row| row.name == "bullmq-50").expect("a row");
        let line = serde_json::json!({"measure": "rate", "unit": "/s", "ours": 9000, "peer": 4000});
        let told = text(&machine(), &[Line::of(&row, &[Measured::of(&line).expect("a measure")])]);
        assert!(told.contains("4000 /s (BullMQ's worker)") && told.contains("2.25 (2.25, 2.25)"), "{told}");
        assert!(told.contains("at least 2") && told.contains("met"), "{told}");
    }

    #[test]
    fn skipped_row_stays_in_every_form_of_the_table() {
        let lines = [Line::skipped(&rows::all()[0], &anyhow::anyhow!("no server"))];
        for told in [text(&machine(), &lines), page(&machine(), &lines), json(&machine(), &lines).to_string()] {
            assert!(told.contains("no server") && told.contains("lock + release"), "{told}");
        }
    }
}
