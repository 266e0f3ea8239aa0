//! The board, the audit log and the export.

use serde_json::json;

use crate::terminal::{Repository, Transcript};

#[test]
fn threads_are_posted_answered_and_resolved() {
    let repository = Repository::new();
    let terminal = repository.terminal().variable("LOGNAME", "eve");
    let (ann, ben) = (terminal.agent("ann"), terminal.agent("ben"));
    let mut transcript = Transcript::new(&repository);
    transcript.run("eve", &terminal, &["board"]);
    transcript.run("eve", &terminal, &["board", "post", "Release on Friday"]);
    let words = ["board", "post", "Auth is broken", "Tokens expire\nat once", "--priority", "high", "--tag", "auth"];
    transcript.run("ann", &ann, &[&words[..], &["--link", "src/auth.rs"]].concat());
    transcript.run("ben", &ben, &["board"]);
    let id = ben.data(&["board"])["items"][0]["id"].as_str().unwrap().to_owned();
    transcript.run("ben", &ben, &["board", "reply", &id, "I have seen it too"]);
    transcript.run("eve", &terminal, &["board", "show", &id]);
    transcript.run("ann", &ann, &["board", "resolve", &id]);
    transcript.run("ben", &ben, &["board"]);
    transcript.run("ben", &ben, &["board", "--status", "resolved"]);
    transcript.run("ben", &ben, &["board", "reply", "0123abcd", "?"]);
    transcript.run("ben", &ben, &["board", "reply", &id, " "]);
    transcript.run("ben", &ben, &["board", "post", ""]);
    transcript.run("ben", &ben, &["board", "post", "x", "--priority", "urgent"]);
    transcript.check("board");
}

#[test]
fn messages_of_many_processes_are_all_kept() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let id = terminal.data(&["board", "post", "Roll call"])["thread"]["id"].as_str().unwrap().to_owned();
    let names: Vec<String> = (0..8).map(|n| format!("agent-{n}")).collect();
    let posts: Vec<_> = names.iter().map(|name| terminal.agent(name).start(&["board", "reply", &id, name])).collect();
    for post in posts {
        assert_eq!(post.finish().exit, 0);
    }
    let thread = terminal.data(&["board", "show", &id[..5]]);
    let messages = thread["thread"]["messages"].as_array().unwrap();
    let mut said: Vec<&str> = messages.iter().map(|m| m["content"].as_str().unwrap()).collect();
    said.sort_unstable();
    assert_eq!(said, names);
    assert!(messages.iter().enumerate().all(|(i, m)| m["number"] == json!(i + 1)));
}

#[test]
fn messages_reach_whom_they_name_and_count_as_read_once_shown() {
    let repository = Repository::new();
    let terminal = repository.terminal().variable("LOGNAME", "eve");
    let (ann, ben) = (terminal.agent("ann"), terminal.agent("ben"));
    let mut transcript = Transcript::new(&repository);
    assert_eq!(terminal.run(&["agents", "register", "ben", "--role", "reviewer"]).exit, 0);
    transcript.run("ann", &ann, &["board", "post", "Look at auth", "is it safe?", "--to", "@reviewer"]);
    transcript.run("ann", &ann, &["board", "post", "Lunch?", "@ben and human:eve", "--to", "human:eve"]);
    transcript.run("ben", &ben, &["board", "read", "--peek", "--limit", "1"]);
    transcript.run("ben", &ben, &["board", "read"]);
    transcript.run("ben", &ben, &["board", "read"]);
    transcript.run("ben", &ben, &["board", "read", "--wait", "0"]);
    let id = ben.data(&["board", "list", "--by", "ann"])["items"][0]["id"].as_str().unwrap().to_owned();
    transcript.run("eve", &terminal, &["board", "reply", &id, "at noon", "--key", "noon"]);
    transcript.run("eve", &terminal, &["board", "reply", &id, "at noon", "--key", "noon"]);
    transcript.run("ann", &ann, &["board", "read", "--json", "--peek"]);
    assert_eq!(ben.run(&["agents", "deregister"]).exit, 0);
    transcript.run("ann", &ann, &["board", "reply", &id, "see you", "--resolve"]);
    transcript.run("ann", &ann, &["board", "reopen", &id, "-m", "no, tomorrow"]);
    transcript.run("ann", &ann, &["board", "update", &id, "--priority", "low", "--tag", "food"]);
    transcript.run("ann", &ann, &["board", "update", &id]);
    transcript.run("ann", &ann, &["board", "list", "--tag", "food"]);
    transcript.run("ann", &ann, &["board", "search", "NOON"]);
    transcript.run("ann", &ann, &["board", "search", "auth"]);
    transcript.run("ann", &ann, &["board", "search", "nowhere"]);
    transcript.run("ann", &ann, &["board", "post", "Hi", "there", "--to", "@reviewers"]);
    transcript.run("ann", &ann, &["board", "post", "Hi", "there", "--to", "@"]);
    transcript.check("inbox");
}

