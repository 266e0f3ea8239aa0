//! An agent asks, a person decides, across processes.

use agentcoord_testkit::redis_server::RedisServer;
use serde_json::{Value, json};

use crate::terminal::{Repository, Terminal, Transcript};

fn request(agent: &Terminal, words: &[&str]) -> String {
    let words: Vec<&str> = ["--json", "approvals", "request"].iter().chain(words).copied().collect();
    let said = agent.run(&words);
    assert_eq!(said.exit, 6, "not decided yet: {}", said.stderr);
    let answer: Value = serde_json::from_str(&said.stdout).unwrap();
    answer["data"]["approval"]["id"].as_str().unwrap().to_owned()
}

fn asked_and_decided(repository: &Repository, terminal: &Terminal) -> Transcript {
    let ann = terminal.agent("ann");
    let mut transcript = Transcript::new(repository);
    transcript.run("eve", terminal, &["approvals"]);
    std::fs::write(repository.root().join("a.diff"), "--- a/x\n+++ b/x\n+\tred \u{1b}[31m text\n").unwrap();
    let words = ["approvals", "request", "deploy", "v2 to production", "--diff", "@a.diff", "--payload", r#"{"v":2}"#];
    transcript.run("ann", &ann, &words);
    let id = ann.data(&["approvals"])["items"][0]["id"].as_str().unwrap().to_owned();
    transcript.run("eve", terminal, &["approvals"]);
    transcript.run("eve", terminal, &["approvals", "show", &id]);
    transcript.run("eve", terminal, &["approvals", "wait", &id]);
    transcript.run("ann", &ann, &["approve", &id]);
    transcript.run("ann", &ann, &["reject", &id, "-m", "no"]);
    transcript.run("ann", &ann, &["approvals", "wait", &id, "--timeout", "0"]);
    transcript.run("eve", terminal, &["approve", &id, "--by", "eve", "-m", "go"]);
    transcript.run("bob", terminal, &["reject", &id, "--by", "bob", "-m", "too late"]);
    transcript.run("ann", &ann, &["approvals", "wait", &id]);
    transcript.run("ann", &ann, &["approvals", "wait", &id]);
    let other = request(&ann, &["drop", "the old table"]);
    transcript.run("eve", terminal, &["reject", &other, "--by", "eve", "-m", "still in use"]);
    transcript.run("ann", &ann, &["approvals", "wait", &other]);
    let third = request(&ann, &["drop", "another table"]);
    transcript.run("ben", &terminal.agent("ben"), &["approvals", "request", "x", "y"]);
    transcript.run("ben", &terminal.agent("ben"), &["approvals", "cancel", &third]);
    transcript.run("ann", &ann, &["approvals", "cancel", &third]);
    transcript.run("ann", &ann, &["approvals", "wait", &third]);
    transcript.run("eve", terminal, &["audit"]);
    transcript
}

#[test]
fn approval_is_asked_for_and_decided_on_files() {
    let repository = Repository::new();
    asked_and_decided(&repository, &repository.terminal().variable("LOGNAME", "eve")).check("asked_and_decided");
}

#[test]
fn approval_is_asked_for_and_decided_on_redis_with_the_same_words() {
    let server = RedisServer::start();
    let repository = Repository::new();
    let terminal = repository.bare().variable("AGENTCOORD_BACKEND", "redis");
    let terminal = terminal.variable("AGENTCOORD_REDIS_URL", &server.url());
    asked_and_decided(&repository, &terminal.variable("LOGNAME", "eve")).check("asked_and_decided");
}

#[test]
fn process_that_waits_is_woken_by_the_vote_of_another() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    for (verb, exit) in [("approve", 0), ("reject", 5)] {
        let waiting = terminal.agent("ann").start(&["approvals", "request", "deploy", verb, "--wait", "30s"]);
        let pending = terminal.until(&["approvals"], |data| data["items"][0].is_object());
        let id = pending["items"][0]["id"].as_str().unwrap();
        terminal.data(&[verb, id, "--by", "eve", "-m", "seen"]);
        assert_eq!(waiting.finish().exit, exit, "{verb}");
    }
}

#[test]
fn nobody_deciding_in_time_is_not_a_refusal() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    let said = ann.run(&["approvals", "request", "deploy", "x", "--timeout", "200ms", "--wait", "30s"]);
    assert_eq!(said.exit, 11, "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("expired"), "{}", said.stdout);
}

#[test]
fn slip_in_one_id_votes_on_nothing() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let ann = terminal.agent("ann");
    let (one, two) = (request(&ann, &["deploy", "one"]), request(&ann, &["deploy", "two"]));
    let said = terminal.run(&["approve", &one, &two, "00000000ff"]);
    assert_eq!(said.exit, 3, "{}", said.stderr);
    assert_eq!(terminal.data(&["approvals"])["items"].as_array().unwrap().len(), 2);
    let both = terminal.data(&["approve", &one, &two, &one, "--by", "eve"]);
    assert_eq!(both["items"].as_array().unwrap().len(), 2, "one vote for each");
}

#[test]
fn two_of_two_people_are_needed_and_each_votes_once() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let id = request(&terminal.agent("ann"), &["deploy", "v2", "--quorum", "2"]);
    let first = terminal.data(&["approve", &id, "--by", "eve"]);
    assert_eq!(first["items"][0]["status"], "pending");
    assert_eq!(terminal.run(&["approve", &id, "--by", "eve"]).exit, 5);
    let second = terminal.data(&["approve", &id[..3], "--by", "bob"]);
    assert_eq!(
        (&second["items"][0]["status"], &second["items"][0]["decided_by"]),
        (&json!("approved"), &json!("human:bob"))
    );
}

#[test]
fn person_does_not_approve_an_own_request() {
    let repository = Repository::new();
    let terminal = repository.terminal().variable("LOGNAME", "eve");
    let id = request(&terminal, &["deploy", "mine"]);
    let said = terminal.run(&["approve", &id]);
    assert_eq!(said.exit, 5, "{}", said.stderr);
    assert_eq!(terminal.data(&["approve", &id, "--by", "bob"])["items"][0]["requested_by"], "human:eve");
    assert_eq!(terminal.run(&["approvals", "wait", &id]).exit, 0, "a person takes up an own yes");
}

#[test]
fn same_key_attaches_to_the_same_approval_and_another_action_is_refused() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    let one = request(&ann, &["deploy", "v2", "--key", "v2"]);
    assert_eq!(request(&ann, &["deploy", "v2", "--key", "v2"]), one);
    assert_eq!(ann.run(&["approvals", "request", "deploy", "v3", "--key", "v2"]).exit, 5);
}

#[test]
fn bad_approval_input_is_refused_and_nothing_is_written() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let mut transcript = Transcript::new(&repository);
    let calls: [&[&str]; 9] = [
        &["approvals", "request", "", "x"],
        &["approvals", "request", "deploy", ""],
        &["approvals", "request", "deploy", "x", "--quorum", "0"],
        &["approvals", "request", "deploy", "x", "--timeout", "-1"],
        &["approvals", "request", "deploy", "x", "--payload", "{"],
        &["approvals", "wait", "nope"],
        &["approve"],
        &["approve", "12345678", "--by", ""],
        &["reject", "12345678"],
    ];
    for call in calls {
        let said = transcript.run("eve", &terminal.clone().variable("LOGNAME", "eve"), call);
        assert!(said.exit == 2 || said.exit == 3, "{call:?} exits with {}", said.exit);
    }
    transcript.check("bad_approval_input");
    assert_eq!(terminal.data(&["approvals", "--all"])["items"], json!([]));
}
