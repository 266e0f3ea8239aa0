//! Processes that race for the same locks: exclusive and shared, files and subtrees, with waits that time out, futures
//! and guards that are dropped, and kills.
//!
//! Every half second the race moves to new paths, so that each history is short enough to be judged as a whole.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use agentcoord::core::lock::{FileLocks, LockMode, LockPath};
use agentcoord::{CoordinationClient, Error, FileLock};
use agentcoord_testkit::history::locks::{Call, Outcome, Report, check};
use agentcoord_testkit::history::{self, Recorder};
use agentcoord_testkit::random::Random;

use agentcoord_testkit::redis_server::RedisServer;

use super::chaos::{self, Chaos, Outages, Running};
use super::{Crowd, PATIENCE, PROCESSES, SEED, Worker, histories, row, setting};
use crate::place::Place;

const SECONDS: &str = "AGENTCOORD_SOAK_SECONDS";

/// The test that its processes run again.
const OUTAGES: &str = "races::locks::locks_survive_outages_of_redis";
/// The longest race over outages.
const LONGEST: Duration = Duration::from_secs(300);

/// A longer race is run as several of this length, each with a seed of its own.
const EPISODE: u64 = 15;
/// How long the race stays at the same paths, in nanoseconds.
const ROUND: u64 = 500_000_000;
/// Objects that are raced for at the same time.
const OBJECTS: usize = 3;
/// Files of an object.
const FILES: [&str; 3] = ["a", "b", "c"];

#[test]
fn locks_survive_races_and_kills_on_files() {
    race("races::locks::locks_survive_races_and_kills_on_files", Place::files);
}

#[test]
fn locks_survive_races_and_kills_on_redis() {
    race("races::locks::locks_survive_races_and_kills_on_redis", Place::redis);
}

#[test]
fn locks_survive_outages_of_redis() {
    if let Some(worker) = Worker::of_environment() {
        return worker.work(work);
    }
    let processes = u32::try_from(setting(PROCESSES, 4)).unwrap();
    for (at, (seed, cycles)) in chaos::episodes(12).enumerate() {
        let server = RedisServer::start();
        let place = Place::on(&server.url());
        let chaos = Chaos::new(server, &place, seed, cycles);
        let (killed, report, outages) = episode_of(OUTAGES, &place, seed, processes, None, Some(chaos));
        outages.unwrap().print(seed, processes, killed, report.calls, report.granted, at == 0);
    }
}

fn race(test: &'static str, place: fn() -> Place) {
    if let Some(worker) = Worker::of_environment() {
        return worker.work(work);
    }
    let (mut seconds, mut seed) = (setting(SECONDS, 4), setting(SEED, 1));
    let processes = u32::try_from(setting(PROCESSES, 8)).unwrap();
    let mut is_first = true;
    while seconds > 0 {
        let length = seconds.min(EPISODE);
        let (killed, report) = episode(test, &place(), seed, processes, Duration::from_secs(length));
        assert!(report.granted > 0 && report.contended > 0, "nobody raced");
        let cells = [
            ("seed", seed),
            ("processes", processes.into()),
            ("seconds", length),
            ("killed", killed as u64),
            ("calls", report.calls as u64),
            ("granted", report.granted as u64),
            ("contended", report.contended as u64),
            ("timed out", report.timed_out as u64),
            ("refused", report.refused as u64),
            ("unknown", report.unknown as u64),
            ("histories", report.objects as u64),
            ("longest", report.longest as u64),
        ];
        row(&cells, is_first);
        (seconds, seed, is_first) = (seconds - length, seed + 1, false);
    }
}

/// One race, judged. How many were killed, and what was judged.
fn episode(test: &'static str, place: &Place, seed: u64, processes: u32, length: Duration) -> (usize, Report) {
    let (killed, report, _) = episode_of(test, place, seed, processes, Some(length), None);
    (killed, report)
}

