//! A session in a process of its own, which tests kill and stop: this very test binary, started again.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use agentcoord::{BackendChoice, CoordinationClient};

use crate::place::Place;

const NAME: &str = "AGENTCOORD_TEST_CHILD";
const STATE: &str = "AGENTCOORD_TEST_STATE";
const REDIS: &str = "AGENTCOORD_TEST_REDIS";
const TTL: &str = "AGENTCOORD_TEST_TTL";

/// A process with a session. It is killed when dropped.
pub(crate) struct Process {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    /// Starts one and waits until it has its session.
    pub(crate) fn start(place: &Place, name: &str, ttl: Duration) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["child::locks_and_releases_as_it_is_told", "--exact", "--nocapture", "--test-threads=1"]);
        command.env(NAME, name).env(STATE, place.dir.path()).env(TTL, ttl.as_millis().to_string());
        if let Some(url) = &place.redis_url {
            command.env(REDIS, url);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (orders, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut process = Self { child, orders, answers };
        assert_eq!(process.answer(), "ready");
        process
    }

    /// Tells it to do something and waits for what came of it.
    pub(crate) fn ask(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "the process has ended");
            // The test harness says things of its own.
            if let Some((_, answer)) = line.split_once("@ ") {
                return answer.trim().to_owned();
            }
        }
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn say(answer: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "@ {answer}").unwrap();
    out.flush().unwrap();
}

/// By itself a small test; started by [`Process`], it obeys until its orders end or it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn locks_and_releases_as_it_is_told() {
    let value = |name| std::env::var(name).ok();
    let Some(name) = value(NAME) else {
        let place = Place::files();
        let mut process = Process::start(&place, "one", Duration::from_secs(30));
        assert_eq!(process.ask("lock a"), "held");
        assert_eq!(process.ask("release"), "released");
        return;
    };
    let dir = std::path::PathBuf::from(value(STATE).unwrap());
    let ttl = Duration::from_millis(value(TTL).unwrap().parse().unwrap());
    let mut session = CoordinationClient::session("Engineer", name).dir(&dir).state_dir(dir.join("state")).ttl(ttl);
    session = match value(REDIS) {
        Some(url) => session.redis_url(url),
        None => session.backend(BackendChoice::Files),
    };
    let session = session.await.unwrap();
    say("ready");
    let mut held = None;
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        match line.split_once(' ') {
            Some(("lock", path)) => match session.lock_file(path).await {
                Ok(lock) => {
                    held = Some(lock);
                    say("held");
                }
                Err(error) => say(&format!("{error:?}")),
            },
            // Works until it is killed, and never gets anything done.
            None if line == "work" => {
                let begun = |task: std::sync::Arc<agentcoord::Task>| async move {
                    say(task.id());
                    std::future::pending::<Result<(), agentcoord::Failure>>().await
                };
                drop(session.worker(["none"; 0]).run(begun).await);
            }
            _ => match held.take().unwrap().release().await {
                Ok(()) => say("released"),
                Err(error) => say(&format!("{error:?}")),
            },
        }
    }
    session.close().await.unwrap();
}
