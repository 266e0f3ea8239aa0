//! The README is true: its Rust block is an example that runs, and its console blocks say what really happens.
//!
//! The console blocks are one session in one scratch repository, in order, once on files and once on Redis. Ids,
//! tokens and ages differ from run to run and are compared by their form only; a line `...` stands for any lines.

use std::path::{Path, PathBuf};
use std::process::Command;

use agentcoord_testkit::redis_server::RedisServer;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn readme() -> String {
    std::fs::read_to_string(repository().join("README.md")).unwrap()
}

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let readme = readme();
    let mut blocks = Vec::new();
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        if let Some(fence) = line.strip_prefix("```").filter(|l| !l.is_empty()) {
            let body: Vec<&str> = lines.by_ref().take_while(|l| *l != "```").collect();
            if fence == language {
                blocks.push(body.join("\n"));
            }
        }
    }
    blocks
}

/// A command of a console block and what it says.
struct Turn {
    command: String,
    said: String,
}

fn turns() -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    for block in blocks("console") {
        for line in block.lines() {
            match (line.strip_prefix("$ "), turns.last_mut()) {
                (Some(command), _) => turns.push(Turn { command: command.to_owned(), said: String::new() }),
                (None, Some(turn)) if turn.command.ends_with('\\') => {
                    turn.command.pop();
                    turn.command.push_str(line.trim_start());
                }
                (None, Some(turn)) => turn.said.push_str(&format!("{line}\n")),
                (None, None) => panic!("a console block begins with a command: {line}"),
            }
        }
    }
    turns
}

const MARK: &str = "--- said ---";

