//! Many processes at once, some of them killed by -9 in the middle, and their histories judged afterwards.
//!
//! A process of a race is this very test binary, started again with the same test and what it is to do in [`WORKER`].

mod chaos;
mod locks;
mod tasks;

use std::fs;
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use agentcoord::{BackendChoice, CoordinationClient};
use agentcoord_testkit::history;
use agentcoord_testkit::random::Random;
use serde::{Deserialize, Serialize};

use crate::place::Place;

/// Tells a process of a race what it is to do.
const WORKER: &str = "AGENTCOORD_SOAK_WORKER";

/// Set by `cargo xtask soak`.
const PROCESSES: &str = "AGENTCOORD_SOAK_PROCESSES";
const SEED: &str = "AGENTCOORD_SOAK_SEED";

/// How long processes may take to end when they are done, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A number that `cargo xtask soak` has set, or the one for every day.
fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Prints a row of a table of what was raced for, below the names of its columns if it is the first.
fn row(cells: &[(&str, u64)], is_first: bool) {
    let line = |cell: &dyn Fn(&(&str, u64)) -> String| {
        let cells = cells.iter().map(|c| format!("{:>1$}", cell(c), c.0.len().max(6)));
        let mut out = std::io::stdout();
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ")).unwrap();
    };
    if is_first {
        line(&|(name, _)| (*name).to_owned());
    }
    line(&|(_, number)| number.to_string());
}

/// What one process of a race is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Worker {
    /// Its number, new for every start: the process of the history.
    process: u32,
    /// Which of those that run at the same time it is.
    slot: u32,
    seed: u64,
    dir: PathBuf,
    redis_url: Option<String>,
    /// Files may take over from Redis.
    falls_back: bool,
    /// When the race has begun and when it ends, by [`history::now`].
    begun: u64,
    until: u64,
}

impl Worker {
    /// What this process is to do, if it is one of a race.
    fn of_environment() -> Option<Self> {
        std::env::var(WORKER).ok().map(|text| serde_json::from_str(&text).unwrap())
    }

    fn is_over(&self) -> bool {
        history::now() >= self.until || self.stop().exists()
    }

    /// Says to the workers that it is enough.
    fn stop(&self) -> PathBuf {
        self.dir.join("stop")
    }

    /// A sequence of its own.
    fn random(&self) -> Random {
        Random::new(self.seed ^ (u64::from(self.process) << 32))
    }

    fn recorder(&self) -> history::Recorder {
        history::Recorder::create(&histories(&self.dir), self.process)
    }

    async fn session(&self) -> CoordinationClient {
        let session = CoordinationClient::session("Engineer", format!("worker-{}", self.slot))
            .dir(&self.dir)
            .state_dir(self.dir.join("state"))
            .patience(PATIENCE);
        match &self.redis_url {
            Some(url) if self.falls_back => chaos::quick(session.redis_url(url)),
            Some(url) => session.redis_url(url).backend(BackendChoice::Redis),
            None => session.backend(BackendChoice::Files),
        }
        .await
        .unwrap()
    }

    /// Works on a runtime of its own.
    fn work<F: Future<Output = ()>>(&self, work: impl FnOnce(Self) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work(self.clone()));
    }
}

fn histories(dir: &Path) -> PathBuf {
    dir.join("histories")
}

/// The processes of a race. Killed when dropped.
struct Crowd {
    test: &'static str,
    next: Worker,
    running: Vec<(Worker, Child)>,
    killed: usize,
}

impl Crowd {
    /// Processes for a test, none yet, that work for so long.
    fn new(test: &'static str, place: &Place, seed: u64, length: Duration) -> Self {
        let dir = place.dir.path().to_owned();
        fs::create_dir_all(histories(&dir)).unwrap();
        let begun = history::now();
        let until = begun + u64::try_from(length.as_nanos()).unwrap();
        let next = Worker {
            process: 1,
            slot: 0,
            seed,
            dir,
            redis_url: place.redis_url.clone(),
            falls_back: false,
            begun,
            until,
        };
        Self { test, next, running: Vec::new(), killed: 0 }
    }

    /// Starts one.
    fn start(&mut self, slot: u32) {
        let worker = Worker { slot, ..self.next.clone() };
        self.next.process += 1;
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([self.test, "--exact", "--nocapture", "--test-threads=1"]);
        command.env(WORKER, serde_json::to_string(&worker).unwrap());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        self.running.push((worker, child));
    }

    /// Kills one by -9, after `told` has recorded which, and starts another one in its slot.
    fn replace_one(&mut self, random: &mut Random, told: impl FnOnce(u32)) {
        let (worker, mut child) = self.running.swap_remove(random.below(self.running.len()));
        told(worker.process);
        child.kill().unwrap();
        child.wait().unwrap();
        self.killed += 1;
        self.start(worker.slot);
    }

    /// Waits until all have ended well.
    fn wait(mut self) -> usize {
        let give_up = history::now() + u64::try_from(PATIENCE.as_nanos()).unwrap();
        for (worker, mut child) in self.running.drain(..) {
            let status = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break status;
                }
                if history::now() > give_up {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    panic!("process {} of seed {} did not end", worker.process, worker.seed);
                }
                std::thread::sleep(Duration::from_millis(10));
            };
            assert!(status.success(), "process {} of seed {}: {status}", worker.process, worker.seed);
        }
        self.killed
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            // They fail only when it has ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