/// One race of a certain length, or until Redis has been through enough.
fn episode_of(
    test: &'static str,
    place: &Place,
    seed: u64,
    processes: u32,
    length: Option<Duration>,
    chaos: Option<Chaos>,
) -> (usize, Report, Option<Outages>) {
    let dir = place.dir.path();
    fs::create_dir_all(dir.join("counters")).unwrap();
    let mut crowd = Crowd::new(test, place, seed, length.unwrap_or(LONGEST));
    crowd.next.falls_back = chaos.is_some();
    let mut judge = Recorder::create(&histories(dir), 0);
    let first = crowd.next.clone();
    for slot in 0..processes {
        crowd.start(slot);
    }
    let mut random = Random::new(seed);
    let mut outages = chaos.map(Chaos::begin);
    while !first.is_over() && outages.as_ref().is_none_or(|outages| !outages.is_over()) {
        std::thread::sleep(Duration::from_millis(50 + random.below(300) as u64));
        crowd.replace_one(&mut random, |process| {
            judge.invoke(Call::End { process });
        });
    }
    fs::write(first.stop(), "").unwrap();
    let killed = crowd.wait();
    let outages = outages.take().map(Running::end);
    let last = Worker { until: history::now(), ..first };
    last.work(|last| all_is_free(last, judge));
    let judged = check(&history::read(&histories(dir)));
    (killed, judged.unwrap_or_else(|what| panic!("seed {seed} with {processes} processes: {what}")), outages)
}

/// Whatever was killed or dropped: everything can be had in the end, and nothing is left.
async fn all_is_free(worker: Worker, mut judge: Recorder) {
    let session = worker.session().await;
    for round in 0..=(worker.until - worker.begun) / ROUND {
        for object in 0..OBJECTS {
            let paths = vec![LockPath::parse(&format!("{round}-{object}/")).unwrap()];
            let call = Call::Acquire { paths: paths.clone(), mode: LockMode::Exclusive, lane: String::new() };
            let asked = judge.invoke(call);
            let lock = session.lock_file(paths[0].as_str()).timeout(PATIENCE).await.unwrap();
            judge.complete(asked, Outcome::Granted(lock.token()));
            let released = judge.invoke(Call::Release { paths, token: lock.token() });
            lock.release().await.unwrap();
            judge.complete(released, Outcome::Released);
        }
    }
    let left = FileLocks::list(&session.store().await.unwrap()).await.unwrap();
    assert!(left.is_empty(), "left behind: {left:?}");
    session.close().await.unwrap();
}

async fn work(worker: Worker) {
    let session = worker.session().await;
    let mut racer = Racer { random: worker.random(), recorder: worker.recorder(), worker, session };
    while !racer.worker.is_over() {
        let lane = if racer.random.one_in(4) { "second" } else { "" };
        racer.turn(lane, false).await;
    }
    let ended = racer.recorder.invoke(Call::End { process: racer.worker.process });
    racer.session.close().await.unwrap();
    racer.recorder.complete(ended, Outcome::Ended);
}

struct Racer {
    worker: Worker,
    session: CoordinationClient,
    recorder: Recorder,
    random: Random,
}