/// Runs all commands in one shell and answers what each of them said.
fn run(turns: &[Turn], variables: &[(&str, &str)]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let repo = dir.path().join("shop");
    let git = Command::new("git").args(["init", "--quiet"]).arg(&repo).status().unwrap();
    assert!(git.success());
    let script: String =
        turns.iter().map(|t| format!("{{ {}\n}} 2>&1; code=$?; echo; echo '{MARK}'$code\n", t.command)).collect();
    let binary = Path::new(env!("CARGO_BIN_EXE_agentcoord")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .arg("-c")
        .arg(script)
        .current_dir(&repo)
        .env_clear()
        .env("PATH", path)
        .env("HOME", dir.path())
        .env("TMPDIR", dir.path())
        .env("USER", "ada")
        .env("LOGNAME", "ada")
        .env("COLUMNS", "100")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut said = Vec::new();
    let mut current = String::new();
    for line in text.lines() {
        match line.strip_prefix(MARK) {
            Some(code) => {
                let text = current.trim_end();
                let mut text = if text.is_empty() { String::new() } else { format!("{text}\n") };
                if code != "0" {
                    text.push_str(&format!("[exit {code}]\n"));
                }
                said.push(text);
                current.clear();
            }
            None => current.push_str(&format!("{line}\n")),
        }
    }
    said
}

/// A line without what differs from run to run, or from engine to engine.
fn form(line: &str) -> String {
    let word = |w: &str| {
        let hex = matches!(w.len(), 8 | 64) && w.bytes().all(|b| b.is_ascii_hexdigit());
        let number = w.len() >= 12 && w.bytes().all(|b| b.is_ascii_digit());
        let age = w.len() > 1 && w[..w.len() - 1].bytes().all(|b| b.is_ascii_digit()) && w.ends_with('s');
        match (hex, number, age) {
            (true, _, _) => "<id>".to_owned(),
            (_, true, _) => "<token>".to_owned(),
            (_, _, true) => "<age>".to_owned(),
            _ => w.to_owned(),
        }
    };
    if line.starts_with("engine  ") {
        return "engine <engine>".to_owned();
    }
    let mut out = String::new();
    let mut current = String::new();
    for c in line.replace("just now", "0s ago").chars().chain([' ']) {
        if c.is_ascii_alphanumeric() {
            current.push(c);
        } else {
            out.push_str(&word(&current));
            current.clear();
            out.push(c);
        }
    }
    // Columns are as wide as their widest cell, which may be an age.
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn agrees(written: &str, said: &str) -> bool {
    let (written, said): (Vec<String>, Vec<String>) =
        (written.lines().map(form).collect(), said.lines().map(form).collect());
    fn fits(written: &[String], said: &[String]) -> bool {
        match written.split_first() {
            None => said.is_empty(),
            Some((first, rest)) if first == "..." => (0..=said.len()).any(|skip| fits(rest, &said[skip..])),
            Some((first, rest)) => said.split_first().is_some_and(|(s, others)| s == first && fits(rest, others)),
        }
    }
    fits(&written, &said)
}

fn check(variables: &[(&str, &str)]) {
    let turns = turns();
    assert!(turns.len() > 10, "the tour has commands");
    let said = run(&turns, variables);
    assert_eq!(said.len(), turns.len());
    for (turn, said) in turns.iter().zip(&said) {
        assert!(
            agrees(turn.said.trim_end(), said.trim_end()),
            "$ {}\n--- the README says\n{}\n--- it said\n{said}",
            turn.command,
            turn.said
        );
    }
}

#[test]
fn console_blocks_say_what_happens_on_files() {
    check(&[("AGENTCOORD_BACKEND", "files")]);
}

#[test]
fn console_blocks_say_what_happens_on_redis() {
    let server = RedisServer::start();
    check(&[("AGENTCOORD_REDIS_URL", &server.url())]);
}

#[test]
fn rust_block_is_the_quick_start_example() {
    let example = std::fs::read_to_string(repository().join("examples/quick_start.rs")).unwrap();
    let code = example.split_once("\n\n").unwrap().1;
    assert_eq!(blocks("rust"), [code.trim_end()]);
}

#[test]
fn shell_blocks_are_known() {
    // The demo has its own tests, `.ci/run` is the second one, and the compose file is checked by `cargo xtask tidy`.
    let known =
        ["cargo run --release -p agentcoord-cli -- demo", "cargo xtask ci --setup", "docker compose up -d --wait"];
    assert_eq!(blocks("sh"), known);
}

#[test]
fn toml_block_names_a_crate_that_is_here() {
    let blocks = blocks("toml");
    assert_eq!(blocks.len(), 1);
    let manifest: toml::Table = blocks[0].parse().unwrap();
    let path = manifest["dependencies"]["agentcoord"]["path"].as_str().unwrap();
    let inside = path.strip_prefix("../agentcoord/").unwrap();
    assert!(repository().join(inside).join("Cargo.toml").is_file(), "{path}");
}

#[test]
fn redis_user_with_the_permissions_of_the_readme_can_do_everything() {
    let readme = readme();
    let rules = readme.split('`').find(|code| code.starts_with("~ac:")).expect("the permissions");
    let server = RedisServer::start();
    let user: Vec<&str> = ["ACL", "SETUSER", "ann", "on", ">secret"].into_iter().chain(rules.split(' ')).collect();
    assert_eq!(server.command(&user).trim(), "+OK");
    let url = server.url().replace("redis://", "redis://ann:secret@");
    check(&[("AGENTCOORD_REDIS_URL", &url)]);
}

#[test]
fn every_tampering_of_the_readme_has_its_test() {
    let tests = std::fs::read_to_string(repository().join("crates/agentcoord/tests/it/tampering.rs")).unwrap();
    let readme = readme();
    let (_, table) = readme.split_once("| `audit verify` says | Test |").unwrap();
    let rows: Vec<&str> = table.lines().skip(2).map(str::trim).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 5, "{rows:?}");
    for row in rows {
        let named: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{row}");
        for name in named {
            assert!(tests.contains(&format!("async fn {name}(")), "{name}");
        }
    }
}
