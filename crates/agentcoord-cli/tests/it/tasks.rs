//! The queue from the command line: a task's life, races, and imports.

use std::io::Write;
use std::process::Stdio;

use agentcoord_testkit::redis_server::RedisServer;
use serde_json::json;

use crate::terminal::{Repository, Terminal, Transcript};

fn life_of_a_task(repository: &Repository, terminal: &Terminal) -> Transcript {
    let (ann, ben) = (terminal.agent("ann"), terminal.agent("ben"));
    let mut transcript = Transcript::new(repository);
    transcript.run("ann", &ann, &["tasks"]);
    transcript.run("ann", &ann, &["tasks", "claim"]);
    transcript.run(
        "ann",
        &ann,
        &["tasks", "add", "Rotate keys", "--tag", "backend", "--priority", "5", "--backoff", "0"],
    );
    let first = ann.data(&["tasks"])["items"][0]["id"].as_str().unwrap().to_owned();
    let payload = r#"{"file":"src/a.rs"}"#;
    transcript.run("ann", &ann, &["tasks", "add", "Tidy up", "--payload", payload, "--requires", "rust"]);
    transcript.run("ben", &ben, &["tasks", "claim", "--tag", "frontend"]);
    transcript.run("ben", &ben, &["tasks", "claim", "--tag", "backend", "--tag", "frontend"]);
    transcript.run("ann", &ann, &["tasks", "claim", &first]);
    transcript.run("ann", &ann, &["tasks", "done", &first]);
    transcript.run("ann", &ann, &["tasks", "done", &first, "--json"]);
    transcript.run("ben", &ben, &["tasks", "start", &first]);
    transcript.run("ben", &ben, &["tasks", "progress", &first, "-m", "halfway", "--percent", "50"]);
    transcript.run("ben", &ben, &["tasks", "extend", &first, "3h"]);
    transcript.run("ann", &ann, &["tasks", "--claimed-by", "ben"]);
    transcript.run("ben", &ben, &["tasks", "release", &first]);
    transcript.run("ben", &ben, &["tasks", "claim"]);
    transcript.run("ben", &ben, &["tasks", "fail", &first, "-m", "no access"]);
    transcript.run("ben", &ben, &["tasks", "claim", &first, "--lease", "10m"]);
    transcript.run("ben", &ben, &["tasks", "done", &first, "--result", r#"{"keys":3}"#]);
    transcript.run("ben", &ben, &["tasks", "done", &first]);
    transcript.run("ann", &ann, &["tasks", "show", &first]);
    transcript.run("ben", &ben, &["tasks", "list", "--status", "pending", "--text", "TIDY"]);
    transcript.run("ben", &ben, &["tasks", "list", "--status", "completed", "-o", "id"]);
    transcript
}

#[test]
fn task_lives_from_add_to_done_on_files() {
    let repository = Repository::new();
    life_of_a_task(&repository, &repository.terminal()).check("life_of_a_task");
}

#[test]
fn task_lives_from_add_to_done_on_redis_with_the_same_words() {
    let server = RedisServer::start();
    let repository = Repository::new();
    let terminal = repository.bare().flag("--backend").flag("redis").flag("--redis-url").flag(&server.url());
    life_of_a_task(&repository, &terminal).check("life_of_a_task");
}

#[test]
fn one_task_raced_for_by_many_processes_is_claimed_once() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let id = terminal.data(&["tasks", "add", "One for all"])["task"]["id"].as_str().unwrap().to_owned();
    let names: Vec<String> = (0..6).map(|n| format!("racer-{n}")).collect();
    let racers: Vec<_> = names.iter().map(|name| terminal.agent(name).start(&["tasks", "claim", &id])).collect();
    let mut exits: Vec<i32> = racers.into_iter().map(|racer| racer.finish().exit).collect();
    exits.sort_unstable();
    assert_eq!(exits, [0, 4, 4, 4, 4, 4]);
    assert_eq!(terminal.data(&["tasks", "show", &id])["task"]["attempt"], 1);
}

#[test]
fn waiting_claim_gets_the_task_that_somebody_adds() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let ann = terminal.agent("ann");
    let waiting = ann.start(&["--json", "tasks", "claim", "--tag", "backend", "--wait", "30s"]);
    terminal.until(&["agents"], |data| data["items"][0]["waiting_for"] == "a task");
    terminal.data(&["tasks", "add", "Not this one", "--tag", "frontend"]);
    terminal.data(&["tasks", "add", "This one", "--tag", "backend"]);
    let said = waiting.finish();
    assert_eq!(said.exit, 0, "{}", said.stderr);
    let answer: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(answer["data"]["task"]["title"], "This one");
    assert!(answer["data"]["task"]["deadline"].is_string(), "a claim from a command line has an end");
}

