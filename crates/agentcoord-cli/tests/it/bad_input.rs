//! Bad input is refused with a clear sentence and the documented code, and leaves nothing behind.

use crate::terminal::{Repository, Transcript};

#[test]
fn bad_input_is_refused_and_nothing_is_written() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    let mut transcript = Transcript::new(&repository);
    let long = "x".repeat(5_000);
    let many: Vec<String> = (0..65).map(|n| format!("f{n}")).collect();
    let mut crowd = vec!["locks", "acquire"];
    crowd.extend(many.iter().map(String::as_str));
    let calls: [&[&str]; 26] = [
        &["locks", "acquire", ""],
        &["locks", "acquire", "../outside"],
        &["locks", "acquire", "/etc/passwd"],
        &["locks", "acquire", "."],
        &["locks", "acquire", "a\nb"],
        &["locks", "acquire", "@"],
        &["locks", "acquire"],
        &["locks", "acquire", "a", "--wait", "-5"],
        &["locks", "acquire", "a", "--ttl", "-1h"],
        &["locks", "acquire", "a", "--ttl", "0"],
        &["locks", "acquire", "a", "--wait", "soon"],
        &["locks", "acquire", "a", "--wait", "99999d"],
        &["locks", "release"],
        &["locks", "release", "a", "--all"],
        &["locks", "release", "a"],
        &["locks", "verify", "a"],
        &["locks", "verify", "a", "--token", "-1"],
        &["locks", "run", "a"],
        &["locks", "stael"],
        &["agents", "show", "nobody"],
        &["agents", "register", "  "],
        &["agents", "update", "--busy-for", "-1"],
        &["hung", "--threshold", "0"],
        &["hung", "--threshold", "-5m"],
        &["--backend", "postgres", "status"],
        &["-o", "yaml", "status"],
    ];
    for call in calls {
        let said = transcript.run("ann", &ann, call);
        assert!(said.exit == 2 || said.exit == 3, "{call:?} exits with {}", said.exit);
        assert_eq!(said.stdout, "", "{call:?}");
    }
    for call in [&["locks", "acquire", &long][..], &crowd] {
        let said = ann.run(call);
        assert_eq!((said.exit, said.stdout.as_str()), (2, ""), "{}", said.stderr);
    }
    assert_eq!(repository.terminal().data(&["agents", "list", "--all"])["items"], serde_json::json!([]));
    transcript.check("bad_input");
}

#[test]
fn unknown_caller_is_named_and_the_near_name_is_proposed() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    terminal.agent("brave-heron").data(&["agents", "register"]);
    let mut transcript = Transcript::new(&repository);
    transcript.run("", &terminal, &["locks", "acquire", "a"]);
    transcript.run("", &terminal.agent("brave-herno"), &["locks", "release", "--all"]);
    transcript.run("", &terminal.agent("zzz"), &["--json", "locks", "renew", "--all"]);
    transcript.run("", &terminal, &["agents", "heartbeat"]);
    transcript.check("unknown_caller");
}

#[test]
fn state_directory_that_cannot_be_one_is_refused() {
    let repository = Repository::new();
    let file = repository.root().join("file");
    std::fs::write(&file, "").unwrap();
    let mut transcript = Transcript::new(&repository);
    for dir in ["file", "file/below"] {
        transcript.run("", &repository.terminal(), &["--state-dir", dir, "status"]);
    }
    transcript.run("", &repository.terminal(), &["-C", "missing", "status"]);
    transcript.check("state_directory");
}

#[test]
fn redis_that_is_not_there_is_unavailable_and_not_replaced_by_files() {
    let repository = Repository::new();
    let terminal = repository.bare().flag("--redis-url").flag("redis://:s3cret@127.0.0.1:1/");
    let said = terminal.clone().flag("--backend").flag("redis").run(&["status"]);
    assert_eq!((said.exit, said.stdout.as_str()), (7, ""), "{}", said.stderr);
    assert!(!said.stderr.contains("s3cret"), "{}", said.stderr);
}

#[test]
fn new_workspace_without_its_redis_works_on_files_and_says_so_once() {
    let repository = Repository::new();
    let terminal = repository.bare().flag("--redis-url").flag("redis://:s3cret@127.0.0.1:1/");
    let said = terminal.run(&["--json", "status"]);
    assert_eq!(said.exit, 0, "{}", said.stderr);
    let envelope: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&envelope["meta"]["backend"], &envelope["meta"]["degraded"]), (&"files".into(), &true.into()));
    let warnings: Vec<&str> = said.stderr.lines().collect();
    assert!(warnings.len() == 1 && warnings[0].starts_with("warning: files serve this workspace"), "{}", said.stderr);
    assert!(!said.stderr.contains("s3cret"), "{}", said.stderr);
    assert_eq!(terminal.flag("-q").run(&["status"]).stderr, "");
}
