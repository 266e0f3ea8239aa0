//! Tasks that fail, rest, wait for others, are called off and put back, from the command line.

use agentcoord_testkit::redis_server::RedisServer;
use serde_json::json;

use crate::terminal::{Repository, Terminal, Transcript};

fn id_of(terminal: &Terminal, words: &[&str]) -> String {
    terminal.data(words)["task"]["id"].as_str().unwrap().to_owned()
}

fn second_chances(repository: &Repository, terminal: &Terminal) -> Transcript {
    let (ann, ben) = (terminal.agent("ann"), terminal.agent("ben"));
    let mut transcript = Transcript::new(repository);
    let first = id_of(&ann, &["tasks", "add", "Build", "--backoff", "0", "--max-attempts", "2"]);
    transcript.run("ann", &ann, &["tasks", "add", "Ship", "--depends-on", &first]);
    let second = ann.data(&["tasks", "--status", "blocked"])["items"][0]["id"].as_str().unwrap().to_owned();
    transcript.run("ben", &ben, &["tasks", "claim", &second]);
    transcript.run("ben", &ben, &["tasks", "redrive", &second]);
    ben.data(&["tasks", "claim"]);
    transcript.run("ben", &ben, &["tasks", "fail", &first, "-m", "no compiler"]);
    ben.data(&["tasks", "claim"]);
    transcript.run("ben", &ben, &["tasks", "fail", &first, "-m", "still no compiler"]);
    transcript.run("ann", &ann, &["tasks"]);
    transcript.run("ann", &ann, &["tasks", "show", &first]);
    transcript.run("ann", &ann, &["tasks", "show", &second]);
    transcript.run("ann", &ann, &["audit"]);
    transcript.run("ann", &ann, &["tasks", "redrive", &first]);
    ben.data(&["tasks", "claim"]);
    transcript.run("ann", &ann, &["tasks", "cancel", &first, "-m", "not today"]);
    transcript.run("ann", &ann, &["tasks", "cancel", &first]);
    transcript.run("ben", &ben, &["tasks", "done", &first]);
    ann.data(&["tasks", "redrive", &first]);
    ben.data(&["tasks", "claim"]);
    transcript.run("ben", &ben, &["tasks", "done", &first]);
    transcript.run("ben", &ben, &["tasks", "show", &second]);
    transcript.run("ben", &ben, &["tasks", "redrive", &first]);
    transcript
}

#[test]
fn task_gets_second_chances_on_files() {
    let repository = Repository::new();
    second_chances(&repository, &repository.terminal()).check("second_chances");
}

#[test]
fn task_gets_second_chances_on_redis_with_the_same_words() {
    let server = RedisServer::start();
    let repository = Repository::new();
    let terminal = repository.bare().flag("--backend").flag("redis").flag("--redis-url").flag(&server.url());
    second_chances(&repository, &terminal).check("second_chances");
}

#[test]
fn task_with_a_start_time_is_kept_back_until_then() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    let task = ann.data(&["tasks", "add", "Soon", "--not-before", "300ms"]);
    assert_eq!(ann.data(&["tasks", "claim", "--wait", "30s"])["task"]["id"], task["task"]["id"]);
    let task = ann.data(&["tasks", "add", "In 2100", "--not-before", "2100-01-01T00:00:00Z"]);
    assert_eq!(task["task"]["status"], "scheduled");
    assert_eq!(task["task"]["not_before"], "2100-01-01T00:00:00.000Z");
    assert_eq!(ann.data(&["tasks", "add", "Now", "--not-before", "2000-01-01T00:00:00Z"])["task"]["status"], "pending");
}

#[test]
fn failed_task_rests_and_comes_back_to_who_waits() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    let patient = id_of(&ann, &["tasks", "add", "Patient", "--backoff", "1h"]);
    ann.data(&["tasks", "claim"]);
    let failed = ann.data(&["tasks", "fail", &patient, "-m", "no luck"]);
    assert_eq!(failed["task"]["status"], "scheduled");
    assert!(failed["task"]["retry_at"].is_string());
    let id = id_of(&ann, &["tasks", "add", "Fragile", "--backoff", "100ms"]);
    ann.data(&["tasks", "claim"]);
    ann.data(&["tasks", "fail", &id, "-m", "no luck"]);
    assert_eq!(ann.data(&["tasks", "claim", "--wait", "30s"])["task"]["attempt"], 2);
}

#[test]
fn import_lines_name_pauses_start_times_and_dependencies() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let first = id_of(&terminal, &["tasks", "add", "First"]);
    let lines = [
        json!({"title": "after", "depends_on": [first]}),
        json!({"title": "later", "not_before": "2100-01-01T00:00:00Z"}),
        json!({"title": "patient", "backoff": "5m"}),
    ];
    let text = lines.map(|line| line.to_string()).join("\n");
    std::fs::write(repository.root().join("tasks.jsonl"), text).unwrap();
    assert_eq!(terminal.data(&["tasks", "import", "tasks.jsonl"])["created"], 3);
    let counts = terminal.data(&["status"])["tasks"].clone();
    assert_eq!((&counts["blocked"], &counts["scheduled"], &counts["pending"]), (&json!(1), &json!(1), &json!(2)));
    std::fs::write(repository.root().join("bad.jsonl"), r#"{"title":"x","not_before":"soon"}"#).unwrap();
    let said = terminal.run(&["tasks", "import", "bad.jsonl"]);
    assert_eq!(said.exit, 2);
    assert!(said.stderr.contains("not_before"), "{}", said.stderr);
    let lines = [json!({"title": "fine"}), json!({"title": "x", "depends_on": ["0123abcd"]})].map(|l| l.to_string());
    std::fs::write(repository.root().join("bad.jsonl"), lines.join("\n")).unwrap();
    let said = terminal.run(&["tasks", "import", "bad.jsonl"]);
    assert_eq!(said.exit, 2);
    assert!(said.stderr.contains("line 2: depends_on: no task `0123abcd`"), "{}", said.stderr);
    assert_eq!(terminal.data(&["status"])["tasks"]["pending"], 2, "nothing was written");
}

#[test]
fn payload_and_result_have_at_most_a_mebibyte() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    for (name, bytes) in [("fits", 1 << 20), ("large", (1 << 20) + 1)] {
        std::fs::write(repository.root().join(name), format!("\"{}\"", "x".repeat(bytes - 2))).unwrap();
    }
    let id = id_of(&ann, &["tasks", "add", "Large", "--payload", "@fits"]);
    let said = ann.run(&["tasks", "add", "Too large", "--payload", "@large"]);
    assert_eq!((said.exit, said.stderr.contains("payload") && said.stderr.contains("1048576")), (2, true));
    ann.data(&["tasks", "claim"]);
    let said = ann.run(&["tasks", "done", &id, "--result", "@large"]);
    assert_eq!((said.exit, said.stderr.contains("result") && said.stderr.contains("1048576")), (2, true));
    let done = ann.data(&["tasks", "done", &id, "--result", "@fits"]);
    assert_eq!(done["task"]["result"].as_str().unwrap().len(), (1 << 20) - 2);
}
