//! `watch` and `status --watch`: every event once and in order, through restarts, gaps and readers that go away.

use std::io::{BufRead, BufReader, Lines};
use std::process::ChildStdout;

use agentcoord_testkit::redis_server::RedisServer;
use serde_json::Value;

use crate::terminal::{Repository, Running, Terminal};

/// A watcher under way, and what it says.
struct Watcher {
    running: Running,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watcher {
    fn start(terminal: &Terminal, words: &[&str]) -> Self {
        let mut running = terminal.start(words);
        let lines = BufReader::new(running.child().stdout.take().unwrap()).lines();
        Self { running, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("it goes on").unwrap()
    }

    fn object(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// The numbers of all events up to the first whose text contains a word.
    fn up_to(&mut self, word: &str) -> Vec<(u64, String)> {
        let mut seen = Vec::new();
        loop {
            let event = self.object();
            let text = event["text"].as_str().unwrap_or_else(|| panic!("no event: {event}")).to_owned();
            let found = text.contains(word);
            seen.push((event["csn"].as_u64().unwrap(), text));
            if found {
                return seen;
            }
        }
    }
}

fn persistent() -> RedisServer {
    RedisServer::start_with(&RedisServer::binaries()[0], &["--appendonly", "yes", "--appendfsync", "always"])
}

fn contiguous(seen: &[(u64, String)]) {
    assert!(seen.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "{seen:?}");
}

fn log(terminal: &Terminal, what: &str) {
    terminal.data(&["audit", "log", "test", what, "because"]);
}

fn no_event_is_lost_or_told_twice(terminal: &Terminal) {
    log(terminal, "first");
    let mut watcher = Watcher::start(terminal, &["watch", "--since", "0", "-o", "jsonl"]);
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let terminal = terminal.clone();
            std::thread::spawn(move || (0..6).for_each(|turn| log(&terminal, &format!("no. {writer}/{turn}"))))
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    log(terminal, "the end");
    let seen = watcher.up_to("the end");
    contiguous(&seen);
    assert_eq!(seen[0].0, 1);
    for (writer, turn) in (0..4).flat_map(|writer| (0..6).map(move |turn| (writer, turn))) {
        let word = format!("no. {writer}/{turn}");
        assert_eq!(seen.iter().filter(|(_, text)| text.ends_with(&word)).count(), 1, "{word}");
    }
    // From the middle on, the same.
    let (middle, end) = (seen[seen.len() / 2].0, seen[seen.len() - 1].0);
    let mut again = Watcher::start(terminal, &["watch", "--since", &middle.to_string(), "-o", "id"]);
    for expected in middle + 1..=end {
        assert_eq!(again.line(), expected.to_string());
    }
}

#[test]
fn no_event_is_lost_or_told_twice_on_files() {
    let repository = Repository::new();
    no_event_is_lost_or_told_twice(&repository.terminal());
}

#[test]
fn no_event_is_lost_or_told_twice_on_redis() {
    let (server, repository) = (RedisServer::start(), Repository::new());
    no_event_is_lost_or_told_twice(&repository.bare().variable("AGENTCOORD_REDIS_URL", &server.url()));
}

#[test]
fn watch_goes_on_after_a_restart_of_redis() {
    let (mut server, repository) = (persistent(), Repository::new());
    let terminal = repository.bare().variable("AGENTCOORD_REDIS_URL", &server.url());
    log(&terminal, "before");
    let mut watcher = Watcher::start(&terminal, &["-q", "watch", "--since", "0", "-o", "jsonl"]);
    let mut seen = watcher.up_to("before");
    server.kill9();
    server.restart();
    log(&terminal, "after");
    seen.extend(watcher.up_to("after"));
    contiguous(&seen);
}

#[test]
fn what_the_log_does_not_keep_is_told_as_a_gap() {
    let (server, repository) = (RedisServer::start(), Repository::new());
    let terminal = repository.bare().variable("AGENTCOORD_REDIS_URL", &server.url()).flag("--namespace").flag("shop");
    log(&terminal, "first");
    log(&terminal, "second");
    // As when there are too many to be kept.
    assert_eq!(server.command(&["XTRIM", "ac:{shop}:1:events", "MINID", "2-0"]), ":1");
    let mut watcher = Watcher::start(&terminal, &["-q", "watch", "--since", "0", "-o", "jsonl"]);
    let gap = watcher.object();
    assert_eq!((&gap["gap"]["from"], &gap["gap"]["to"]), (&1.into(), &1.into()), "{gap}");
    assert_eq!(watcher.up_to("second")[0].0, 2);
}

#[test]
fn watch_goes_along_when_a_workspace_moves() {
    let (server, repository) = (RedisServer::start(), Repository::new());
    let terminal = repository.bare().variable("AGENTCOORD_REDIS_URL", &server.url());
    log(&terminal, "on redis");
    let mut watcher = Watcher::start(&terminal, &["-q", "watch", "--since", "0", "-o", "jsonl"]);
    let mut seen = watcher.up_to("on redis");
    terminal.data(&["store", "use", "files"]);
    log(&terminal, "on files");
    seen.extend(watcher.up_to("on files"));
    terminal.data(&["store", "use", "redis"]);
    log(&terminal, "on redis again");
    seen.extend(watcher.up_to("on redis again"));
    contiguous(&seen);
}

#[test]
fn reader_that_goes_away_is_no_failure() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    log(&terminal, "x");
    let mut watcher = Watcher::start(&terminal, &["watch", "--since", "0"]);
    watcher.line();
    // Nothing happens from here on, and still it ends.
    drop(watcher.lines);
    let said = watcher.running.finish();
    assert_eq!((said.exit, said.stderr.as_str()), (0, ""));
}

#[test]
fn signal_ends_a_watch() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    log(&terminal, "x");
    let mut watcher = Watcher::start(&terminal, &["watch", "--since", "0"]);
    watcher.line();
    watcher.running.signal(rustix::process::Signal::INT);
    assert_eq!(watcher.running.finish().exit, 130);
}

#[test]
fn events_are_told_in_words_and_escaped() {
    let repository = Repository::new();
    let (ann, eve) = (repository.terminal().agent("ann"), repository.terminal().variable("LOGNAME", "eve"));
    let mut watcher = Watcher::start(&eve, &["watch", "--since", "0"]);
    let mut said = Vec::new();
    let mut next = |watcher: &mut Watcher| {
        let line = watcher.line();
        said.push(line.splitn(3, "  ").nth(2).unwrap_or_else(|| panic!("{line}")).to_owned());
    };
    ann.data(&["locks", "acquire", "src/a.rs", "-m", "evil \u{1b}[2J"]);
    ann.data(&["locks", "release", "src/a.rs"]);
    ann.data(&["tasks", "add", "Do it"]);
    let task = ann.data(&["tasks", "claim"])["task"]["id"].as_str().unwrap().to_owned();
    ann.data(&["tasks", "done", &task]);
    let thread = eve.data(&["board", "post", "Hello", "@ann"])["thread"]["id"].as_str().unwrap().to_owned();
    log(&eve, "the end");
    for _ in 0..8 {
        next(&mut watcher);
    }
    let expected = [
        "ann is here (agent)".to_owned(),
        r"ann locked src/a.rs: evil \u{1b}[2J".to_owned(),
        "ann released src/a.rs".to_owned(),
        format!("ann added {task} Do it"),
        format!("ann claimed {task} Do it"),
        format!("ann completed {task} Do it"),
        format!("human:eve opened {thread} Hello"),
        "human:eve decided test: the end".to_owned(),
    ];
    assert_eq!(said, expected);
}

#[test]
fn status_is_told_again_whenever_something_happens() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let mut watcher = Watcher::start(&terminal, &["status", "--watch", "-o", "jsonl"]);
    assert_eq!(watcher.object()["tasks"]["pending"], 0);
    terminal.data(&["tasks", "add", "Do it"]);
    while watcher.object()["tasks"]["pending"] != 1 {}
    drop(watcher.lines);
    assert_eq!(watcher.running.finish().exit, 0);
}
