//! How a source file looks.

use anyhow::Result;

use super::tree::{Tree, uses};

/// Past this a file should be asked what it does not do; past the second it is too long.
const LONG: usize = 500;
const TOO_LONG: usize = 600;

/// Rust files that do not begin with what they are responsible for.
pub(super) fn documented(tree: &Tree) -> Result<Vec<String>> {
    let bare = tree.rust().filter(|f| !f.text.starts_with("//! "));
    Ok(bare.map(|f| format!("{} does not begin with //!", f.path)).collect())
}

/// Files that are too long.
pub(super) fn short(tree: &Tree) -> Result<Vec<String>> {
    Ok(longer_than(tree, TOO_LONG))
}

/// Files that are long but not yet too long: a warning.
pub(super) fn long(tree: &Tree) -> Vec<String> {
    longer_than(tree, LONG)
}

fn longer_than(tree: &Tree, most: usize) -> Vec<String> {
    let sources = tree.files().filter(|f| f.is_rust() || f.path.ends_with(".lua"));
    let long = sources.map(|f| (f, f.text.lines().count())).filter(|(_, lines)| *lines > most);
    long.map(|(f, lines)| format!("{} has {lines} lines, more than {most}", f.path)).collect()
}

/// Tests that nobody runs.
pub(super) fn no_ignored_tests(tree: &Tree) -> Result<Vec<String>> {
    let ignored = concat!("#[", "ignore");
    let hits = tree.rust().flat_map(|f| f.text.lines().filter(|l| l.contains(ignored)).map(|_| f.path.clone()));
    Ok(hits.map(|path| format!("{path} ignores a test")).collect())
}

/// Tests whose name begins with what they are instead of what they show.
pub(super) fn names_of_tests(tree: &Tree) -> Result<Vec<String>> {
    let named = concat!("fn ", "test_");
    let hits = tree.rust().flat_map(|f| f.text.lines().filter(|l| l.contains(named)).map(move |l| (f, l)));
    Ok(hits.map(|(f, line)| format!("{}: `{}`: a test's name is a sentence", f.path, line.trim())).collect())
}

/// Work that was put off.
pub(super) fn no_leftovers(tree: &Tree) -> Result<Vec<String>> {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let mut problems = Vec::new();
    for file in tree.files() {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(**mark)) {
                problems.push(format!("{}:{}: {mark}", file.path, number + 1));
            }
        }
    }
    problems.extend(tree.rust().flat_map(|f| uses(f, &[concat!("unimplemented", "!(")])));
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::super::{finds, holds};
    use super::*;

    #[test]
    fn every_module_says_what_it_is_responsible_for() {
        holds(documented);
        assert_eq!(finds(documented, &[("a.rs", "//! Something.\n"), ("b.rs", "fn f() {}\n")]), 1);
    }

    #[test]
    fn no_source_file_is_too_long() {
        holds(short);
        let long = "\n".repeat(601);
        assert_eq!(finds(short, &[("a.rs", &long), ("b.lua", &long), ("c.md", &long), ("d.rs", "\n")]), 2);
    }

    #[test]
    fn no_test_is_ignored() {
        holds(no_ignored_tests);
        assert_eq!(finds(no_ignored_tests, &[("a.rs", concat!("#[", "ignore = \"slow\"]\n"))]), 1);
    }

    #[test]
    fn names_of_tests_are_sentences() {
        holds(names_of_tests);
        assert_eq!(finds(names_of_tests, &[("a.rs", concat!("    fn ", "test_it() {}\n"))]), 1);
    }

    #[test]
    fn nothing_is_put_off() {
        holds(no_leftovers);
        assert_eq!(finds(no_leftovers, &[("a.lua", concat!("-- TO", "DO: later\n")), ("b.md", "done\n")]), 1);
    }
}
