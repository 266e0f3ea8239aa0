//! Who a command acts for.

use serde_json::json;

use crate::terminal::Repository;

#[test]
fn same_name_in_two_host_sessions_is_two_agents() {
    let repository = Repository::new();
    let one = repository.terminal().agent("claude").variable("CLAUDE_CODE_SESSION_ID", "one");
    let two = repository.terminal().agent("claude").variable("CLAUDE_CODE_SESSION_ID", "two");
    one.data(&["locks", "acquire", "a"]);
    assert_eq!(two.run(&["locks", "acquire", "a"]).exit, 4, "the other conversation holds it");
    two.data(&["locks", "acquire", "b"]);
    let names: Vec<_> = one.data(&["agents"])["items"].as_array().unwrap().iter().map(|a| a["name"].clone()).collect();
    assert_eq!(names, [json!("claude"), json!("claude-2")]);
    assert_eq!(two.data(&["locks", "release", "--all"])["released"], json!(["b"]));
    assert_eq!(two.run(&["locks", "release", "a"]).exit, 9);
    // The name under which listings show it is its name as well, here and nowhere else.
    let shown = two.agent("claude-2").data(&["locks", "acquire", "c"]);
    assert_eq!(shown["reacquired"], false);
    assert_eq!(two.data(&["locks", "release", "--all"])["released"], json!(["c"]));
}

#[test]
fn another_sessions_agent_is_reached_by_id_only() {
    let repository = Repository::new();
    let one = repository.terminal().agent("claude").variable("CLAUDE_CODE_SESSION_ID", "one");
    one.data(&["locks", "acquire", "a"]);
    let said = repository.terminal().run(&["--as", "claude", "locks", "release", "--all"]);
    assert_eq!(said.exit, 3);
    assert!(said.stderr.contains("belongs to another session"), "{}", said.stderr);
    let id = one.data(&["agents"])["items"][0]["id"].as_str().unwrap().to_owned();
    let released = repository.terminal().data(&["--as", &id, "locks", "release", "--all"]);
    assert_eq!(released["released"], json!(["a"]));
}

#[test]
fn reading_registers_nobody() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    for words in [&["status"][..], &["locks"], &["locks", "show", "a"], &["agents"], &["hung"], &["config", "show"]] {
        ann.data(words);
    }
    assert_eq!(ann.run(&["locks", "verify", "a", "--token", "1"]).exit, 9);
    assert_eq!(ann.run(&["locks", "release", "--all"]).exit, 3);
    assert_eq!(ann.data(&["agents", "list", "--all"])["items"], json!([]));
}

#[test]
fn agent_that_left_comes_back_under_its_name_with_empty_hands() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    ann.data(&["locks", "acquire", "a"]);
    assert_eq!(ann.data(&["agents", "deregister"])["agent"]["state"], "gone");
    assert_eq!(ann.data(&["locks"])["items"], json!([]));
    assert_eq!(ann.run(&["locks", "release", "--all"]).exit, 0, "it holds nothing");
    ann.data(&["locks", "acquire", "b"]);
    assert_eq!(ann.data(&["agents"])["items"][0]["name"], "ann");
}

#[test]
fn agent_says_what_it_does() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    let words = ["agents", "register", "--role", "Engineer", "--capability", "rust", "--working-on", "keys"];
    let agent = ann.data(&words)["agent"].take();
    assert_eq!((&agent["role"], &agent["capabilities"]), (&json!("Engineer"), &json!(["rust"])));
    let agent = ann.data(&["agents", "update", "--status", "compiling", "--busy-for", "10m"])["agent"].take();
    assert_eq!(
        (&agent["state"], &agent["working_on"], &agent["status"]),
        (&json!("busy"), &json!("keys"), &json!("compiling"))
    );
    assert_eq!(ann.data(&["agents", "heartbeat"])["ttl_s"], 3_600);
    assert_eq!(ann.data(&["agents", "show", "ann"])["agent"]["id"], agent["id"]);
}

#[test]
fn agent_that_is_here_keeps_its_role_and_capabilities() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    let id = ann.data(&["agents", "register", "--capability", "rust", "--capability", "gpu"])["agent"]["id"].take();
    let same = ann.data(&["agents", "register", "--role", "agent", "--capability", "gpu", "--capability", "rust"]);
    assert_eq!(same["agent"]["id"], id, "the same again goes on");
    for asked in [["--role", "Engineer"], ["--capability", "gpu"]] {
        let said = ann.run(&[&["agents", "register", "--working-on", "keys"][..], &asked].concat());
        assert_eq!(said.exit, 5, "{}", said.stderr);
        assert!(said.stderr.contains("capabilities rust, gpu; both stay until its session ends"), "{}", said.stderr);
        assert!(said.stderr.contains("agents deregister"), "{}", said.stderr);
    }
    assert_eq!(ann.data(&["agents", "show", "ann"])["agent"]["working_on"], json!(null), "nothing was written");
    ann.data(&["agents", "deregister"]);
    let agent = ann.data(&["agents", "register", "--role", "Engineer", "--capability", "gpu"])["agent"].take();
    assert_eq!((&agent["role"], &agent["capabilities"]), (&json!("Engineer"), &json!(["gpu"])));
}
