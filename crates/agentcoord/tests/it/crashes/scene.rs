//! A workspace with a Redis of its own, a process that is to fall, one that goes on, and what must hold afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use agentcoord::core::lock::LockPath;
use agentcoord::core::task::{TaskFilter, TaskQueue};
use agentcoord::{Condition, Config, Connection, CoordinationClient, Style};
use agentcoord_testkit::history::locks::{Call, Outcome, check};
use agentcoord_testkit::history::{self, Recorder};
use agentcoord_testkit::redis_server::RedisServer;

use super::process::{End, Orders, PATIENCE, Process, histories, kept_by, let_all_go, name_redis, quick, stop_all};
use super::worker::{lock, release};
use crate::place::Place;

/// The numbers of the process that falls, of the test itself, and of the first that goes on.
const FALLS: u32 = 1;
const TEST: u32 = 2;
const GOES_ON: u32 = 3;

/// How often to look how the workspace stands.
const LOOK: Duration = Duration::from_millis(20);
/// Many rounds of work fit into it.
const MOMENT: Duration = Duration::from_millis(200);

pub(super) struct Scene {
    pub(super) server: RedisServer,
    pub(super) place: Place,
    pub(super) watch: Connection,
    pub(super) falls: Option<Process>,
    pub(super) goes_on: Option<Process>,
    /// Those that went on before, and were killed.
    gone: Vec<Process>,
    session: Option<CoordinationClient>,
    recorder: Recorder,
}

/// A connection that only looks.
fn watch(place: &Place) -> Connection {
    let mut config = Config::new(place.dir.path(), place.dir.path().join("state"));
    config.redis_url.clone_from(&place.redis_url);
    Connection::unopened(config, Style::OneShot).unwrap()
}

impl Scene {
    /// Redis keeps its data over a restart, or not.
    pub(super) fn new(keeps_data: bool) -> Self {
        let kept = if keeps_data { "yes" } else { "no" };
        let server = RedisServer::start_with(&RedisServer::binaries()[0], &["--appendonly", kept]);
        let place = Place::on(&server.url());
        fs::create_dir_all(histories(place.dir.path())).unwrap();
        let (watch, recorder) = (watch(&place), Recorder::create(&histories(place.dir.path()), TEST));
        let (falls, goes_on, gone) = (None, None, Vec::new());
        let scene = Self { server, place, watch, falls, goes_on, gone, session: None, recorder };
        name_redis(scene.place.dir.path(), scene.server.pid());
        scene
    }

    fn orders(&self, process: u32) -> Orders {
        Orders::new(process, self.place.dir.path(), self.place.redis_url.as_ref().unwrap())
    }

    /// Starts the process that is to fall.
    pub(super) fn start_falling(&mut self, end: End, moves_by_hand: bool) {
        let orders = Orders { end: Some(end), moves_by_hand, ..self.orders(FALLS) };
        self.falls = Some(orders.start());
    }

    /// Starts the one that goes on.
    pub(super) fn start_other(&mut self) {
        let number = GOES_ON + u32::try_from(self.gone.len()).unwrap();
        self.goes_on = Some(self.orders(number).start());
    }

    /// Somebody has worked here; everything is in Redis, and this host has lost its files with everything that was decided.
    pub(super) async fn that_has_lost_its_files() -> Self {
        let mut scene = Self::new(false);
        scene.start_other();
        scene.go();
        scene.other().has_done(5).await;
        let mut dies = scene.goes_on.take().unwrap();
        scene.recorder.invoke(Call::End { process: GOES_ON });
        dies.is_killed().await;
        scene.gone.push(dies);
        let state = scene.place.dir.path().join("state");
        fs::remove_dir_all(state.join("namespaces").join(scene.watch.namespace())).unwrap();
        scene.watch = watch(&scene.place);
        scene
    }

    pub(super) fn go(&self) {
        let_all_go(self.place.dir.path());
    }

    pub(super) fn falling(&mut self) -> &mut Process {
        self.falls.as_mut().unwrap()
    }

    pub(super) fn other(&mut self) -> &mut Process {
        self.goes_on.as_mut().unwrap()
    }

    /// Both work. The first one is the keeper.
    pub(super) async fn both_work(&mut self, end: End, falls_first: bool, moves_by_hand: bool) {
        if falls_first {
            self.start_falling(end, moves_by_hand);
            self.falling().ready().await;
            self.start_other();
            self.other().ready().await;
        } else {
            self.start_other();
            self.other().ready().await;
            // One that counts from its start may never become ready.
            let counts_from_start = end.after.is_empty();
            self.start_falling(end, moves_by_hand);
            if !counts_from_start {
                self.falling().ready().await;
            }
        }
        self.go();
    }

