//! `tasks work`: what a command gets, what its end says about its task, and what is left when the worker ends.

use std::io::{BufRead, BufReader, Lines};
use std::process::ChildStdout;

use agentcoord_testkit::redis_server::RedisServer;
use rustix::process::{Pid, Signal, test_kill_process};
use serde_json::{Value, json};

use crate::terminal::{PATIENCE, Repository, Running, Terminal};

const BINARY: &str = env!("CARGO_BIN_EXE_agentcoord");

/// A task that may be attempted once.
fn add(terminal: &Terminal, title: &str) -> String {
    terminal.data(&["tasks", "add", title, "--max-attempts", "1"])["task"]["id"].as_str().unwrap().to_owned()
}

fn show(terminal: &Terminal, id: &str) -> Value {
    terminal.data(&["tasks", "show", id])["task"].take()
}

/// A worker that runs a shell script for each task.
fn work(terminal: &Terminal, flags: &[&str], script: &str) -> Running {
    let words: Vec<&str> = ["tasks", "work"].iter().chain(flags).chain(&["--", "sh", "-c", script]).copied().collect();
    terminal.start(&words)
}

fn lines(running: &mut Running) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(running.child().stdout.take().unwrap()).lines()
}

/// Waits until a process has ended.
fn until_gone(pid: &str) {
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while test_kill_process(pid).is_ok() {
        assert!(std::time::Instant::now() < deadline, "process {pid:?} is still there");
        std::thread::yield_now();
    }
}

fn exit_codes_decide(terminal: &Terminal) {
    let ids: Vec<String> = ["good", "bad", "hopeless", "shot"].iter().map(|title| add(terminal, title)).collect();
    let script = r#"case "$AGENTCOORD_TASK" in
        *good*) echo '{"n":1}';;
        *bad*) echo first >&2; echo "no luck" >&2; exit 3;;
        *hopeless*) exit 65;;
        *shot*) kill -9 $$;;
    esac"#;
    let said = work(terminal, &["--json", "--limit", "4", "--result"], script).finish();
    assert_eq!(said.exit, 0, "{}", said.stderr);
    let answer: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(answer["data"], json!({"completed": 1, "failed": 3, "released": 0, "lost": 0}));
    let tasks: Vec<Value> = ids.iter().map(|id| show(terminal, id)).collect();
    assert_eq!((&tasks[0]["status"], &tasks[0]["result"]), (&json!("completed"), &json!({"n": 1})));
    assert_eq!(tasks[1]["error"], "exit code 3: no luck");
    assert_eq!(tasks[1]["status"], "dead", "another attempt might have helped, but there is none");
    assert_eq!((&tasks[2]["status"], &tasks[2]["error"]), (&json!("failed"), &json!("exit code 65")));
    assert_eq!(tasks[3]["error"], "ended by signal 9");
    assert!(said.stderr.contains("no luck"), "what commands say is passed on");
}

#[test]
fn exit_code_of_the_command_decides_on_files() {
    exit_codes_decide(&Repository::new().terminal());
}

#[test]
fn exit_code_of_the_command_decides_on_redis() {
    let server = RedisServer::start();
    let repository = Repository::new();
    exit_codes_decide(&repository.bare().flag("--backend").flag("redis").flag("--redis-url").flag(&server.url()));
}

