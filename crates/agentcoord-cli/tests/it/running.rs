//! `run` and `locks run`: exit codes, signals, what the command sees, what is left when it has ended.

use std::io::{BufRead, BufReader};

use rustix::process::Signal;
use serde_json::json;

use crate::terminal::Repository;

#[test]
fn run_exits_as_its_command_does() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    std::fs::write(repository.root().join("plain"), "no program").unwrap();
    for prefix in [&["run", "--role", "R", "--name", "N"][..], &["locks", "run", "src/a.rs"]] {
        let cases: [(&[&str], i32); 5] = [
            (&["true"], 0),
            (&["sh", "-c", "exit 42"], 42),
            (&["sh", "-c", "kill -KILL $$"], 137),
            (&["no-such-command"], 127),
            (&["./plain"], 126),
        ];
        for (command, code) in cases {
            let words: Vec<&str> = prefix.iter().chain(&["--"]).chain(command).copied().collect();
            let said = terminal.run(&words);
            assert_eq!(said.exit, code, "{words:?}: {}", said.stderr);
            assert_eq!(said.stdout, "", "{words:?}");
        }
    }
    assert_eq!(terminal.data(&["locks"])["items"], json!([]));
    assert_eq!(terminal.data(&["agents"])["items"], json!([]));
}

#[test]
fn run_releases_everything_on_sigterm() {
    let repository = Repository::new();
    // What flags say holds for the command as well.
    let terminal = repository.bare().flag("--backend").flag("files");
    let binary = env!("CARGO_BIN_EXE_agentcoord");
    let script = format!("{binary} locks acquire src/a.rs && exec sleep 600");
    let mut running = terminal.start(&["run", "--name", "worker", "--", "sh", "-c", &script]);
    let mut lines = BufReader::new(running.child().stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("locked src/a.rs"));
    let lock = terminal.data(&["locks"])["items"][0].take();
    assert_eq!(lock["holder"]["name"], "worker", "a shell below `run` acts as its session");
    assert_eq!(terminal.data(&["agents"])["items"].as_array().unwrap().len(), 1);
    running.signal(Signal::TERM);
    assert_eq!(running.finish().exit, 143);
    assert_eq!(terminal.data(&["locks"])["items"], json!([]));
    assert_eq!(terminal.data(&["agents"])["items"], json!([]));
}

#[test]
fn locks_run_holds_the_file_for_its_command_and_no_longer() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    let mut running =
        ann.start(&["locks", "run", "@git/index", "--", "sh", "-c", "echo $AGENTCOORD_FENCE; exec sleep 600"]);
    let mut lines = BufReader::new(running.child().stdout.take().unwrap()).lines();
    let fence = lines.next().unwrap().unwrap();
    assert_eq!(ann.run(&["locks", "verify", "@git/index", "--token", &fence]).exit, 0);
    assert_eq!(ann.data(&["locks"])["items"][0]["holder"]["name"], "ann", "its child session is the same agent");
    let other = repository.terminal().agent("ben");
    assert_eq!(other.run(&["locks", "run", "@git/index", "--wait", "0", "--", "true"]).exit, 4);
    assert_eq!(other.run(&["locks", "run", "@git/index", "--wait", "0", "-E", "75", "--", "true"]).exit, 75);
    assert_eq!(ann.run(&["locks", "release", "--all"]).exit, 0, "the agent's own session holds nothing");
    assert_eq!(ann.run(&["locks", "verify", "@git/index", "--token", &fence]).exit, 0);
    running.signal(Signal::TERM);
    assert_eq!(running.finish().exit, 143);
    assert_eq!(ann.run(&["locks", "verify", "@git/index", "--token", &fence]).exit, 9);
    assert_eq!(other.run(&["locks", "run", "@git/index", "--wait", "0", "--", "true"]).exit, 0);
}

#[test]
fn locks_run_without_an_agent_is_named_after_its_command() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let binary = env!("CARGO_BIN_EXE_agentcoord");
    let said = terminal.run(&["locks", "run", "a", "--", binary, "--json", "locks"]);
    assert_eq!(said.exit, 0, "{}", said.stderr);
    let locks: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(locks["data"]["items"][0]["holder"]["name"], "agentcoord");
    assert_eq!(locks["data"]["items"][0]["holder"]["role"], "command");
}

#[test]
fn command_sees_who_it_runs_as() {
    let repository = Repository::new();
    let script = "echo $AGENTCOORD_AGENT $AGENTCOORD_NAMESPACE $AGENTCOORD_STATE_DIR; expr length $AGENTCOORD_SESSION";
    let terminal = repository.terminal().flag("--namespace").flag("shop");
    let said = terminal.run(&["run", "--name", "N", "--", "sh", "-c", script]);
    let state = repository.root().join(".git/agentcoord");
    assert_eq!(said.stdout, format!("N shop {}\n32\n", state.display()));
}

#[test]
fn fence_without_the_namespace_of_its_lock_is_told_not_to_count() {
    let repository = Repository::new();
    let terminal = repository.terminal().flag("--namespace").flag("shop").variable("AGENTCOORD_FENCE", "5");
    let said = terminal.run(&["tasks", "add", "x"]);
    assert!(said.exit == 0 && said.stderr.contains("AGENTCOORD_FENCE_NAMESPACE"), "{}", said.stderr);
    assert_eq!(terminal.clone().flag("--quiet").run(&["tasks", "add", "y"]).stderr, "");
    let fenced = terminal.variable("AGENTCOORD_FENCE_NAMESPACE", "shop");
    assert_eq!(fenced.run(&["tasks", "add", "z"]).exit, 9, "no lock has that token");
    assert_eq!(fenced.variable("AGENTCOORD_FENCE_NAMESPACE", "elsewhere").run(&["tasks", "add", "z"]).stderr, "");
}
