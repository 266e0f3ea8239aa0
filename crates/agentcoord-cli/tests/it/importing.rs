//! `tasks import`: large files, interruptions, what is wrong in them.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;

use agentcoord_testkit::redis_server::RedisServer;
use rustix::process::Signal;
use serde_json::json;

use crate::terminal::{Repository, Terminal};

const MANY: usize = 20_000;

fn write_lines(repository: &Repository, number: usize) {
    let lines: String =
        (0..number).map(|n| format!("{{\"title\":\"task {}\",\"priority\":{}}}\n", n % 7, 1 + n % 5)).collect();
    std::fs::write(repository.root().join("plan.jsonl"), lines).unwrap();
}

fn each_exactly_once_after_a_kill(repository: &Repository, terminal: &Terminal) {
    write_lines(repository, MANY);
    let doomed = terminal.start(&["tasks", "import", "plan.jsonl"]);
    terminal.until(&["status"], |data| data["tasks"]["pending"].as_u64() >= Some(500));
    doomed.signal(Signal::KILL);
    drop(doomed);
    let before = terminal.data(&["status"])["tasks"]["pending"].as_u64().unwrap() as usize;
    assert!(before < MANY, "it was killed too late to show anything");
    let again = terminal.data(&["tasks", "import", "plan.jsonl"]);
    assert_eq!((&again["created"], &again["duplicates"]), (&json!(MANY - before), &json!(before)));
    let ids: BTreeSet<&str> = again["items"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert_eq!(ids.len(), MANY);
    assert_eq!(terminal.data(&["status"])["tasks"]["pending"], MANY);
}

#[test]
fn import_that_was_killed_goes_on_and_makes_each_task_once_on_files() {
    let repository = Repository::new();
    each_exactly_once_after_a_kill(&repository, &repository.terminal());
}

#[test]
fn import_that_was_killed_goes_on_and_makes_each_task_once_on_redis() {
    let server = RedisServer::start();
    let repository = Repository::new();
    let terminal = repository.bare().flag("--backend").flag("redis").flag("--redis-url").flag(&server.url());
    each_exactly_once_after_a_kill(&repository, &terminal);
}

#[test]
fn tasks_of_one_priority_are_claimed_in_the_order_of_their_lines() {
    let server = RedisServer::start();
    let repository = Repository::new();
    let redis = repository.bare().flag("--backend").flag("redis").flag("--redis-url").flag(&server.url());
    let lines: String = (0..1_000).map(|n| format!("{{\"title\":\"{n:04}\"}}\n")).collect();
    std::fs::write(repository.root().join("plan.jsonl"), lines).unwrap();
    redis.data(&["tasks", "import", "plan.jsonl"]);
    let page = redis.data(&["tasks", "--limit", "1000"]);
    let titles: Vec<&str> = page["items"].as_array().unwrap().iter().map(|t| t["title"].as_str().unwrap()).collect();
    assert!(titles.len() == 1_000 && titles.is_sorted(), "several chunks are on their way at a time, in order");
}

#[test]
fn one_bad_line_far_down_writes_nothing() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    write_lines(&repository, 2_000);
    let mut file = std::fs::OpenOptions::new().append(true).open(repository.root().join("plan.jsonl")).unwrap();
    writeln!(file, "{{\"title\":\"\"}}").unwrap();
    let said = terminal.run(&["tasks", "import", "plan.jsonl"]);
    assert_eq!(said.exit, 2);
    assert!(said.stderr.contains("line 2001"), "{}", said.stderr);
    assert_eq!(terminal.data(&["status"])["tasks"]["pending"], 0);
}

#[test]
fn bad_lines_are_listed_in_order_whatever_is_wrong_with_them() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let line = |n: usize| match n {
        3 | 7 => "{\"title\":\"x\",\"key\":\"same\"}\n".to_owned(),
        10.. => "{\"title\":1}\n".to_owned(),
        n => format!("{{\"title\":\"x\",\"key\":\"{n}\"}}\n"),
    };
    std::fs::write(repository.root().join("plan.jsonl"), (1..=40).map(line).collect::<String>()).unwrap();
    let said = terminal.run(&["--json", "tasks", "import", "plan.jsonl"]);
    let error: serde_json::Value = serde_json::from_str(&said.stderr).unwrap();
    let details = &error["error"]["details"];
    assert_eq!(details["bad"], 32);
    let listed: Vec<u64> = details["lines"].as_array().unwrap().iter().map(|l| l["line"].as_u64().unwrap()).collect();
    assert_eq!(listed, [&[7][..], &(10..29).collect::<Vec<u64>>()].concat());
    assert_eq!(details["lines"][0]["why"], "the key of line 3 again");
}