#[test]
fn what_could_not_be_written_out_stays_unread() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let (ann, ben) = (terminal.agent("ann"), terminal.agent("ben"));
    ben.data(&["agents", "register", "ben"]);
    ann.data(&["board", "post", "Hello", "ben", "--to", "ben"]);
    // The reading end is closed before the command writes.
    let mut command = ben.command(&["board", "read"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = command.stdout(writer).spawn().unwrap().wait().unwrap();
    assert_eq!(ended.code(), Some(0));
    assert_eq!(ben.data(&["board", "read"])["items"].as_array().unwrap().len(), 1);
    assert_eq!(ben.data(&["board", "read"])["items"].as_array().unwrap().len(), 0);
}

#[test]
fn read_waits_until_a_message_comes() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let (ann, ben) = (terminal.agent("ann"), terminal.agent("ben"));
    ben.data(&["agents", "register", "ben"]);
    let reading = ben.start(&["board", "read", "--wait", "1m", "-o", "id"]);
    let posted = ann.data(&["board", "post", "Hello", "there", "--to", "ben"]);
    let said = reading.finish();
    assert_eq!((said.exit, said.stdout.trim()), (0, posted["thread"]["id"].as_str().unwrap()), "{}", said.stderr);
}

#[test]
fn decisions_are_logged_and_found_again() {
    let repository = Repository::new();
    let terminal = repository.terminal().variable("LOGNAME", "eve");
    let ann = terminal.agent("ann");
    let mut transcript = Transcript::new(&repository);
    transcript.run("ann", &ann, &["audit", "log", "architecture", "one queue for all", "simpler"]);
    transcript.run("eve", &terminal, &["audit", "log", "release", "v2", "tested"]);
    transcript.run("eve", &terminal, &["audit"]);
    transcript.run("eve", &terminal, &["audit", "list", "--agent", "ann", "-o", "id"]);
    transcript.run("eve", &terminal, &["audit", "list", "--type", "release", "--since", "1h"]);
    transcript.run("eve", &terminal, &["audit", "list", "--since", "2999-01-01T00:00:00Z"]);
    transcript.run("eve", &terminal, &["audit", "list", "--limit", "1"]);
    transcript.run("eve", &terminal, &["audit", "list", "--limit", "1", "--cursor", "2"]);
    transcript.run("eve", &terminal, &["audit", "list", "--since", "yesterday"]);
    transcript.run("eve", &terminal, &["audit", "log", "", "x", "y"]);
    transcript.run("agent", &terminal.clone().variable("CURSOR_AGENT", "1"), &["audit", "log", "x", "y", "z"]);
    transcript.check("audit");
}

#[test]
fn export_writes_its_files_and_never_replaces_somebody_elses() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    ann.data(&["locks", "acquire", "src/a|b.rs", "-m", "<b>why</b>"]);
    ann.data(&["tasks", "add", "Do | it"]);
    ann.data(&["tasks", "claim"]);
    ann.data(&["board", "post", "Hello", "# no heading\n\u{1b}[31m"]);
    assert_eq!(ann.run(&["export", "--dir", "src"]).exit, 0);
    let read = |name: &str| std::fs::read_to_string(repository.root().join("src").join(name)).unwrap();
    let (status, board) = (read("STATUS.md"), read("BOARD.md"));
    assert!(status.contains("- `src/a|b.rs` by ann: &lt;b>why&lt;/b>"), "{status}");
    assert!(status.contains("| Do \\| it | claimed | ann |"), "{status}");
    assert!(board.contains("## Hello") && board.contains("    # no heading\n    \\u{1b}[31m\n"), "{board}");
    assert_eq!(ann.run(&["export", "--dir", "src"]).exit, 0, "its own files it replaces");
    std::fs::write(repository.root().join("src/BOARD.md"), "my own").unwrap();
    let said = ann.run(&["export", "--dir", "src"]);
    assert_eq!(said.exit, 5, "{}", said.stderr);
    assert_eq!(read("BOARD.md"), "my own");
    assert_eq!(ann.run(&["export", "--dir", "src", "--force"]).exit, 0);
    assert_eq!(ann.run(&["export", "--dir", "nowhere"]).exit, 2);
}
