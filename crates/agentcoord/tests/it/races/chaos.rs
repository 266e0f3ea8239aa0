//! What Redis goes through while processes race: killed, stopped, flushed, emptied, set back, refusing writes, and back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agentcoord::{Config, Connection, SessionBuilder, Style};
use agentcoord_testkit::random::Random;
use agentcoord_testkit::redis_server::RedisServer;

use super::{SEED, row, setting};
use crate::place::Place;

/// Redis that does not answer is gone after this.
const DETECTION: Duration = Duration::from_millis(400);
/// Redis that is healthy for so long gets everything back.
const RETURN_AFTER: Duration = Duration::from_millis(200);
/// The longest that a return may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A session with short times.
pub(super) fn quick(session: SessionBuilder) -> SessionBuilder {
    session.detection(DETECTION).return_after(RETURN_AFTER)
}

/// How many outages there are to be.
const CYCLES: &str = "AGENTCOORD_SOAK_CYCLES";
/// Outages before everything begins anew: histories are judged as a whole, and what is stored grows while those who would copy
/// it are killed.
const CYCLES_AN_EPISODE: u64 = 10;

/// The seed and the outages of each episode; without a setting there are `usual` outages.
pub(super) fn episodes(usual: u64) -> impl Iterator<Item = (u64, u64)> {
    let (cycles, seed) = (setting(CYCLES, usual), setting(SEED, 1));
    let begun = (0..cycles).step_by(usize::try_from(CYCLES_AN_EPISODE).unwrap());
    begun.zip(seed..).map(move |(begun, seed)| (seed, CYCLES_AN_EPISODE.min(cycles - begun)))
}

pub(super) fn quick_config(config: &mut Config) {
    config.detection = DETECTION;
    config.return_after = RETURN_AFTER;
}

/// What can happen to Redis.
const FAULTS: [&str; 8] = ["killed", "stopped", "flushed", "emptied", "set back", "replica", "full", "hiccup"];

/// Outages to come.
pub(super) struct Chaos {
    server: RedisServer,
    config: Config,
    random: Random,
    cycles: u64,
}

/// Outages under way.
pub(super) struct Running {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Outages>,
}

/// What has happened.
pub(super) struct Outages {
    /// The server, alive and well.
    _server: RedisServer,
    counts: BTreeMap<&'static str, u64>,
    /// Take-overs that were seen, and the longest time until Redis served again, in milliseconds.
    taken_over: u64,
    longest: u64,
}

impl Chaos {
    pub(super) fn new(server: RedisServer, place: &Place, seed: u64, cycles: u64) -> Self {
        let mut config = Config::new(place.dir.path(), place.dir.path().join("state"));
        config.redis_url.clone_from(&place.redis_url);
        quick_config(&mut config);
        Self { server, config, random: Random::new(seed ^ 0x000c_4a05), cycles }
    }

    pub(super) fn begin(self) -> Running {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let outages = runtime.block_on(self.run());
            told.store(true, Ordering::Release);
            outages
        });
        Running { over, thread }
    }

    async fn run(mut self) -> Outages {
        let connection = Connection::unopened(self.config.clone(), Style::OneShot).unwrap();
        let (mut counts, mut taken_over, mut longest) = (BTreeMap::new(), 0, 0);
        served_by(&connection, "redis").await;
        for cycle in 0..self.cycles {
            self.server.keep_copy();
            tokio::time::sleep(Duration::from_millis(self.random.below(400) as u64)).await;
            // Each of them comes up as often as the others.
            let fault = FAULTS[(usize::try_from(cycle).unwrap() + self.random.below(2)) % FAULTS.len()];
            *counts.entry(fault).or_default() += 1;
            let begun = Instant::now();
            let epoch = connection.condition().await.unwrap().unwrap().epoch;
            let pause = Duration::from_millis(self.random.below(900) as u64);
            match fault {
                "killed" => {
                    self.server.kill9();
                    tokio::time::sleep(pause).await;
                    self.server.restart();
                }
                "stopped" => {
                    self.server.pause();
                    tokio::time::sleep(pause + DETECTION).await;
                    self.server.resume();
                }
                "hiccup" => {
                    self.server.pause();
                    tokio::time::sleep(pause.min(DETECTION / 2)).await;
                    self.server.resume();
                }
                "flushed" => drop(self.server.command(&["FLUSHALL"])),
                "emptied" => self.server.restart_empty(),
                "set back" => self.server.restart_from_copy(),
                "replica" => {
                    // Of a server that is not there.
                    drop(self.server.command(&["REPLICAOF", "127.0.0.1", "1"]));
                    tokio::time::sleep(pause + DETECTION).await;
                    drop(self.server.command(&["REPLICAOF", "NO", "ONE"]));
                }
                _ => {
                    drop(self.server.command(&["CONFIG", "SET", "maxmemory", "1"]));
                    tokio::time::sleep(pause + DETECTION).await;
                    drop(self.server.command(&["CONFIG", "SET", "maxmemory", "0"]));
                }
            }
            tokio::time::sleep(Duration::from_millis(self.random.below(300) as u64)).await;
            served_by(&connection, "redis").await;
            let now = connection.condition().await.unwrap().unwrap();
            taken_over += u64::from(now.epoch > epoch);
            longest = longest.max(u64::try_from(begun.elapsed().as_millis()).unwrap());
        }
        Outages { _server: self.server, counts, taken_over, longest }
    }
}

async fn served_by(connection: &Connection, engine: &str) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let now = connection.condition().await.unwrap();
        if now.as_ref().is_some_and(|now| now.engine == engine && now.phase == "serving") {
            return;
        }
        assert!(Instant::now() < give_up, "{engine} did not come to serve: {now:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Running {
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire) || self.thread.is_finished()
    }

    /// Waits until Redis has been through everything.
    pub(super) fn end(self) -> Outages {
        self.thread.join().unwrap()
    }
}

impl Outages {
    pub(super) fn print(&self, seed: u64, processes: u32, killed: usize, calls: usize, granted: usize, is_first: bool) {
        let mut cells = vec![
            ("seed", seed),
            ("processes", processes.into()),
            ("processes killed", killed as u64),
            ("calls", calls as u64),
            ("granted", granted as u64),
            ("taken over", self.taken_over),
            ("longest ms", self.longest),
        ];
        cells.extend(FAULTS.into_iter().map(|fault| (fault, self.counts.get(fault).copied().unwrap_or(0))));
        row(&cells, is_first);
    }
}
