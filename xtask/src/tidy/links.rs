//! Links between the project's own pages.

use std::collections::BTreeSet;

use anyhow::Result;

use super::tree::{File, Tree};
use crate::command;

/// Links to files or headings that are not there.
pub(super) fn resolve(tree: &Tree) -> Result<Vec<String>> {
    let paths: BTreeSet<&str> = tree.files().map(|f| f.path.as_str()).collect();
    let mut problems = Vec::new();
    for page in tree.files().filter(|f| f.path.ends_with(".md")) {
        for target in targets(&page.text) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { page.path.clone() } else { beside(&page.path, file) };
            let known = paths.contains(path.as_str()) || command::root().join(&path).is_dir();
            let headed = || tree.files().find(|f| f.path == path).is_some_and(|f| has_heading(f, heading));
            if !known || (!heading.is_empty() && !headed()) {
                problems.push(format!("{}: nothing at {target}", page.path));
            }
        }
    }
    Ok(problems)
}

/// The targets of `[text](target)` outside code, without those that lead to other sites.
fn targets(text: &str) -> Vec<&str> {
    let mut in_code = false;
    let mut targets = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            targets.extend(rest.split_once(')').map(|(target, _)| target));
        }
    }
    targets.retain(|target| !target.contains("://") && !target.starts_with("mailto:"));
    targets
}

/// A relative path as seen from the folder of a page.
fn beside(page: &str, file: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Whether a page has a heading whose anchor this is: lower case, without punctuation, `-` for blanks.
fn has_heading(page: &File, anchor: &str) -> bool {
    page.text.lines().filter_map(|l| l.strip_prefix('#')).any(|heading| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).eq(anchor.chars())
    })
}

#[cfg(test)]
mod tests {
    use super::super::{finds, holds};
    use super::*;

    #[test]
    fn links_between_pages_resolve() {
        holds(resolve);
        let page = "[a](b.md) [b](b.md#the-end) [c](https://example.org/x) [d](#top)\n# Top\n```\n[e](none)\n```\n";
        assert_eq!(finds(resolve, &[("docs/a.md", page), ("docs/b.md", "# The end!\n")]), 0);
        assert_eq!(finds(resolve, &[("docs/a.md", "[a](../b.md) [b](c.md) [c](#no)\n"), ("b.md", "")]), 2);
    }

    #[test]
    fn tests_that_the_architecture_names_exist() {
        let tree = Tree::read().expect("the repository");
        let page = tree.files().find(|f| f.path == "ARCHITECTURE.md").expect("ARCHITECTURE.md");
        let rows = page.text.lines().filter(|l| l.starts_with("| ") && l.ends_with("` |"));
        let named: Vec<&str> = rows.filter_map(|l| l.trim_end_matches("` |").rsplit('`').next()).collect();
        assert!(named.len() >= 10, "the table of invariants was not found");
        for test in named {
            let test = format!("fn {test}()");
            assert!(tree.rust().any(|f| f.text.contains(&test)), "no {test}");
        }
    }

    #[test]
    fn continuous_integration_runs_the_command_of_the_readme() {
        let tree = Tree::read().expect("the repository");
        let text = |path: &str| tree.files().find(|f| f.path == path).expect(path).text.as_str();
        let command = text(".ci/run").lines().last().expect("a command");
        assert!(text("README.md").contains(&format!("```sh\n{command}\n```")), "README.md lacks `{command}`");
    }
}
