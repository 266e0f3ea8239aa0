//! Workers that claim tasks until none is left: completed, failed, put back, held past their lease, and killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use agentcoord::core::ids::{Csn, Token};
use agentcoord::core::op::{Actor, decode};
use agentcoord::core::record::{Event, TaskRecord};
use agentcoord::core::table::Table;
use agentcoord::core::task::{Backoff, CreateTasks, NewTask, TaskStatus};
use agentcoord::{Config, Connection, CoordinationClient, Error, Store, Style};
use agentcoord_testkit::history::tasks::{Call, Outcome, Report, check};
use agentcoord_testkit::history::{self, Recorder};
use agentcoord_testkit::random::Random;
use agentcoord_testkit::redis_server::RedisServer;

use super::chaos::{self, Chaos, Running};
use super::{Crowd, PROCESSES, SEED, Worker, histories, row, setting};
use crate::place::Place;

const TASKS: &str = "AGENTCOORD_SOAK_TASKS";
/// The test that its processes run again.
const OUTAGES: &str = "races::tasks::every_task_is_done_once_whatever_becomes_of_redis";

/// Tasks are about one of these.
const TAGS: [&str; 4] = ["backend", "frontend", "docs", "tests"];
/// Of the claims with a lease, which some workers let run out.
const LEASE: Duration = Duration::from_millis(30);
/// Tasks and events in one call.
const CHUNK: usize = 100;
/// How long nothing may happen.
const STANDSTILL: Duration = Duration::from_secs(30);

#[test]
fn every_task_is_done_once_whoever_is_killed_on_files() {
    race("races::tasks::every_task_is_done_once_whoever_is_killed_on_files", Place::files);
}

#[test]
fn every_task_is_done_once_whoever_is_killed_on_redis() {
    race("races::tasks::every_task_is_done_once_whoever_is_killed_on_redis", Place::redis);
}

#[test]
fn every_task_is_done_once_whatever_becomes_of_redis() {
    if let Some(worker) = Worker::of_environment() {
        return worker.work(work);
    }
    let processes = u32::try_from(setting(PROCESSES, 4)).unwrap();
    for (at, (seed, cycles)) in chaos::episodes(8).enumerate() {
        episode(seed, processes, cycles, at == 0);
    }
}

fn episode(seed: u64, processes: u32, cycles: u64, is_first: bool) {
    let server = RedisServer::start();
    let place = Place::on(&server.url());
    let chaos = Chaos::new(server, &place, seed, cycles);
    let mut crowd = Crowd::new(OUTAGES, &place, seed, Duration::from_secs(100_000));
    crowd.next.falls_back = true;
    let mut supervisor = Supervisor { place: &place, number: CHUNK, seed, done: done(&crowd.next), outages: None };
    supervisor.outages = Some(chaos.begin());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (killed, finals) = runtime.block_on(supervisor.watch(crowd, processes));
    let judged = check(&history::read(&histories(place.dir.path())));
    let report: Report = judged.unwrap_or_else(|what| panic!("seed {seed} with {processes} processes: {what}"));
    assert_eq!(report.tasks as u64, finals.values().sum::<u64>(), "every task has a history");
    supervisor.outages.unwrap().end().print(seed, processes, killed, report.tasks, report.claimed, is_first);
}

fn race(test: &'static str, place: fn() -> Place) {
    if let Some(worker) = Worker::of_environment() {
        return worker.work(work);
    }
    let (number, seed) = (usize::try_from(setting(TASKS, 2_000)).unwrap(), setting(SEED, 1));
    let processes = u32::try_from(setting(PROCESSES, 8)).unwrap();
    let place = place();
    let crowd = Crowd::new(test, &place, seed, Duration::from_secs(100_000));
    let supervisor = Supervisor { place: &place, number, seed, done: done(&crowd.next), outages: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = history::now();
    let (killed, finals) = runtime.block_on(supervisor.watch(crowd, processes));
    let seconds = (history::now() - begun) / 1_000_000_000;
    let judged = check(&history::read(&histories(place.dir.path())));
    let report: Report = judged.unwrap_or_else(|what| panic!("seed {seed} with {processes} processes: {what}"));
    assert_eq!(report.tasks, number, "every task has a history");
    row(
        &[
            ("seed", seed),
            ("processes", processes.into()),
            ("seconds", seconds),
            ("killed", killed as u64),
            ("tasks", number as u64),
            ("completed", finals[&"completed"]),
            ("failed", finals.get("failed").copied().unwrap_or(0)),
            ("dead", finals.get("dead").copied().unwrap_or(0)),
            ("claims", report.claimed as u64),
            ("stale", report.stale as u64),
            ("unknown", report.unknown as u64),
            ("longest", report.longest as u64),
        ],
        true,
    );
}

/// Says to the workers that there is nothing left to do.
fn done(worker: &Worker) -> PathBuf {
    worker.dir.join("done")
}

struct Supervisor<'a> {
    place: &'a Place,
    number: usize,
    seed: u64,
    done: PathBuf,
    /// As long as these go on, there are more tasks.
    outages: Option<Running>,
}

