//! The demo proves itself: what it answers is what it found in the repository and the store.

use std::path::PathBuf;
use std::process::Command;

use agentcoord_testkit::redis_server::RedisServer;
use serde_json::Value;

use crate::terminal::{Repository, Terminal};

fn place() -> (Repository, Terminal) {
    let repository = Repository::new();
    let scratch = repository.root().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let terminal = repository.bare().variable("TMPDIR", scratch.to_str().unwrap());
    (repository, terminal)
}

fn proved(data: &Value, tasks: u64) {
    let checks = data["checks"].as_array().unwrap();
    assert!(checks.len() >= 8, "{data}");
    assert!(checks.iter().all(|check| check["ok"] == true), "{data}");
    assert_eq!(data["completed"].as_u64(), Some(tasks), "{data}");
    assert_eq!(data["commits"].as_u64(), Some(tasks), "{data}");
    assert_eq!(data["approval"]["decided_by"], "human:demo-human", "{data}");
    // The answer is one thing, the repository another: count there again.
    let clone = PathBuf::from(data["directory"].as_str().unwrap()).join("clone");
    let log = Command::new("git").arg("-C").arg(&clone).args(["log", "--format=%s"]).output().unwrap();
    let log = String::from_utf8(log.stdout).unwrap();
    assert_eq!(log.lines().filter(|subject| subject.starts_with("demo ")).count() as u64, tasks, "{log}");
}

#[test]
fn demo_on_files_survives_the_kill_of_an_agent() {
    let (_repository, terminal) = place();
    let data = terminal.data(&["demo", "--agents", "3", "--tasks", "20", "--kill-one", "--backend", "files"]);
    assert_eq!(data["engine"], "files");
    assert!(data["killed"].is_string(), "{data}");
    proved(&data, 20);
}

#[test]
fn demo_on_redis_holds() {
    let server = RedisServer::start();
    let (_repository, terminal) = place();
    let data = terminal.data(&["demo", "--agents", "3", "--tasks", "12", "--redis-url", &server.url()]);
    assert_eq!(data["engine"], "redis");
    proved(&data, 12);
}

#[test]
fn demo_works_on_a_clone_and_leaves_the_repository_alone() {
    let (repository, terminal) = place();
    let dir = repository.root().join("project");
    std::fs::create_dir(&dir).unwrap();
    let git = |words: &[&str]| {
        let output = Command::new("git").arg("-C").arg(&dir).args(words).output().unwrap();
        assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    git(&["init", "--quiet"]);
    // No line end, line ends of another system, and a name that a shell would split.
    std::fs::write(dir.join("no end.txt"), "one line").unwrap();
    std::fs::write(dir.join("dos.txt"), "a\r\nb\r\n").unwrap();
    std::fs::write(dir.join(".gitattributes"), "*.txt text=auto eol=crlf\n").unwrap();
    git(&["add", "--all"]);
    git(&["-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "--quiet", "-m", "Start"]);
    let before = (git(&["rev-parse", "HEAD"]), git(&["status", "--porcelain"]), git(&["branch", "--list"]));
    let data = terminal.data(&["demo", "--agents", "2", "--tasks", "9", "--repo", "project"]);
    proved(&data, 9);
    assert_eq!(before, (git(&["rev-parse", "HEAD"]), git(&["status", "--porcelain"]), git(&["branch", "--list"])));
}

#[test]
fn demo_on_what_is_no_repository_is_refused_and_leaves_nothing() {
    let (repository, terminal) = place();
    for repo in ["nowhere", "src", "scratch"] {
        let said = terminal.run(&["demo", "--repo", repo]);
        assert_eq!(said.exit, 2, "{}", said.stderr);
    }
    assert_eq!(terminal.run(&["demo", "--agents", "0"]).exit, 2);
    assert_eq!(terminal.run(&["demo", "--tasks", "0"]).exit, 2);
    assert_eq!(std::fs::read_dir(repository.root().join("scratch")).unwrap().count(), 0);
}
