//! The four forms of an answer, and who gets which stream.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::terminal::{Repository, Transcript};

/// Every command that answers for itself, with arguments that work after `ann` has acquired `a`.
const COMMANDS: &[(&[&str], i32)] = &[
    (&["status"], 0),
    (&["locks"], 0),
    (&["locks", "list"], 0),
    (&["locks", "acquire", "a"], 0),
    (&["locks", "show", "a"], 0),
    (&["locks", "verify", "a", "--token", "1"], 9),
    (&["locks", "renew", "--all"], 0),
    (&["agents"], 0),
    (&["agents", "list", "--all"], 0),
    (&["agents", "register"], 0),
    (&["agents", "heartbeat"], 0),
    (&["agents", "update", "--status", "well"], 0),
    (&["agents", "show", "ann"], 0),
    (&["hung"], 0),
    (&["hung", "--threshold", "1ms", "--check"], 8),
    (&["config", "show", "--origin"], 0),
    (&["config"], 0),
    (&["version"], 0),
    (&["help", "agents"], 0),
    (&["help", "locks", "acquire"], 0),
    (&["completions", "bash"], 0),
    (&["locks", "release", "--all"], 0),
    (&["agents", "deregister"], 0),
];

#[test]
fn every_command_answers_as_table_and_as_json() {
    for format in ["table", "json", "jsonl", "id"] {
        let repository = Repository::new();
        let ann = repository.terminal().agent("ann").flag("-o").flag(format);
        ann.run(&["locks", "acquire", "a"]);
        for (words, code) in COMMANDS {
            let said = ann.run(words);
            assert_eq!((said.exit, said.stderr.as_str()), (*code, ""), "{format}: {words:?}");
            match format {
                "table" => assert!(!said.stdout.trim().is_empty(), "{words:?}"),
                "json" => {
                    let envelope: Value = serde_json::from_str(&said.stdout).unwrap();
                    assert_eq!((&envelope["v"], &envelope["ok"]), (&json!(1), &json!(true)), "{words:?}");
                    assert!(envelope["data"].is_object() && envelope["meta"]["now"].is_string(), "{words:?}");
                    assert_eq!(said.stdout.lines().count(), 1);
                }
                "jsonl" => said.stdout.lines().for_each(|line| drop(serde_json::from_str::<Value>(line).unwrap())),
                _ => {}
            }
        }
    }
}

#[test]
fn answers_of_one_agent_in_all_forms() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    let mut transcript = Transcript::new(&repository);
    transcript.run("ann", &ann, &["status"]);
    transcript.run("ann", &ann, &["locks", "acquire", "src/a.rs", "-m", "why", "-o", "id"]);
    for format in ["table", "json", "jsonl", "id"] {
        transcript.run("ann", &ann, &["-o", format, "locks"]);
    }
    transcript.run("ann", &ann, &["--json", "status"]);
    transcript.run("ann", &ann, &["--json", "locks", "verify", "src/a.rs", "--token", "7"]);
    transcript.run("ann", &ann, &["--json", "locks", "acquire", "--wat"]);
    transcript.run("ann", &ann.clone().variable("AGENTCOORD_OUTPUT", "json"), &["agents", "show", "nobody"]);
    transcript.check("forms");
}

#[test]
fn help_reads_well() {
    let repository = Repository::new();
    let mut transcript = Transcript::new(&repository);
    for words in [&["--help"][..], &["help", "agents"], &["help", "lokcs"], &["locks", "acquire", "--help"], &[]] {
        transcript.run("", &repository.terminal(), words);
    }
    transcript.check("help");
}

#[test]
fn reader_that_has_gone_away_is_success() {
    let repository = Repository::new();
    let mut child = repository.terminal().command(&["completions", "bash"]).stdout(Stdio::piped()).spawn().unwrap();
    // Nobody reads a script that is larger than a pipe.
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn tables_are_coloured_only_when_asked_off_a_terminal() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    ann.data(&["locks", "acquire", "a"]);
    assert!(!ann.run(&["locks"]).stdout.contains('\u{1b}'));
    assert!(ann.run(&["--color", "always", "locks"]).stdout.contains("\u{1b}[1m"));
    assert!(!ann.clone().variable("NO_COLOR", "1").run(&["locks"]).stdout.contains('\u{1b}'));
}