impl Supervisor<'_> {
    /// Starts the workers, makes the tasks, kills workers while there are tasks to do, and sees every task end once.
    /// How many were killed, and how many tasks ended in each state.
    async fn watch(&self, mut crowd: Crowd, processes: u32) -> (usize, BTreeMap<&'static str, u64>) {
        let mut judge = Recorder::create(&histories(self.place.dir.path()), 0);
        // Without a session, so that the keeper is one of those that are killed.
        let mut config = Config::new(self.place.dir.path(), self.place.dir.path().join("state"));
        config.redis_url.clone_from(&self.place.redis_url);
        config.backend = self.place.backend;
        if self.outages.is_some() {
            chaos::quick_config(&mut config);
        }
        let connection = Connection::open(config, Style::OneShot).await.unwrap();
        let store = connection.store().await.unwrap();
        for slot in 0..processes {
            crowd.start(slot);
        }
        let mut random = Random::new(self.seed);
        let mut log = Log::default();
        let (mut made, mut number) = (0, self.number);
        let mut next_kill = history::now();
        let mut moved = history::now();
        while log.ends.len() < number {
            if made < number {
                made += self.create(&connection, &mut random, number - made).await;
            }
            if log.follow(&store).await {
                moved = history::now();
            } else if made == number {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(since(moved) < STANDSTILL, "seed {}: {} tasks are left", self.seed, number - log.ends.len());
            if log.ends.len() + CHUNK / 2 > number && self.outages.as_ref().is_some_and(|outages| !outages.is_over()) {
                number += CHUNK;
            }
            if history::now() > next_kill {
                crowd.replace_one(&mut random, |process| {
                    judge.invoke(Call::End(process));
                });
                next_kill = history::now() + 50_000_000 + random.number() % 300_000_000;
            }
        }
        fs::write(&self.done, "").unwrap();
        let killed = crowd.wait();
        while log.follow(&store).await {}
        let finals = self.read_all(&store, &log, &mut judge).await;
        (killed, finals)
    }

    /// Makes some tasks of different kinds, at most so many.
    async fn create(&self, connection: &Connection, random: &mut Random, most: usize) -> usize {
        let task = |i| {
            let mut task = NewTask::titled(format!("task {i}"));
            task.priority = 1 + u8::try_from(random.below(5)).unwrap();
            // Some are tried again at once, some after a moment.
            let pause = if random.one_in(2) { 0 } else { 40 };
            task.backoff = Some(Backoff { first: pause, most: pause, jitter: 0 });
            task.tags = vec![TAGS[random.below(TAGS.len())].to_owned()];
            task
        };
        let tasks: Vec<NewTask> = (0..most.min(CHUNK)).map(task).collect();
        let number = tasks.len();
        let human = Actor::Human("ada".to_owned());
        connection.run(&human, CreateTasks::new(tasks)).await.unwrap();
        number
    }

    /// Reads every task: it is in the state in which the log has seen it end, and nobody has it.
    async fn read_all(&self, store: &Store, log: &Log, judge: &mut Recorder) -> BTreeMap<&'static str, u64> {
        let mut finals: BTreeMap<&'static str, u64> = BTreeMap::new();
        let keys: Vec<String> = log.ends.keys().cloned().collect();
        for keys in keys.chunks(CHUNK) {
            let asked: Vec<u64> = keys.iter().map(|key| judge.invoke(Call::Read(key.clone()))).collect();
            let records = store.engine().fetch(Table::Task, keys).await.unwrap();
            for ((key, asked), record) in keys.iter().zip(asked).zip(records) {
                let task: TaskRecord = decode(&record.unwrap(), "task").unwrap();
                judge.complete(asked, Outcome::Now(task.status));
                assert_eq!((&task.status, &task.session), (&log.ends[key], &None), "{key}");
                *finals.entry(task.status.word()).or_default() += 1;
            }
        }
        let (counts, _) = store.now().await.unwrap();
        assert_eq!((counts.pending, counts.claimed), (0, 0), "seed {}", self.seed);
        finals
    }
}