#[test]
fn command_gets_the_whole_task_on_stdin_and_a_variable_that_the_system_takes() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let payload = format!("\"{}\"", "x".repeat(1_000_000));
    std::fs::write(repository.root().join("payload.json"), &payload).unwrap();
    terminal.data(&["tasks", "add", "large", "--payload", "@payload.json"]);
    let small = add(&terminal, "small");
    let script = r#"cat > "stdin-$AGENTCOORD_TASK_ID"; printf %s "$AGENTCOORD_TASK" > "variable-$AGENTCOORD_TASK_ID"
        echo "$AGENTCOORD_FENCE""#;
    let said = work(&terminal, &["--until-empty"], script).finish();
    assert_eq!(said.exit, 0, "{}", said.stderr);
    assert!(said.stderr.contains("2 done"), "{}", said.stderr);
    let read = |name: String| -> Value {
        serde_json::from_str(&std::fs::read_to_string(repository.root().join(name)).unwrap()).unwrap()
    };
    for task in terminal.data(&["tasks"])["items"].as_array().unwrap() {
        let id = task["id"].as_str().unwrap();
        let (stdin, variable) = (read(format!("stdin-{id}")), read(format!("variable-{id}")));
        assert_eq!(stdin["id"], *id);
        assert_eq!(variable["title"], task["title"]);
        assert!(said.stdout.contains(&stdin["token"].to_string()), "the fence is the claim's token");
        if id == small {
            assert_eq!(stdin, variable);
        } else {
            assert_eq!(stdin["payload"].as_str().unwrap().len(), 1_000_000);
            assert_eq!(variable["payload"], Value::Null);
        }
    }
}

#[test]
fn command_acts_as_the_session_that_has_its_task() {
    let repository = Repository::new();
    for terminal in [repository.terminal(), repository.terminal().agent("ann")] {
        let id = add(&terminal, "talk about it");
        let script = format!("{BINARY} -q tasks progress $AGENTCOORD_TASK_ID -m halfway --percent 50 && exit 65");
        let said = work(&terminal, &["--until-empty"], &script).finish();
        assert_eq!(said.exit, 0, "{}", said.stderr);
        let task = show(&terminal, &id);
        assert_eq!((&task["note"], &task["status"]), (&json!("halfway"), &json!("failed")), "{}", said.stderr);
    }
    assert_eq!(repository.terminal().data(&["agents"])["items"].as_array().unwrap().len(), 1, "only ann is left");
}

#[test]
fn command_of_a_worker_below_a_lock_writes_about_its_task() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    let id = add(&ann, "half done");
    let script = format!("{BINARY} tasks progress $AGENTCOORD_TASK_ID -m halfway && exit 65");
    let lock = ["locks", "run", "src/a.rs", "--", BINARY, "tasks", "work", "--until-empty", "--", "sh", "-c", &script];
    let said = ann.run(&lock);
    assert_eq!(said.exit, 0, "{}", said.stderr);
    assert!(!said.stderr.contains("warning"), "{}", said.stderr);
    let task = show(&ann, &id);
    assert_eq!((&task["note"], &task["status"]), (&json!("halfway"), &json!("failed")), "{}", said.stderr);
}

#[test]
fn worker_that_asks_for_capabilities_in_an_agents_name_registers_nobody() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    let said = work(&ann, &["--capability", "gpu"], "true").finish();
    assert!(said.exit == 2 && said.stderr.contains("agents register --capability"), "{}", said.stderr);
    assert_eq!(ann.data(&["agents", "list", "--all"])["items"], json!([]));
}

#[test]
fn first_signal_finishes_what_runs_and_claims_no_more() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let (first, second) = (add(&terminal, "first"), add(&terminal, "second"));
    let script = "echo begun; while [ ! -e go ]; do sleep 0.01; done";
    let mut worker = work(&terminal, &[], script);
    assert_eq!(lines(&mut worker).next().unwrap().unwrap(), "begun");
    worker.signal(Signal::TERM);
    // Whoever asks is told by the agent's row that the worker is still here.
    assert_eq!(show(&terminal, &first)["status"], "claimed");
    std::fs::write(repository.root().join("go"), "").unwrap();
    let said = worker.finish();
    assert_eq!(said.exit, 143, "{}", said.stderr);
    assert_eq!(show(&terminal, &first)["status"], "completed");
    assert_eq!(show(&terminal, &second)["status"], "pending");
}

