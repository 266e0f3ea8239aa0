//! Nothing that an agent stored drives the terminal of whoever looks at it, whatever the command and the format.

use agentcoord::core::hidden::is_hidden;

use crate::terminal::{Repository, Said, Terminal};

/// A new title, a cleared screen, a line that looks like ours, text from right to left, and an escape in eight bits.
const EVIL: &str = "\u{1b}]0;owned\u{7}\u{1b}[2Jinnocent\nerror: fake\r\u{202e}txt\u{200b}\u{9b}31m\u{e0041}";

fn harmless(words: &[&str], said: &Said) {
    for out in [&said.stdout, &said.stderr] {
        assert!(!out.contains(|c| is_hidden(c) && c != '\n'), "{words:?}: {out:?}");
        let ours = |line: &str| ["error:", "warning:"].iter().any(|mark| line.starts_with(mark));
        let forged = out.lines().filter(|line| ours(line)).any(|line| line.contains("fake") && !line.contains("u{1b}"));
        assert!(!forged, "{words:?}: {out}");
    }
}

fn in_every_format(terminal: &Terminal, words: &[&str]) {
    for format in ["table", "json", "jsonl", "id"] {
        let words: Vec<&str> = ["-o", format].iter().chain(words).copied().collect();
        let said = terminal.run(&words);
        assert_eq!(said.exit, 0, "{words:?}: {}", said.stderr);
        harmless(&words, &said);
        let shown = if format == "table" { r"\u{1b}" } else { r"\u001b" };
        assert!(format == "id" || said.stdout.contains(shown), "{words:?}: {}", said.stdout);
    }
}

#[test]
fn stored_escapes_are_shown_and_not_sent() {
    let repository = Repository::new();
    let (ann, ben) = (repository.terminal().agent("ann"), repository.terminal().agent("ben"));
    ann.data(&["locks", "acquire", "a", "-m", EVIL]);
    ann.data(&["agents", "update", "--working-on", EVIL, "--status", EVIL]);
    let task = ann.data(&["tasks", "add", EVIL, "--description", EVIL, "--payload", r#"{"a":"\u001b[2J\u202e"}"#]);
    let thread = ann.data(&["board", "post", EVIL, EVIL]);
    let diff = format!("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+{EVIL}\n");
    std::fs::write(repository.root().join("evil.diff"), diff).unwrap();
    let request = [
        "--json",
        "approvals",
        "request",
        "deploy",
        EVIL,
        "--diff",
        "@evil.diff",
        "--payload",
        r#""\u001b[2J\n\u202e""#,
    ];
    let asked: serde_json::Value = serde_json::from_str(&ann.run(&request).stdout).unwrap();
    ann.data(&["audit", "log", "note", EVIL, EVIL]);
    let id = |data: &serde_json::Value, noun: &str| data[noun]["id"].as_str().unwrap().to_owned();
    let (task, thread, approval) = (id(&task, "task"), id(&thread, "thread"), id(&asked["data"], "approval"));
    for words in [
        &["status"][..],
        &["locks"],
        &["locks", "show", "a"],
        &["agents"],
        &["agents", "show", "ann"],
        &["tasks"],
        &["tasks", "show", &task],
        &["board"],
        &["board", "show", &thread],
        &["approvals"],
        &["approvals", "show", &approval],
        &["audit"],
    ] {
        in_every_format(&ben, words);
    }
    let exported = ben.run(&["audit", "export", "-"]);
    harmless(&["audit", "export"], &exported);
    assert!(exported.stdout.contains("owned"), "{}", exported.stderr);
    let shown = repository.terminal().run(&["approve", &approval, "--by", "eve", "-m", EVIL]);
    harmless(&["approve"], &shown);
    ben.data(&["export"]);
    for file in ["STATUS.md", "BOARD.md"] {
        let text = std::fs::read_to_string(repository.root().join(file)).unwrap();
        assert!(!text.contains(|c| is_hidden(c) && c != '\n'), "{file}: {text:?}");
    }
    assert_eq!(ben.data(&["locks", "show", "a"])["items"][0]["intent"], EVIL, "JSON has it as it is");
}

#[test]
fn errors_show_what_they_quote() {
    let repository = Repository::new();
    let (ann, ben) = (repository.terminal().agent("ann"), repository.terminal().agent("ben"));
    ann.data(&["locks", "acquire", "a", "-m", EVIL]);
    for words in [
        &["locks", "acquire", "a"][..],
        &["locks", "acquire", EVIL],
        &["tasks", "show", EVIL],
        &["tasks", "add", "x", "--tag", EVIL],
        &["approve", EVIL],
        &["--as", EVIL, "locks", "acquire", "b"],
        &["--backend", EVIL, "status"],
        &[EVIL],
        &["locks", EVIL, "--no-such-flag"],
    ] {
        for format in ["table", "json"] {
            let words: Vec<&str> = ["-o", format].iter().chain(words).copied().collect();
            let said = ben.run(&words);
            assert_ne!(said.exit, 0, "{words:?}");
            harmless(&words, &said);
        }
    }
    let refused = ben.run(&["locks", "acquire", "a"]);
    assert!(refused.exit == 4 && refused.stderr.lines().count() == 4, "{:?}", refused.stderr);
}

#[test]
fn diff_is_coloured_on_a_terminal_only() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    std::fs::write(repository.root().join("a.diff"), "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n").unwrap();
    let request = ["-o", "id", "approvals", "request", "deploy", "x", "--diff", "@a.diff"];
    let id = terminal.agent("ann").run(&request).stdout.trim().to_owned();
    let plain = terminal.run(&["approvals", "show", &id]).stdout;
    assert!(plain.contains("\n  -old\n  +new\n"), "{plain}");
    let coloured = terminal.run(&["--color", "always", "approvals", "show", &id]).stdout;
    assert!(coloured.contains("\u{1b}[31m  -old\u{1b}[0m\n\u{1b}[32m  +new\u{1b}[0m\n"), "{coloured:?}");
    let payload =
        ["-o", "id", "approvals", "request", "deploy", "y", "--payload", r#"{"patch":"--- a\n+++ b\n@@ @@\n+x\n"}"#];
    let id = terminal.agent("ann").run(&payload).stdout.trim().to_owned();
    let shown = terminal.run(&["approvals", "show", &id]).stdout;
    assert!(shown.contains("payload, patch\n  --- a\n  +++ b\n  @@ @@\n  +x\n"), "{shown}");
}