#[test]
fn stdin_is_read_once_and_checked_before_anything_is_written() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    for (last, exit, created) in [("{\"title\":\"c\"}", 0, 3), ("{\"title\":}", 2, 3)] {
        let mut child = terminal.command(&["tasks", "import", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        let text = format!("{{\"title\":\"a\"}}\n\n{{\"title\":\"b\"}}\n{last}");
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(exit));
        assert_eq!(terminal.data(&["status"])["tasks"]["pending"], created);
    }
}

#[test]
fn start_that_counts_from_now_is_refused_because_a_repeat_would_mean_another_task() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    std::fs::write(repository.root().join("plan.jsonl"), "{\"title\":\"x\",\"not_before\":\"2h\"}\n").unwrap();
    let said = terminal.run(&["tasks", "import", "plan.jsonl"]);
    assert_eq!(said.exit, 2);
    assert!(said.stderr.contains("not_before: expected a time such as"), "{}", said.stderr);
}

#[test]
fn key_of_another_task_is_found_before_anything_is_written() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let line = |title: &str, key: &str| format!("{{\"title\":\"{title}\",\"key\":\"{key}\"}}\n");
    let import = |lines: &str| {
        std::fs::write(repository.root().join("plan.jsonl"), lines).unwrap();
        terminal.run(&["tasks", "import", "plan.jsonl"])
    };
    assert_eq!(import(&[line("first", "a"), line("second", "b")].concat()).exit, 0);
    let new: String = (0..1_200).map(|n| line("new", &n.to_string())).collect();
    let said = import(&[line("other", "a"), new.clone(), line("second", "b"), line("other still", "b")].concat());
    assert_eq!(said.exit, 2);
    for (number, what) in [(1, "key: it names a task with other content"), (1203, "the key of line 1202 again")] {
        assert!(said.stderr.contains(&format!("line {number}: {what}")), "{}", said.stderr);
    }
    assert_eq!(terminal.data(&["status"])["tasks"]["pending"], 2);
    assert_eq!(import(&[new, line("second", "b")].concat()).exit, 0, "the same again is no reuse");
    assert_eq!(terminal.data(&["status"])["tasks"]["pending"], 1_202);
}

#[test]
fn wrong_value_is_told_with_its_field_and_with_what_is_allowed() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let span = "is neither a duration such as \"30m\" nor a number of seconds";
    let cases = [
        (r#"{"title":1}"#, "title: invalid type: integer `1`, expected a string".to_owned()),
        (r#"{"priority":2}"#, "missing field `title`".to_owned()),
        (r#"{"title":"x","priority":300}"#, "invalid priority: `300` (allowed: 1 to 5)".to_owned()),
        (r#"{"title":"x","priority":1.5}"#, "invalid priority: `1.5` (allowed: 1 to 5)".to_owned()),
        (r#"{"title":"x","max_attempts":-1}"#, "invalid max_attempts: `-1` (allowed: 1 to 1000)".to_owned()),
        (r#"{"title":"x","tags":["a",2]}"#, "tags[1]: invalid type: integer `2`, expected a string".to_owned()),
        (r#"{"title":"x","lease":-1}"#, format!("lease: `-1` {span}")),
        (r#"{"title":"x","backoff":["1s"]}"#, format!("backoff: `[\"1s\"]` {span}")),
        (r#"{"title":"x"} {"title":"y"}"#, "no JSON: more than one value".to_owned()),
    ];
    let lines: Vec<&str> = cases.iter().map(|(line, _)| *line).collect();
    std::fs::write(repository.root().join("plan.jsonl"), lines.join("\n")).unwrap();
    let said = terminal.run(&["--json", "tasks", "import", "plan.jsonl"]);
    let error: serde_json::Value = serde_json::from_str(&said.stderr).unwrap();
    let told = error["error"]["details"]["lines"].as_array().unwrap();
    for ((line, why), told) in cases.iter().zip(told) {
        assert_eq!(told["why"], *why, "{line}");
    }
    assert_eq!(told.len(), cases.len());
}
