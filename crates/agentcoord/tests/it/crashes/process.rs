//! A process that works until it is told to stop, or until it comes to a place where it is to fall: this very test binary,
//! started again, from the outside. What it asks and is told is on disk before it goes on.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use agentcoord::SessionBuilder;
use agentcoord::core::lock::LockPath;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// Tells a process what it is to do.
pub(super) const ORDERS: &str = "AGENTCOORD_TEST_CRASH";
/// The place at which a process has its session, a lock and a task, and begins to work.
pub(super) const READY: &str = "ready";
/// Longer than anything that is waited for here.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Tells a process to hold nothing and to ask for nothing; and what it answers.
pub(super) const REST: &str = "rest";
pub(super) const RESTS: &str = "rests";
/// Tells a process that was stopped at a place that it may leave it.
pub(super) const GOES_ON: &str = "goes-on";

/// A session with short times.
pub(super) fn quick(session: SessionBuilder) -> SessionBuilder {
    let session = session.detection(Duration::from_millis(400)).return_after(Duration::from_millis(100));
    session.patience(Duration::from_secs(60))
}

/// What becomes of a process at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fall {
    Killed,
    Stopped,
    /// Only the thread that comes there waits.
    HeldUp,
}

/// Where a process ends, or stops.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct End {
    /// The place.
    pub(super) place: String,
    /// How often it must be reached.
    pub(super) nth: u32,
    /// Counted from when this place is reached; empty: from the start.
    pub(super) after: String,
    pub(super) fall: Fall,
    /// Redis is killed where the count begins.
    pub(super) kills_redis: bool,
}

/// What a process is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    /// Its number.
    pub(super) process: u32,
    pub(super) dir: PathBuf,
    pub(super) redis_url: String,
    pub(super) end: Option<End>,
    /// When it is ready it moves the workspace to files by hand.
    pub(super) moves_by_hand: bool,
    /// When it is ready it creates this task and nothing else.
    pub(super) only: Option<String>,
}

impl Orders {
    pub(super) fn new(process: u32, dir: &Path, redis_url: &str) -> Self {
        let (dir, redis_url) = (dir.to_owned(), redis_url.to_owned());
        Self { process, dir, redis_url, end: None, moves_by_hand: false, only: None }
    }

    pub(super) fn start(&self) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["crashes::worker::works_as_it_is_told", "--exact", "--nocapture", "--test-threads=1"]);
        command.env(ORDERS, serde_json::to_string(self).unwrap());
        Process { orders: self.clone(), child: command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap() }
    }
}

pub(super) fn histories(dir: &Path) -> PathBuf {
    dir.join("histories")
}

/// The lock that a process keeps as long as it lives.
pub(super) fn kept_by(process: u32) -> LockPath {
    LockPath::parse(&format!("kept-{process}/x")).unwrap()
}

/// Says to all processes that it is enough.
pub(super) fn stop_all(dir: &Path) {
    fs::write(dir.join("stop"), "").unwrap();
}

/// Says to all processes that they may begin to work.
pub(super) fn let_all_go(dir: &Path) {
    fs::write(dir.join("go"), "").unwrap();
}

/// What is killed when a process comes to the place from where it counts.
pub(super) fn name_redis(dir: &Path, pid: u32) {
    fs::write(dir.join("redis.pid"), pid.to_string()).unwrap();
}

/// A process at work. It is killed when dropped.
pub(super) struct Process {
    orders: Orders,
    child: Child,
}

impl Process {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Lets it rest: it holds nothing that others wait for, until it is to go on.
    pub(super) async fn rests(&mut self) {
        let heard = self.file(RESTS);
        fs::write(self.file(REST), "").unwrap();
        self.wait("its rest", |_| heard.exists()).await;
    }

    /// Stops it while it holds nothing, so that nobody waits for it.
    pub(super) async fn stop(&mut self) {
        self.rests().await;
        self.signal(Signal::STOP);
    }

    /// Lets it go on, if it was stopped, and work.
    pub(super) fn go_on(&self) {
        for what in [REST, RESTS] {
            // It need not have rested.
            drop(fs::remove_file(self.file(what)));
        }
        fs::write(self.file(GOES_ON), "").unwrap();
        self.signal(Signal::CONT);
    }

    /// Titles that it has asked for, and those that were acknowledged to it.
    pub(super) fn tasks(&self) -> (Vec<String>, Vec<String>) {
        let text = fs::read_to_string(self.file("diary")).unwrap_or_default();
        let titles = |what| text.lines().filter_map(|line| line.strip_prefix(what)).map(str::to_owned).collect();
        (titles("asked "), titles("acknowledged "))
    }

    /// The id of its client.
    pub(super) fn client(&self) -> String {
        fs::read_to_string(self.file("client")).unwrap()
    }

    /// kill -9 from outside.
    pub(super) async fn is_killed(&mut self) {
        self.signal(Signal::KILL);
        assert_eq!(self.ended().await.signal(), Some(9));
    }

    /// Waits until it works.
    pub(super) async fn ready(&mut self) {
        let ready = self.file(READY);
        self.wait(READY, |_| ready.exists()).await;
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        self.wait("its end", |process| process.child.try_wait().unwrap().is_some()).await;
        self.child.wait().unwrap()
    }

    /// Waits until it has been killed, or stopped, at the place where it was to be.
    pub(super) async fn falls(&mut self) {
        let end = self.orders.end.clone().unwrap();
        let reached = self.file("reached");
        match end.fall {
            Fall::Killed => assert_eq!(self.ended().await.signal(), Some(9), "{end:?}"),
            Fall::Stopped => {
                let stat = format!("/proc/{}/stat", self.pid());
                self.wait("its stop", |_| fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "))).await;
            }
            Fall::HeldUp => {
                self.wait("its place", |_| fs::read_to_string(&reached).is_ok_and(|text| text == end.place)).await;
            }
        }
        assert_eq!(fs::read_to_string(reached).ok(), Some(end.place.clone()), "{end:?}");
    }

    /// Waits until more was acknowledged to it.
    pub(super) async fn gets_on(&mut self) {
        let before = self.tasks().1.len();
        self.has_done(before + 2).await;
    }

    /// Waits until so many tasks were acknowledged to it.
    pub(super) async fn has_done(&mut self, tasks: usize) {
        self.wait("its next tasks", |process| process.tasks().1.len() >= tasks).await;
    }

    async fn wait(&mut self, what: &str, has_come: impl Fn(&mut Self) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !has_come(self) {
            assert!(Instant::now() < give_up, "process {}: {what} did not come", self.orders.process);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn file(&self, what: &str) -> PathBuf {
        file(&self.orders, what)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // They fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A file by which a process and the test tell each other something.
pub(super) fn file(orders: &Orders, what: &str) -> PathBuf {
    orders.dir.join(format!("{what}-{}", orders.process))
}
