//! The proof that the audit log is what was written: verification, anchors and the export.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::terminal::{Repository, Terminal, Transcript};

fn log(terminal: &Terminal, count: usize) {
    for n in 1..=count {
        terminal.data(&["audit", "log", "test", &format!("entry {n}"), "so"]);
    }
}

fn database(repository: &Repository) -> rusqlite::Connection {
    let namespaces = repository.root().join(".git/agentcoord/namespaces");
    let namespace = std::fs::read_dir(namespaces).unwrap().next().unwrap().unwrap().path();
    rusqlite::Connection::open(namespace.join("agentcoord.db")).unwrap()
}

/// Changes the text of an entry, keeping its length.
fn edit(repository: &Repository, seq: u64) {
    let database = database(repository);
    let key = seq.to_string();
    let record: Vec<u8> =
        database.query_row("SELECT record FROM audit WHERE key = ?1", [&key], |row| row.get(0)).unwrap();
    let text = format!("entry {seq}");
    let at = record.windows(text.len()).position(|bytes| bytes == text.as_bytes()).unwrap();
    let changed = [&record[..at], b"ENTRY", &record[at + 5..]].concat();
    database.execute("UPDATE audit SET record = ?1 WHERE key = ?2", rusqlite::params![changed, key]).unwrap();
}

fn verify(terminal: &Terminal, words: &[&str]) -> (i32, Value) {
    let words = [&["--json", "audit", "verify"], words].concat();
    let said = terminal.run(&words);
    assert_eq!(said.stderr, "", "no progress bar without a terminal");
    (said.exit, serde_json::from_str::<Value>(&said.stdout).unwrap()["data"].take())
}

fn git(repository: &Repository, words: &[&str]) -> String {
    let author = ["-c", "user.name=ada", "-c", "user.email=ada@localhost"];
    let output = Command::new("git").current_dir(repository.root()).args(author).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn verify_says_what_it_has_looked_at_and_names_the_first_bad_entry() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    assert_eq!(verify(&terminal, &[]).0, 0, "an empty log is good");
    log(&terminal, 4);
    let (exit, data) = verify(&terminal, &[]);
    assert_eq!(exit, 0);
    let counts = ["entries", "sealed", "kept", "anchored", "first_bad"].map(|field| data[field].clone());
    assert_eq!(counts, [json!(4), json!(4), json!(4), Value::Null, Value::Null]);
    assert_eq!(data["head"].as_str().unwrap().len(), 64);
    edit(&repository, 3);
    let (exit, data) = verify(&terminal, &[]);
    assert_eq!((exit, &data["first_bad"]["seq"], &data["first_bad"]["what"]), (8, &json!(3), &json!("edited")));
    assert_eq!(data["head"], Value::Null);
    let mut transcript = Transcript::new(&repository);
    transcript.run("eve", &terminal, &["audit", "verify"]);
    transcript.run("eve", &terminal, &["audit", "verify", "-o", "id"]);
    transcript.run("eve", &terminal, &["audit", "verify", "--anchor", "nowhere"]);
    transcript.run("eve", &terminal, &["audit", "anchor"]);
    transcript.run("eve", &terminal, &["audit", "anchor", "--git"]);
    transcript.check("audit_verify");
}

#[test]
fn log_that_is_missing_an_entry_is_listed_and_goes_on() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    log(&terminal, 2);
    database(&repository).execute("DELETE FROM seal", []).unwrap();
    log(&terminal, 1);
    let data = terminal.data(&["audit"]);
    assert_eq!((&data["entries"], &data["sealed"]), (&json!(3), &json!(2)));
    let (exit, data) = verify(&terminal, &[]);
    assert_eq!((exit, &data["first_bad"]["seq"], &data["first_bad"]["what"]), (8, &json!(1), &json!("unsealed")));
}

#[test]
fn anchor_in_a_file_shows_that_the_log_was_replaced() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    log(&terminal, 3);
    let first = terminal.data(&["audit", "anchor", "anchors.txt"]);
    log(&terminal, 1);
    terminal.data(&["audit", "anchor", "anchors.txt"]);
    let text = std::fs::read_to_string(repository.root().join("anchors.txt")).unwrap();
    assert_eq!(text.lines().next(), first["anchor"].as_str());
    assert_eq!(text.lines().count(), 2);
    let (exit, data) = verify(&terminal, &["--anchor", "anchors.txt"]);
    assert_eq!((exit, &data["anchored"]), (0, &json!(4)));
    // The whole state of the workspace is gone, and something else says that it is the log.
    let state = repository.root().join(".git/agentcoord");
    let namespace = std::fs::read_to_string(state.join("namespace")).unwrap();
    std::fs::remove_dir_all(&state).unwrap();
    let terminal = terminal.flag("--namespace").flag(namespace.trim());
    log(&terminal, 4);
    assert_eq!(verify(&terminal, &[]).0, 0);
    let (exit, data) = verify(&terminal, &["--anchor", "anchors.txt"]);
    assert_eq!((exit, &data["first_bad"]["seq"], &data["first_bad"]["what"]), (8, &json!(1), &json!("recomputed")));
    assert!(data["first_bad"]["why"].as_str().unwrap().contains("anchors.txt"), "{data}");
    let said = terminal.clone().flag("--namespace").flag("other").run(&["audit", "verify", "--anchor", "anchors.txt"]);
    assert_eq!(said.exit, 2, "anchors of another namespace prove nothing: {}", said.stderr);
}