#[test]
fn claim_that_waits_in_vain_says_so_and_leaves_the_queue() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    let said = ann.run(&["--json", "tasks", "claim", "--wait", "50ms"]);
    assert_eq!(said.exit, 6, "{}", said.stderr);
    let answer: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&answer["ok"], &answer["data"]), (&json!(true), &json!({"task": null})));
    let id = ann.data(&["tasks", "add", "Too late"])["task"]["id"].clone();
    assert_eq!(ann.data(&["tasks", "show", id.as_str().unwrap()])["task"]["status"], "pending");
}

#[test]
fn token_of_an_earlier_claim_is_stale() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    ann.data(&["tasks", "add", "Twice"]);
    let claim = ann.data(&["tasks", "claim"]);
    let (id, token) = (claim["task"]["id"].as_str().unwrap().to_owned(), claim["task"]["token"].to_string());
    ann.data(&["tasks", "release", &id]);
    ann.data(&["tasks", "claim", &id]);
    let said = ann.run(&["tasks", "done", &id, "--token", &token]);
    assert_eq!(said.exit, 9, "{}", said.stderr);
    assert_eq!(ann.data(&["tasks", "show", &id])["task"]["status"], "claimed");
}

#[test]
fn key_used_again_is_the_same_task_and_for_something_else_is_refused() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let one = terminal.data(&["tasks", "add", "Nightly", "--key", "nightly-1"]);
    let two = terminal.data(&["tasks", "add", "Nightly", "--key", "nightly-1"]);
    assert_eq!(one["task"]["id"], two["task"]["id"]);
    let other = terminal.run(&["tasks", "add", "Weekly", "--key", "nightly-1"]);
    assert_eq!(other.exit, 5, "{}", other.stderr);
}

#[test]
fn long_texts_come_from_stdin_and_files() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    std::fs::write(repository.root().join("payload.json"), r#"{"n":[1,2]}"#).unwrap();
    let words = ["--json", "tasks", "add", "Long", "--description", "-", "--payload", "@payload.json"];
    let mut child = terminal.command(&words).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"two\nlines").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["data"]["task"]["description"], "two\nlines");
    assert_eq!(answer["data"]["task"]["payload"], json!({"n": [1, 2]}));
}

