//! What a client sees when Redis goes and comes back: the longest it has to wait between two operations.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agentcoord::core::engine::EngineKind;
use agentcoord::core::waypoint;
use agentcoord::{Config, Connection, CoordinationClient, Style};
use agentcoord_testkit::redis_server::RedisServer;
use tokio::task::{JoinHandle, JoinSet};

use crate::arguments::Arguments;
use crate::{Outcome, mirrored, place, queue, sample};

const FILE: &str = "src/main.rs";
/// A client works for so long before and after something happens to it.
const BEFORE: Duration = Duration::from_millis(500);
const AFTER: Duration = Duration::from_secs(1);
/// Who creates many tasks at once.
const CREATORS: usize = 16;
/// Rounds of the row with many tasks.
const JOURNEYS: usize = 3;

/// A client in a tight loop, which writes down when each operation was completed.
struct Busy {
    enough: Arc<AtomicBool>,
    working: JoinHandle<Outcome<Vec<Instant>>>,
}

impl Busy {
    fn start(client: &Arc<CoordinationClient>) -> Self {
        let (client, enough) = (Arc::clone(client), Arc::new(AtomicBool::new(false)));
        let is_enough = Arc::clone(&enough);
        let working = tokio::spawn(async move {
            let mut completed = Vec::new();
            while !is_enough.load(Ordering::Relaxed) {
                let held = client.lock_file(FILE).await?;
                completed.push(Instant::now());
                held.release().await?;
                completed.push(Instant::now());
            }
            Ok(completed)
        });
        Self { enough, working }
    }

    /// Ends it. The longest time between two operations, in milliseconds: before something happened, and since.
    async fn longest(self, happened: Instant) -> Outcome<[f64; 2]> {
        self.enough.store(true, Ordering::Relaxed);
        let completed = self.working.await??;
        let mut longest = [Duration::ZERO; 2];
        for two in completed.windows(2) {
            let longest = &mut longest[usize::from(two[1] > happened)];
            *longest = (*longest).max(two[1] - two[0]);
        }
        Ok(longest.map(millis))
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Something that blocks, on a thread of its own. When it began, and how long it took.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Outcome<(T, Instant, Duration)> {
    let done = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        let result = work();
        (result, begun, begun.elapsed())
    });
    Ok(done.await?)
}

fn server(arguments: &Arguments) -> Outcome<RedisServer> {
    Ok(RedisServer::start_with(&RedisServer::binaries()[0], &["--appendonly", arguments.text("append-only")?]))
}

async fn expect(client: &CoordinationClient, engine: EngineKind) -> Outcome<()> {
    let serving = client.connection().opened().await?.serving.clone();
    if serving.engine == engine && serving.protected == (engine == EngineKind::Redis) {
        return Ok(());
    }
    Err(format!("it is not as it should be: {serving:?}").into())
}

/// Redis is killed, or with `--by stop` stopped in its tracks, while a client works: it goes on with files.
pub(crate) async fn seen_by_a_client(arguments: &Arguments) -> Outcome<()> {
    let is_killed = match arguments.text("by")? {
        "kill" => true,
        "stop" => false,
        other => return Err(format!("what is {other}?").into()),
    };
    for round in 0..=arguments.rounds()? {
        let mut server = server(arguments)?;
        let client = place::falling_back(arguments, &server.url(), &format!("round-{round}")).await?;
        expect(&client, EngineKind::Redis).await?;
        let window = client.connection().config().detection;
        let client = Arc::new(client);
        let busy = Busy::start(&client);
        tokio::time::sleep(BEFORE).await;
        let gone = move || {
            if is_killed {
                server.kill9();
            } else {
                server.pause();
            }
            server
        };
        let (server, happened, _) = apart(gone).await?;
        tokio::time::sleep(2 * window + AFTER).await;
        let [before, stall] = busy.longest(happened).await?;
        expect(&client, EngineKind::Files).await?;
        if round > 0 {
            sample::say("stall", "ms", stall, (!is_killed).then(|| millis(window)));
            sample::say("longest before", "ms", before, None);
        }
        Arc::into_inner(client).ok_or("somebody still works")?.close().await?;
        drop(server);
    }
    Ok(())
}

/// When places of the protocol were reached last.
static REACHED: Mutex<Vec<(&str, Instant)>> = Mutex::new(Vec::new());