#[test]
fn anchor_in_a_git_note_is_found_without_being_named() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    git(&repository, &["init", "--quiet"]);
    log(&terminal, 2);
    let said = terminal.run(&["audit", "anchor", "--git"]);
    assert_eq!(said.exit, 1, "there is no commit to put a note on: {}", said.stderr);
    git(&repository, &["commit", "--quiet", "--allow-empty", "-m", "one"]);
    terminal.data(&["audit", "anchor", "--git"]);
    log(&terminal, 1);
    terminal.data(&["audit", "anchor", "--git"]);
    git(&repository, &["commit", "--quiet", "--allow-empty", "-m", "two"]);
    log(&terminal, 1);
    let anchor = terminal.data(&["audit", "anchor", "--git"]);
    let note = git(&repository, &["notes", "--ref=agentcoord-audit", "show", "HEAD"]);
    assert_eq!(note.trim(), anchor["anchor"].as_str().unwrap());
    let (exit, data) = verify(&terminal, &[]);
    assert_eq!((exit, &data["anchored"]), (0, &json!(4)));
    // The last entry and its seal are cut off, and the host forgets that it has seen them.
    let database = database(&repository);
    database.execute("DELETE FROM audit", []).unwrap();
    database.execute("DELETE FROM seal", []).unwrap();
    database.execute("DELETE FROM state", []).unwrap();
    for file in std::fs::read_dir(repository.root().join(".git/agentcoord/namespaces")).unwrap() {
        std::fs::remove_file(file.unwrap().path().join("audit.head")).unwrap();
    }
    let (exit, data) = verify(&terminal, &[]);
    assert_eq!((exit, &data["first_bad"]["seq"], &data["first_bad"]["what"]), (8, &json!(1), &json!("truncated")));
    assert!(data["first_bad"]["why"].as_str().unwrap().contains("git notes"), "{data}");
}

/// The fenced block of a language in `docs/audit.md`.
fn documented(language: &str) -> String {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/audit.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn export_can_be_verified_by_others() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    log(&terminal, 3);
    terminal.data(&["audit", "log", "test", "quotes \" and \\ and \u{1F980}", "line\nfeed"]);
    let (_, verified) = verify(&terminal, &[]);
    let head = verified["head"].as_str().unwrap();
    let said = terminal.run(&["audit", "export"]);
    assert_eq!((said.exit, said.stdout.lines().count()), (0, 4));
    let data = terminal.data(&["audit", "export", "log.jsonl"]);
    assert_eq!(data, json!({"entries": 4, "file": "log.jsonl"}));
    assert_eq!(std::fs::read_to_string(repository.root().join("log.jsonl")).unwrap(), said.stdout);
    // The rule of docs/audit.md, by hand.
    let mut hash = "0".repeat(64);
    for (line, seq) in said.stdout.lines().zip(1..) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["seq"], seq);
        let text = format!("{hash} {seq} {}\n{}", line["time"], line["entry"].as_str().unwrap());
        hash = sha256(text.as_bytes());
        assert_eq!(line["hash"], hash);
        assert!(serde_json::from_str::<Value>(line["entry"].as_str().unwrap()).unwrap()["context"].is_string());
    }
    assert_eq!(hash, head);
    // And the program that stands there.
    let program = documented("python");
    let run = |export: &str| {
        std::fs::write(repository.root().join("log.jsonl"), export).unwrap();
        let mut python = Command::new("python3");
        python.current_dir(repository.root()).args(["-c", &program, "log.jsonl"]).output()
    };
    match run(&said.stdout) {
        Ok(output) => {
            assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("4 {head}\n"));
            let changed = run(&said.stdout.replace("entry 2", "entry 0")).unwrap();
            assert!(!changed.status.success() && String::from_utf8_lossy(&changed.stderr).contains("entry 2"));
        }
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "only a missing python3 is no failure"),
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
