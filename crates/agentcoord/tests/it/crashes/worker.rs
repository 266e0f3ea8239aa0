//! What a process does that [`Orders::start`] has started: it works, and falls where it is to.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use agentcoord::core::engine::EngineKind;
use agentcoord::core::lock::{LockMode, LockPath};
use agentcoord::core::task::NewTask;
use agentcoord::core::waypoint;
use agentcoord::{CoordinationClient, FileLock};
use agentcoord_testkit::history::Recorder;
use agentcoord_testkit::history::locks::{Call, Outcome};
use rustix::process::{Pid, Signal, getpid, kill_process};

use super::process::{
    End, Fall, GOES_ON, ORDERS, Orders, PATIENCE, READY, REST, RESTS, file, histories, kept_by, quick,
};

/// The pause between two rounds of work, as of an agent that thinks.
const PAUSE: Duration = Duration::from_millis(20);
/// Histories of processes and of their ends: numbers must be new.
const ENDS: u32 = 1_000;

/// What the hook of this process knows.
struct Watch {
    orders: Orders,
    end: End,
    counts: AtomicBool,
    count: AtomicU32,
}

static WATCH: OnceLock<Watch> = OnceLock::new();

fn reached(place: &'static str) {
    let Some(Watch { orders, end, counts, count }) = WATCH.get() else { return };
    if place == end.after && !counts.load(Ordering::SeqCst) {
        if end.kills_redis {
            let pid = fs::read_to_string(orders.dir.join("redis.pid")).unwrap().parse().unwrap();
            kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        }
        counts.store(true, Ordering::SeqCst);
        return;
    }
    if place != end.place || !counts.load(Ordering::SeqCst) || count.fetch_add(1, Ordering::SeqCst) + 1 != end.nth {
        return;
    }
    fs::write(file(orders, "reached"), place).unwrap();
    if end.fall != Fall::Killed {
        if end.fall == Fall::Stopped {
            kill_process(getpid(), Signal::STOP).unwrap();
        }
        // The signal may stop another thread first; this one goes no further.
        while !file(orders, GOES_ON).exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        return;
    }
    Recorder::create(&histories(&orders.dir), ENDS + orders.process).invoke(Call::End { process: orders.process });
    kill_process(getpid(), Signal::KILL).unwrap();
}

/// By itself nothing to do; started by [`Orders::start`], it does as it is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn works_as_it_is_told() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let orders: Orders = serde_json::from_str(&orders).unwrap();
    if let Some(end) = orders.end.clone() {
        let counts = AtomicBool::new(end.after.is_empty());
        assert!(WATCH.set(Watch { orders: orders.clone(), end, counts, count: AtomicU32::new(0) }).is_ok());
        waypoint::hook(reached);
    }
    let diary = OpenOptions::new().create(true).append(true).open(file(&orders, "diary")).unwrap();
    let recorder = Recorder::create(&histories(&orders.dir), orders.process);
    let session = CoordinationClient::session("Engineer", format!("process-{}", orders.process));
    let session = session.dir(&orders.dir).state_dir(orders.dir.join("state")).redis_url(&orders.redis_url);
    let session = quick(session).await.unwrap();
    fs::write(file(&orders, "client"), session.connection().client().as_str()).unwrap();
    Worker { orders, session, diary, recorder }.work().await;
}

struct Worker {
    orders: Orders,
    session: CoordinationClient,
    diary: File,
    recorder: Recorder,
}

impl Worker {
    async fn work(mut self) {
        let number = self.orders.process;
        let kept = self.lock(kept_by(number)).await;
        let tag = format!("of-{number}");
        self.create(NewTask { tags: vec![tag.clone()], ..NewTask::titled(format!("claimed by {number}")) }).await;
        let claimed = self.session.claim_task([tag]).await.unwrap().unwrap();
        fs::write(file(&self.orders, READY), "").unwrap();
        while !self.orders.dir.join("go").exists() {
            tokio::time::sleep(PAUSE).await;
        }
        reached(READY);
        if self.orders.moves_by_hand {
            self.session.connection().switch(EngineKind::Files, "human:eve").await.unwrap();
        }
        if let Some(title) = self.orders.only.clone() {
            self.create(NewTask::titled(title)).await;
        }
        let mut pace = tokio::time::interval(PAUSE);
        for round in 0.. {
            if self.orders.dir.join("stop").exists() {
                break;
            }
            self.rest().await;
            self.create(NewTask::titled(format!("task {round} of {number}"))).await;
            let shared = self.lock(LockPath::parse("shared/x").unwrap()).await;
            self.release(shared, "shared/x").await;
            pace.tick().await;
        }
        claimed.complete(None).await.unwrap();
        self.release(kept, kept_by(number).as_str()).await;
        self.session.close().await.unwrap();
    }

    /// Holds nothing and asks for nothing for as long as it is told to.
    async fn rest(&self) {
        while file(&self.orders, REST).exists() {
            fs::write(file(&self.orders, RESTS), "").unwrap();
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn create(&mut self, task: NewTask) {
        let title = task.title.clone();
        self.diary.write_all(format!("asked {title}\n").as_bytes()).unwrap();
        self.session.create_task(task).await.unwrap();
        self.diary.write_all(format!("acknowledged {title}\n").as_bytes()).unwrap();
    }

    async fn lock(&mut self, path: LockPath) -> FileLock {
        lock(&self.session, &mut self.recorder, path).await
    }

    async fn release(&mut self, held: FileLock, path: &str) {
        release(&mut self.recorder, held, LockPath::parse(path).unwrap()).await;
    }
}

pub(super) async fn lock(session: &CoordinationClient, recorder: &mut Recorder, path: LockPath) -> FileLock {
    let call = Call::Acquire { paths: vec![path.clone()], mode: LockMode::Exclusive, lane: String::new() };
    let asked = recorder.invoke(call);
    let held = session.lock_file(path.as_str()).timeout(PATIENCE).await.unwrap();
    recorder.complete(asked, Outcome::Granted(held.token()));
    held
}

pub(super) async fn release(recorder: &mut Recorder, held: FileLock, path: LockPath) {
    let asked = recorder.invoke(Call::Release { paths: vec![path], token: held.token() });
    held.release().await.unwrap();
    recorder.complete(asked, Outcome::Released);
}