fn since(moment: u64) -> Duration {
    Duration::from_nanos(history::now() - moment)
}

/// The log of events, followed while it grows.
#[derive(Default)]
struct Log {
    read: Csn,
    /// The final state of each task that has one.
    ends: BTreeMap<String, TaskStatus>,
}

impl Log {
    /// Reads what is new. Whether there was anything.
    async fn follow(&mut self, store: &Store) -> bool {
        let events = store.events(self.read, CHUNK).await.unwrap();
        for event in &events {
            assert_eq!(event.csn.0, self.read.0 + 1, "an event is missing");
            self.read = event.csn;
            self.note(event);
        }
        !events.is_empty()
    }

    fn note(&mut self, event: &Event) {
        for image in event.images.iter().filter(|image| image.table == Table::Task) {
            let task: TaskRecord = decode(&image.record, "task").unwrap();
            if matches!(task.status, TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Dead) {
                let before = self.ends.insert(image.key.clone(), task.status);
                assert_eq!(before, None, "task {} has ended twice: {event:?}", image.key);
            } else {
                assert!(!self.ends.contains_key(&image.key), "task {} goes on after its end: {event:?}", image.key);
            }
        }
    }
}

async fn work(worker: Worker) {
    let session = worker.session().await;
    let done = done(&worker);
    let mut hand = Hand { random: worker.random(), recorder: worker.recorder(), session };
    while !done.exists() {
        hand.turn().await;
    }
    let ended = hand.recorder.invoke(Call::End(worker.process));
    hand.session.close().await.unwrap();
    hand.recorder.complete(ended, Outcome::Ended);
}

struct Hand {
    session: CoordinationClient,
    recorder: Recorder,
    random: Random,
}

impl Hand {
    /// Claims a task, and does something with it.
    async fn turn(&mut self) {
        let tags: Vec<&str> =
            if self.random.one_in(2) { Vec::new() } else { vec![TAGS[self.random.below(TAGS.len())]] };
        let leased = self.random.one_in(20);
        let mut claim = self.session.claim_task(tags).timeout(Duration::from_millis(200));
        if leased {
            claim = claim.lease(LEASE);
        }
        let asked = self.recorder.invoke(Call::Claim { leased });
        let mut claiming = claim.into_future();
        let claimed = if self.random.one_in(20) {
            let patience = Duration::from_micros(self.random.below(5_000) as u64);
            let Ok(claimed) = tokio::time::timeout(patience, &mut claiming).await else { return };
            claimed
        } else {
            claiming.await
        };
        let Some(task) = claimed.unwrap() else {
            return self.recorder.complete(asked, Outcome::Nothing);
        };
        let (key, token) = (task.id().to_owned(), task.token());
        self.recorder.complete(asked, Outcome::Claimed(key.clone(), token));
        if leased && self.random.one_in(2) {
            tokio::time::sleep(2 * LEASE).await;
        } else if self.random.one_in(4) {
            tokio::time::sleep(Duration::from_micros(self.random.below(2_000) as u64)).await;
        }
        let kind: fn(String, Token) -> Call = match self.random.below(100) {
            0..8 => |key, token| Call::Fail(key, token, true),
            8..10 => |key, token| Call::Fail(key, token, false),
            10..17 => Call::Release,
            _ => Call::Complete,
        };
        let call = kind(key, token);
        let asked = self.recorder.invoke(&call);
        let changed = match call {
            Call::Fail(_, _, retry) => task.fail("it did not work", retry).await,
            Call::Release(..) => task.release().await.map(|()| TaskStatus::Pending),
            _ => task.complete(None).await.map(|()| TaskStatus::Completed),
        };
        match changed {
            Ok(status) => self.recorder.complete(asked, Outcome::Now(status)),
            Err(Error::Stale { .. }) => self.recorder.complete(asked, Outcome::Stale),
            Err(error) => panic!("{error:?}"),
        }
    }
}