fn reached() -> MutexGuard<'static, Vec<(&'static str, Instant)>> {
    REACHED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn at(place: &str) -> Outcome<Instant> {
    let last = reached().iter().rev().find(|(name, _)| *name == place).map(|(_, at)| *at);
    Ok(last.ok_or("a switch that went another way")?)
}

/// Milliseconds from one place to another one.
fn between(from: &str, to: &str) -> Outcome<f64> {
    Ok(millis(at(to)?.duration_since(at(from)?)))
}

/// The most memory that this process has used since it was asked last, in MiB, and as much as it uses now.
fn memory() -> Outcome<[f64; 2]> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mut sizes = [0.0; 2];
    for (size, name) in sizes.iter_mut().zip(["VmHWM:", "VmRSS:"]) {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no size of this process")?;
        *size = line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0;
    }
    // The highest mark begins anew.
    std::fs::write("/proc/self/clear_refs", "5")?;
    Ok(sizes)
}

/// With `--records` tasks in the store: back to Redis while a client works, then Redis is killed, and so on.
pub(crate) async fn there_and_back(arguments: &Arguments) -> Outcome<()> {
    waypoint::hook(|place| {
        if place.starts_with("take-over/") || place.starts_with("return/") {
            reached().push((place, Instant::now()));
        }
    });
    let mut server = server(arguments)?;
    server.kill9();
    let client = Arc::new(place::falling_back(arguments, &server.url(), "only").await?);
    let begun = Instant::now();
    create(&client, arguments.number("records")?).await?;
    sample::say("creating the tasks on files", "s", begun.elapsed().as_secs_f64(), None);
    for _ in 0..arguments.rounds()?.min(JOURNEYS) {
        server = apart(move || {
            server.restart();
            server
        })
        .await?
        .0;
        come_back(&client).await?;
        mirrored::drained(&client).await?;
        server = take_over(&client, server).await?;
    }
    Ok(Arc::into_inner(client).ok_or("somebody still works")?.close().await?)
}

async fn create(client: &Arc<CoordinationClient>, number: usize) -> Outcome<()> {
    let mut creating = JoinSet::new();
    for creator in 0..CREATORS {
        let client = Arc::clone(client);
        let tasks = (creator..number).step_by(CREATORS);
        creating.spawn(async move { queue::create(&client, tasks.map(|n| queue::task(n, "backend", 3))).await });
    }
    while let Some(done) = creating.join_next().await {
        done??;
    }
    Ok(())
}

async fn come_back(client: &Arc<CoordinationClient>) -> Outcome<()> {
    expect(client, EngineKind::Files).await?;
    let [_, before] = memory()?;
    let busy = Busy::start(client);
    tokio::time::sleep(BEFORE).await;
    let config = client.connection().config().clone();
    let (done, begun, taken) = apart(move || by_hand(config)).await?;
    done?;
    tokio::time::sleep(AFTER).await;
    let copied = at("return/copied")?;
    let [longest, stall] = busy.longest(copied).await?;
    expect(client, EngineKind::Redis).await?;
    let [peak, _] = memory()?;
    sample::say("return: stall", "ms", stall, None);
    sample::say("return: longest during the copy", "ms", longest, None);
    sample::say("return: bulk copy", "s", (copied - begun).as_secs_f64(), None);
    sample::say("return: until Redis serves", "s", (at("return/opened")? - begun).as_secs_f64(), None);
    // What Redis held before is removed after it serves.
    sample::say("return: until left-overs are removed", "s", taken.as_secs_f64(), None);
    sample::say("return: nobody is served", "ms", between("return/leaving", "return/opened")?, None);
    sample::say("return: memory before", "MiB", before, None);
    sample::say("return: peak memory", "MiB", peak, None);
    Ok(())
}

/// Moves the workspace back as the keeper would, but now. It has a connection and a runtime of its own, as the keeper has.
fn by_hand(config: Config) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let connection = Connection::open(config, Style::LongRunning).await?;
        connection.switch(EngineKind::Redis, "human:measurer").await?;
        Ok(())
    })
}

async fn take_over(client: &Arc<CoordinationClient>, mut server: RedisServer) -> Outcome<RedisServer> {
    let [_, before] = memory()?;
    let busy = Busy::start(client);
    tokio::time::sleep(BEFORE).await;
    let kill = move || {
        server.kill9();
        server
    };
    let (server, happened, taken) = apart(kill).await?;
    tokio::time::sleep(AFTER).await;
    let [_, stall] = busy.longest(happened).await?;
    expect(client, EngineKind::Files).await?;
    let [peak, _] = memory()?;
    sample::say("take-over: stall", "ms", stall, None);
    // A large one frees its memory before it closes its connections, and until then nobody can know.
    sample::say("take-over: until the killed Redis has ended", "ms", millis(taken), None);
    sample::say(
        "take-over: from the decision to files",
        "ms",
        between("take-over/preparing", "take-over/installed")?,
        None,
    );
    sample::say("take-over: memory before", "MiB", before, None);
    sample::say("take-over: peak memory", "MiB", peak, None);
    Ok(server)
}
