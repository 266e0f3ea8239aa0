//! Every case is in the list, and every behaviour that core promises is a case.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const NOUNS: [&str; 17] = [
    "locks",
    "overlaps",
    "onlookers",
    "fences",
    "deadlocks",
    "agents",
    "tasks",
    "leases",
    "retries",
    "dependencies",
    "dispatch",
    "board",
    "inboxes",
    "approvals",
    "audit",
    "history",
    "requests",
];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The public async functions of each file of cases.
fn written() -> BTreeMap<String, BTreeSet<String>> {
    let names = |noun: &str| {
        let source = read(&format!("src/cases/{noun}.rs"));
        let name = |line: &str| Some(line.strip_prefix("pub async fn ")?.split_once('(')?.0.to_owned());
        source.lines().filter_map(name).collect()
    };
    NOUNS.iter().map(|noun| ((*noun).to_owned(), names(noun))).collect()
}

#[test]
fn every_written_case_is_in_the_list() {
    let source = read("src/list.rs");
    let mut listed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for block in source.split("$crate::cases_of!(").skip(1) {
        let (block, _) = block.split_once(')').expect("the list of a noun ends");
        let mut words = block.split(',').map(str::trim).filter(|w| !w.is_empty()).map(str::to_owned);
        assert_eq!(words.next().as_deref(), Some("$harness"));
        let noun = words.next().expect("a noun");
        listed.insert(noun, words.collect());
    }
    assert_eq!(listed, written());
}

#[test]
fn every_file_of_cases_is_a_noun_of_the_list() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cases");
    let files: BTreeSet<String> = fs::read_dir(directory)
        .expect("there are cases")
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().trim_end_matches(".rs").to_owned())
        .filter(|name| name != "mod")
        .collect();
    assert_eq!(files, NOUNS.iter().map(|n| (*n).to_owned()).collect());
}

#[test]
fn every_promised_behaviour_is_a_case() {
    let cases: BTreeSet<String> = written().into_values().flatten().collect();
    let mut promised = BTreeSet::new();
    for file in ["lock", "agent", "task", "board", "approval", "audit"] {
        let source = read(&format!("../agentcoord-core/src/{file}.rs"));
        let before = promised.len();
        let mut in_section = false;
        for line in source.lines().map(str::trim) {
            match line.strip_prefix("///").map(str::trim) {
                Some("# Behavior") => in_section = true,
                Some(text) if text.starts_with('#') => in_section = false,
                Some(text) if in_section => {
                    // Names of cases are sentences; other code words in the text are single words.
                    let words = text.split('`').skip(1).step_by(2).filter(|w| w.contains('_'));
                    promised.extend(words.map(str::to_owned));
                }
                Some(_) => {}
                None => in_section = false,
            }
        }
        assert!(promised.len() > before, "{file}.rs promises nothing");
    }
    let missing: Vec<&String> = promised.difference(&cases).collect();
    assert!(missing.is_empty(), "promised in core but no case: {missing:?}");
}