    pub(super) async fn condition(&self) -> Condition {
        self.watch.condition().await.unwrap().expect("an engine was chosen")
    }

    /// Waits until an engine serves.
    pub(super) async fn served_by(&self, engine: &str) {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let now = self.watch.condition().await.unwrap();
            if now.as_ref().is_some_and(|now| now.engine == engine && now.phase == "serving") {
                return;
            }
            assert!(Instant::now() < give_up, "{engine} did not come to serve: {now:?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Redis is killed, and files serve.
    pub(super) async fn redis_goes(&mut self) {
        self.server.kill9();
        self.served_by("files").await;
    }

    /// Redis is there again, with or without its data.
    pub(super) fn redis_comes(&mut self) {
        self.server.restart();
        name_redis(self.place.dir.path(), self.server.pid());
    }

    /// Others get on, what was acknowledged is there, what the fallen process held is free if it is dead.
    pub(super) async fn all_is_well(&mut self, is_dead: bool) {
        self.other().gets_on().await;
        if self.session.is_none() {
            self.session = Some(quick(self.place.session("the test")).await.unwrap());
        }
        if is_dead {
            let session = self.session.as_ref().unwrap();
            for path in [kept_by(FALLS), LockPath::parse("shared/x").unwrap()] {
                let held = lock(session, &mut self.recorder, path.clone()).await;
                release(&mut self.recorder, held, path).await;
            }
        }
        self.tasks_are_there().await;
    }

    /// While the one that is stopped holds the lock of the mode, nothing is acknowledged to the other one.
    pub(super) async fn nobody_is_served(&mut self) {
        // What was answered before has been written down by then.
        tokio::time::sleep(MOMENT).await;
        let before = self.other().tasks().1;
        tokio::time::sleep(MOMENT).await;
        assert_eq!(self.other().tasks().1, before);
    }

    async fn tasks_are_there(&mut self) {
        let told = |scene: &Self| {
            let all = scene.gone.iter().chain(&scene.falls).chain(&scene.goes_on).map(Process::tasks);
            all.fold((Vec::new(), Vec::new()), |(mut asked, mut acknowledged), (a, b)| {
                asked.extend(a);
                acknowledged.extend(b);
                (asked, acknowledged)
            })
        };
        let acknowledged = told(self).1;
        let found = self.titles().await;
        let asked = told(self).0;
        for title in &acknowledged {
            assert_eq!(found.get(title), Some(&1), "`{title}` was acknowledged");
        }
        for (title, times) in &found {
            assert!(asked.contains(title) && *times == 1, "`{title}` is there {times} times");
        }
    }

    /// The titles of all tasks, and how often each is there.
    async fn titles(&self) -> BTreeMap<String, usize> {
        let store = self.session.as_ref().unwrap().store().await.unwrap();
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        let mut cursor = None;
        loop {
            let filter = TaskFilter { limit: 100, cursor, ..TaskFilter::default() };
            let page = TaskQueue::list(&store, &filter).await.unwrap();
            // A task may move between two pages.
            found.extend(page.items.into_iter().map(|task| (task.key, task.title)));
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        found.into_values().fold(BTreeMap::new(), |mut counts, title| {
            *counts.entry(title).or_default() += 1;
            counts
        })
    }

    /// Redis serves and may be lost: it is, with all its data if it keeps none, and comes back.
    pub(super) async fn an_outage_later(&mut self, is_dead: bool) {
        self.served_by("redis").await;
        self.protected().await;
        self.redis_goes().await;
        self.all_is_well(is_dead).await;
        self.redis_comes();
        self.served_by("redis").await;
        self.all_is_well(is_dead).await;
    }

    async fn protected(&self) {
        let give_up = Instant::now() + PATIENCE;
        while !self.condition().await.protected {
            assert!(Instant::now() < give_up, "the files do not hold everything");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// All end well, and the locks have never had two holders.
    pub(super) async fn ends(mut self, is_dead: bool) {
        stop_all(self.place.dir.path());
        assert!(self.other().ended().await.success());
        if !is_dead {
            assert!(self.falling().ended().await.success());
        }
        self.tasks_are_there().await;
        let session = self.session.take().unwrap();
        let ended = self.recorder.invoke(Call::End { process: TEST });
        session.close().await.unwrap();
        self.recorder.complete(ended, Outcome::Ended);
        let judged = check(&history::read(&histories(self.place.dir.path())));
        judged.unwrap_or_else(|what| panic!("{what}"));
    }
}
