//! `tidy`: the house rules that a compiler does not know. ARCHITECTURE.md says why each exists.
//!
//! A rule is a function from the tree of files to the problems it sees. It is a test on the repository, and a test of
//! its own shows that it can fail.

mod boundaries;
mod dependencies;
mod files;
mod links;
mod sources;
pub(crate) mod tree;

use anyhow::{Result, bail};

use crate::report;
use tree::Tree;

/// A rule: its name, and what finds its problems.
type Rule = (&'static str, fn(&Tree) -> Result<Vec<String>>);

const RULES: [Rule; 14] = [
    ("dependency edges", dependencies::edges),
    ("module documentation", sources::documented),
    ("file length", sources::short),
    ("no ignored tests", sources::no_ignored_tests),
    ("test names", sources::names_of_tests),
    ("no leftovers", sources::no_leftovers),
    ("key strings", boundaries::key_strings),
    ("environment", boundaries::environment),
    ("pure core", boundaries::pure_core),
    ("printing", boundaries::printing),
    ("root files", files::root),
    ("changelog", files::changelog),
    ("no foreign paths and hosts", files::no_foreign_places),
    ("links", links::resolve),
];

pub(crate) fn run() -> Result<()> {
    let tree = Tree::read()?;
    for warning in sources::long(&tree) {
        report::note(&warning);
    }
    let mut problems = Vec::new();
    for (name, rule) in RULES {
        problems.extend(rule(&tree)?.into_iter().map(|problem| format!("{name}: {problem}")));
    }
    if !problems.is_empty() {
        bail!("{} against the house rules:\n{}", problems.len(), problems.join("\n"));
    }
    Ok(())
}

/// Fails with the problems that a rule finds in the repository.
#[cfg(test)]
fn holds(rule: fn(&Tree) -> Result<Vec<String>>) {
    let problems = rule(&Tree::read().expect("the repository")).expect("the rule runs");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// How many problems a rule finds in a made-up tree.
#[cfg(test)]
fn finds(rule: fn(&Tree) -> Result<Vec<String>>, files: &[(&str, &str)]) -> usize {
    rule(&Tree::of(files)).expect("the rule runs").len()
}
