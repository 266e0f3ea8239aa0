//! What a run of the bench is asked for.

use anyhow::{Context, Result, bail};

/// How long a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Quick,
    Usual,
    Full,
}

/// The options of `cargo xtask bench`.
#[derive(Debug)]
pub(super) struct Options {
    parts: Vec<String>,
    length: Length,
    /// The whole report as JSON instead of the table.
    pub(super) json: bool,
    /// Whether to write the page under docs/ too.
    pub(super) write_docs: bool,
    /// Whether to install other queues, and to measure beside them.
    pub(super) peers: bool,
    /// Whether Redis keeps an append-only file, as its users run it.
    pub(super) append_only: bool,
}

impl Options {
    pub(super) fn read(arguments: &[&str]) -> Result<Self> {
        let mut options = Self {
            parts: Vec::new(),
            length: Length::Usual,
            json: false,
            write_docs: false,
            peers: false,
            append_only: true,
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match *word {
                "--rows" => options.parts.push((*words.next().context("--rows of which part?")?).to_owned()),
                "--quick" => options.length = Length::Quick,
                "--full" => options.length = Length::Full,
                "--json" => options.json = true,
                "--write-docs" => options.write_docs = true,
                "--peers" => options.peers = true,
                "--no-append-only" => options.append_only = false,
                other => bail!("bench knows no {other}"),
            }
        }
        if options.write_docs && !(options.parts.is_empty() && options.append_only) {
            bail!("--write-docs writes the whole table as Redis' users run it: not with --rows or --no-append-only");
        }
        Ok(options)
    }

    pub(super) fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|p| p == part)
    }

    /// Rounds after the warm-up.
    pub(super) fn rounds(&self) -> usize {
        match self.length {
            Length::Quick => 5,
            Length::Usual => 9,
            Length::Full => 15,
        }
    }

    /// Records in a store that is to be full.
    pub(super) fn records(&self) -> usize {
        match self.length {
            Length::Quick | Length::Usual => 100_000,
            Length::Full => 1_000_000,
        }
    }

    /// Operations a round, from what a row takes usually.
    pub(super) fn operations(&self, usual: usize) -> usize {
        match self.length {
            Length::Quick => usual.div_ceil(4),
            Length::Usual => usual,
            Length::Full => usual * 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let options = Options::read(&["--rows", "locks", "--quick", "--json", "--peers"]).expect("known options");
        assert!(options.wants("locks") && !options.wants("tasks") && options.json && options.peers);
        assert!(!Options::read(&[]).expect("none").peers, "nothing is downloaded unasked");
        assert!(options.operations(1_000) < Options::read(&[]).expect("none").operations(1_000));
        for wrong in [&["--rows"][..], &["locks"], &["--write-docs", "--rows", "locks"]] {
            assert!(Options::read(wrong).is_err(), "{wrong:?}");
        }
    }
}