#[test]
fn import_with_bad_lines_names_them_and_writes_nothing() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let mut lines = vec![
        r#"{"title":"good"}"#.to_owned(),
        String::new(),
        r#"{"title":""}"#.to_owned(),
        r#"{"titel":"slip"}"#.to_owned(),
        "no json".to_owned(),
        r#"{"title": x}"#.to_owned(),
        r#"{"title":"x","priority":6}"#.to_owned(),
        r#"{"title":"x","lease":"-5m"}"#.to_owned(),
        r#"{"title":"x","key":"same"}"#.to_owned(),
        r#"{"title":"x","key":"same"}"#.to_owned(),
        r#"["title"]"#.to_owned(),
    ];
    lines.extend((0..20).map(|n| format!(r#"{{"title":"x","tags":["{}"]}}"#, "t".repeat(200 + n))));
    std::fs::write(repository.root().join("tasks.jsonl"), lines.join("\n")).unwrap();
    let mut transcript = Transcript::new(&repository);
    let said = transcript.run("ann", &terminal, &["tasks", "import", "tasks.jsonl"]);
    assert_eq!(said.exit, 2);
    let said = terminal.run(&["--json", "tasks", "import", "tasks.jsonl"]);
    let error: serde_json::Value = serde_json::from_str(&said.stderr).unwrap();
    assert_eq!(error["error"]["details"]["bad"], 28);
    assert_eq!(error["error"]["details"]["lines"].as_array().unwrap().len(), 20);
    transcript.run("ann", &terminal, &["tasks", "import", "nowhere.jsonl"]);
    transcript.check("import_of_bad_lines");
    assert_eq!(terminal.data(&["tasks"])["items"], json!([]));
}

#[test]
fn import_goes_on_where_it_stopped_and_makes_no_duplicates() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let lines: Vec<String> = (0..250).map(|n| format!(r#"{{"title":"task {}","tags":["t"]}}"#, n % 7)).collect();
    let file = repository.root().join("tasks.jsonl");
    // As if the first import had been cut off after a chunk.
    std::fs::write(&file, lines[..100].join("\n")).unwrap();
    assert_eq!(terminal.data(&["tasks", "import", "tasks.jsonl"])["created"], 100);
    std::fs::write(&file, lines.join("\n")).unwrap();
    let second = terminal.data(&["tasks", "import", "tasks.jsonl"]);
    assert_eq!((&second["created"], &second["duplicates"]), (&json!(150), &json!(100)));
    let third = terminal.data(&["tasks", "import", "tasks.jsonl"]);
    assert_eq!((&third["created"], &third["duplicates"]), (&json!(0), &json!(250)));
    assert_eq!(second["items"], third["items"]);
    assert_eq!(terminal.data(&["status"])["tasks"]["pending"], 250);
}

#[test]
fn listing_goes_on_page_by_page_without_gaps() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let lines: Vec<String> = (0..25).map(|n| format!(r#"{{"title":"task {n:02}"}}"#)).collect();
    std::fs::write(repository.root().join("tasks.jsonl"), lines.join("\n")).unwrap();
    terminal.data(&["tasks", "import", "tasks.jsonl"]);
    let mut titles: Vec<String> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut words = vec!["tasks", "--limit", "10"];
        words.extend(cursor.as_deref().into_iter().flat_map(|c| ["--cursor", c]));
        let page = terminal.data(&words);
        titles.extend(page["items"].as_array().unwrap().iter().map(|t| t["title"].as_str().unwrap().to_owned()));
        cursor = page["cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..25).map(|n| format!("task {n:02}")).collect();
    assert_eq!(titles, expected);
}

#[test]
fn bad_task_input_is_refused_and_nothing_is_written() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    let mut transcript = Transcript::new(&repository);
    let calls: [&[&str]; 21] = [
        &["tasks", "add", ""],
        &["tasks", "add", "x", "--priority", "0"],
        &["tasks", "add", "x", "--priority", "6"],
        &["tasks", "add", "x", "--priority", "-1"],
        &["tasks", "add", "x", "--tag", ""],
        &["tasks", "add", "x", "--lease", "-5"],
        &["tasks", "add", "x", "--lease", "0"],
        &["tasks", "add", "x", "--max-attempts", "0"],
        &["tasks", "add", "x", "--backoff", "-1s"],
        &["tasks", "add", "x", "--not-before", "tomorrow"],
        &["tasks", "add", "x", "--depends-on", "zz"],
        &["tasks", "add", "x", "--depends-on", "0123abcd"],
        &["tasks", "add", "x", "--payload", "{no json"],
        &["tasks", "add", "x", "--payload", "@nowhere"],
        &["tasks", "claim", "--wait", "-1"],
        &["tasks", "claim", "zz"],
        &["tasks", "list", "--status", "doing"],
        &["tasks", "list", "--limit", "0"],
        &["tasks", "list", "--cursor", "zz"],
        &["tasks", "show", "0123abcd"],
        &["tasks", "done", "0123abcd", "--result", "{"],
    ];
    for call in calls {
        let said = transcript.run("ann", &ann, call);
        assert!(said.exit == 2 || said.exit == 3, "{call:?} exits with {}", said.exit);
        assert_eq!(said.stdout, "", "{call:?}");
    }
    let huge = "x".repeat(2_000);
    assert_eq!(ann.run(&["tasks", "add", &huge]).exit, 2);
    assert_eq!(ann.data(&["tasks"])["items"], json!([]));
    transcript.check("bad_task_input");
}