#[test]
fn second_signal_reaches_the_commands_and_their_tasks_go_back() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let ids = [add(&terminal, "one"), add(&terminal, "two")];
    let script = "trap 'echo told; exit 1' INT TERM; echo begun; while :; do sleep 0.01; done";
    let mut worker = work(&terminal, &["--concurrency", "2"], script);
    let mut lines = lines(&mut worker);
    let mut next = || lines.next().unwrap().unwrap();
    assert_eq!((next(), next()), ("begun".to_owned(), "begun".to_owned()));
    // Which of two signals that are sent at once comes first is the system's choice.
    worker.signal(Signal::TERM);
    worker.signal(Signal::INT);
    assert_eq!((next(), next()), ("told".to_owned(), "told".to_owned()));
    let said = worker.finish();
    assert!([130, 143].contains(&said.exit), "{}: {}", said.exit, said.stderr);
    for id in ids {
        let task = show(&terminal, &id);
        assert_eq!((&task["status"], &task["attempt"]), (&json!("pending"), &json!(0)));
    }
    assert_eq!(terminal.data(&["agents"])["items"], json!([]));
}

#[test]
fn command_whose_claim_is_over_is_killed_with_all_that_it_started() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let id = add(&terminal, "hangs");
    let script = "sleep 600 & echo $!; echo $$; wait";
    let mut worker = work(&terminal, &["--lease", "300ms", "--limit", "1"], script);
    let mut lines = lines(&mut worker);
    let pids: Vec<String> = (0..2).map(|_| lines.next().unwrap().unwrap()).collect();
    let said = worker.finish();
    assert_eq!(said.exit, 0, "{}", said.stderr);
    assert!(said.stderr.contains("1 lost"), "{}", said.stderr);
    pids.iter().for_each(|pid| until_gone(pid));
    assert_eq!(show(&terminal, &id)["crashes"], 1);
}

#[test]
fn task_of_a_killed_worker_runs_again_elsewhere() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let id = add(&terminal, "survives");
    let mut doomed = work(&terminal, &[], "echo $$; exec sleep 600");
    let command = lines(&mut doomed).next().unwrap().unwrap();
    let other = work(&terminal, &["--limit", "1", "--result"], "echo rescued");
    doomed.signal(Signal::KILL);
    let said = other.finish();
    assert_eq!(said.exit, 0, "{}", said.stderr);
    let task = show(&terminal, &id);
    assert_eq!((&task["status"], &task["result"]), (&json!("completed"), &json!("rescued")));
    assert_eq!((&task["attempt"], &task["crashes"]), (&json!(1), &json!(1)));
    // Nobody is left to end the command of a worker that was killed; its fencing token is stale.
    let orphan = Pid::from_raw(command.parse().unwrap()).unwrap();
    rustix::process::kill_process(orphan, Signal::KILL).unwrap();
}

#[test]
fn command_that_cannot_be_started_burns_no_task() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let id = add(&terminal, "waits for better times");
    std::fs::write(repository.root().join("plain"), "no program").unwrap();
    for (program, code) in [("no-such-command", 127), ("./plain", 126)] {
        let said = terminal.run(&["tasks", "work", "--", program]);
        assert_eq!(said.exit, code, "{}", said.stderr);
        assert!(said.stderr.contains("cannot be started"), "{}", said.stderr);
    }
    let task = show(&terminal, &id);
    assert_eq!((&task["status"], &task["attempt"]), (&json!("pending"), &json!(0)));
}

#[test]
fn result_is_json_or_text_and_not_too_long() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let cases = [("echo '[1,2]'", json!([1, 2])), ("echo plain words", json!("plain words")), ("true", Value::Null)];
    for (script, result) in cases {
        let id = add(&terminal, script);
        assert_eq!(work(&terminal, &["--until-empty", "--result"], script).finish().exit, 0);
        assert_eq!(show(&terminal, &id)["result"], result);
    }
    let id = add(&terminal, "too much");
    work(&terminal, &["--until-empty", "--result"], "head -c 2000000 /dev/zero | tr '\\0' x").finish();
    let task = show(&terminal, &id);
    assert_eq!(task["status"], "failed");
    assert!(task["error"].as_str().unwrap().contains("1048576 bytes"), "{task}");
}