impl Racer {
    /// Takes some lock, does what it protects, and gives it back in one way or another.
    ///
    /// Within it sometimes another one, in the same lane: a lane that waited for another of its own process would wait
    /// for ever.
    async fn turn(&mut self, lane: &'static str, within: bool) {
        let round = (history::now() - self.worker.begun) / ROUND;
        let object = format!("{round}-{}", self.random.below(OBJECTS));
        let (paths, mode) = self.wish(&object);
        let Some(lock) = self.acquire(&paths, mode, lane).await else { return };
        let verify = Call::Verify { path: paths[0].clone(), token: lock.token() };
        let asked = self.recorder.invoke(verify);
        let verified = self.session.store().await.unwrap().verify(&paths[0], lock.token()).await.unwrap();
        self.recorder.complete(asked, Outcome::Current(verified.current));
        let is_counted = paths.iter().any(|p| p.is_subtree() || p.as_str().ends_with("/a"));
        if mode == LockMode::Exclusive && is_counted {
            self.count(object).await;
        }
        if !within && self.random.one_in(6) {
            Box::pin(self.turn(lane, true)).await;
        }
        let released = self.recorder.invoke(Call::Release { paths, token: lock.token() });
        if self.random.one_in(4) {
            drop(lock);
            return;
        }
        match lock.release().await {
            Ok(()) => self.recorder.complete(released, Outcome::Released),
            Err(Error::Stale { .. }) => self.recorder.complete(released, Outcome::Stale),
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Some paths of an object, sorted, and how to hold them.
    fn wish(&mut self, object: &str) -> (Vec<LockPath>, LockMode) {
        let mut names = if self.random.one_in(6) {
            vec![format!("{object}/")]
        } else {
            let mut files = vec![format!("{object}/{}", FILES[self.random.below(FILES.len())])];
            if self.random.one_in(3) {
                files.push(format!("{object}/{}", FILES[self.random.below(FILES.len())]));
            }
            files
        };
        names.sort();
        names.dedup();
        let mode = if self.random.one_in(3) { LockMode::Shared } else { LockMode::Exclusive };
        (names.iter().map(|name| LockPath::parse(name).unwrap()).collect(), mode)
    }

    async fn acquire(&mut self, paths: &[LockPath], mode: LockMode, lane: &str) -> Option<FileLock> {
        let mut lock = self.session.lock_files(paths.iter().map(LockPath::as_str)).lane(lane);
        if mode == LockMode::Shared {
            lock = lock.shared();
        }
        let waits = match self.random.below(4) {
            0 => Some(Duration::ZERO),
            1 => Some(Duration::from_millis(self.random.below(40) as u64)),
            _ => None,
        };
        if let Some(waits) = waits {
            lock = lock.timeout(waits);
        }
        let call = Call::Acquire { paths: paths.to_vec(), mode, lane: lane.to_owned() };
        let asked = self.recorder.invoke(call);
        let mut asking = lock.into_future();
        let answer = if self.random.one_in(5) {
            let patience = Duration::from_micros(self.random.below(8_000) as u64);
            tokio::time::timeout(patience, &mut asking).await.ok()
        } else {
            Some((&mut asking).await)
        };
        let outcome = match &answer {
            Some(Ok(lock)) => Outcome::Granted(lock.token()),
            Some(Err(Error::Held { .. })) if waits == Some(Duration::ZERO) => Outcome::Contended,
            Some(Err(Error::Held { .. })) => Outcome::TimedOut,
            Some(Err(Error::Deadlock { .. } | Error::Refused { .. })) => Outcome::Refused,
            Some(Err(error)) => panic!("{error:?}"),
            None => {
                // From here on what it takes may be given back: recorded before it is dropped.
                self.recorder.invoke(Call::Withdraw { acquire: asked });
                drop(asking);
                return None;
            }
        };
        self.recorder.complete(asked, outcome);
        answer?.ok()
    }

    /// Adds one to the number in the object's file, slowly.
    async fn count(&mut self, file: String) {
        let path: PathBuf = self.worker.dir.join("counters").join(&file);
        let counted = self.recorder.invoke(Call::Count { file });
        let file: File = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).unwrap();
        let mut number = [0; 8];
        // A new file is shorter: its number is 0.
        file.read_at(&mut number, 0).unwrap();
        tokio::time::sleep(Duration::from_micros(self.random.below(1_000) as u64)).await;
        let next = u64::from_le_bytes(number) + 1;
        file.write_all_at(&next.to_le_bytes(), 0).unwrap();
        self.recorder.complete(counted, Outcome::Counted(next));
    }
}
