//! What it costs that Redis may be lost: a workspace whose every answer is written down on this host and brought into the
//! files, over one that works on Redis alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agentcoord::CoordinationClient;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::arguments::Arguments;
use crate::process::Process;
use crate::sample::{self, SLICES, Sample, timed};
use crate::{Outcome, place};

/// Clients at once, each with a file of its own.
const CLIENTS: usize = 64;
/// How often the two change places where each place needs a while to be full.
const LONG_SLICES: usize = 4;
/// Between two looks at the replica.
const LOOK: Duration = Duration::from_millis(5);
/// A replica that has not caught up by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// One workspace that is protected, and one that is not, on the same Redis.
struct Pair {
    ours: Arc<CoordinationClient>,
    limit: Arc<CoordinationClient>,
}

impl Pair {
    async fn open(arguments: &Arguments) -> Outcome<Self> {
        let (ours, limit) = (side(arguments, true, "measurer").await?, side(arguments, false, "measurer").await?);
        Ok(Self { ours: Arc::new(ours), limit: Arc::new(limit) })
    }

    async fn close(self) -> Outcome<()> {
        for client in [self.ours, self.limit] {
            Arc::into_inner(client).ok_or("somebody still works")?.close().await?;
        }
        Ok(())
    }
}

async fn side(arguments: &Arguments, protected: bool, agent: &str) -> Outcome<CoordinationClient> {
    let (engine, workspace) = if protected { ("auto", "protected") } else { ("redis", "alone") };
    let client = place::on(arguments, engine, workspace, agent).await?;
    let serving = client.connection().opened().await?.serving.clone();
    if serving.protected != protected {
        return Err(format!("it is not as it should be: {serving:?}").into());
    }
    Ok(client)
}

async fn lock(client: &CoordinationClient, number: usize) -> Outcome<()> {
    Ok(client.lock_file(format!("src/{number}.rs")).await?.release().await?)
}

/// Changes that are not in the files yet.
async fn lag(client: &CoordinationClient) -> Outcome<u64> {
    let condition = client.connection().condition().await?.ok_or("no engine was chosen")?;
    let (known, replica) = condition.replica.ok_or("files serve")?;
    Ok(known.0.saturating_sub(replica.0))
}

/// Waits until everything is in the files, so that bringing it there does not cost the other side's turn.
pub(crate) async fn drained(client: &CoordinationClient) -> Outcome<Duration> {
    let begun = Instant::now();
    while lag(client).await? > 0 {
        if begun.elapsed() > PATIENCE {
            return Err("the replica does not catch up".into());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(begun.elapsed())
}

/// Lock and release, one client.
pub(crate) async fn one_client(arguments: &Arguments) -> Outcome<()> {
    let pair = Pair::open(arguments).await?;
    let share = arguments.operations()?.div_ceil(SLICES);
    for round in 0..=arguments.rounds()? {
        let (mut of_ours, mut of_limit) = (Sample::default(), Sample::default());
        for _ in 0..SLICES {
            for _ in 0..share {
                of_ours.add(timed(lock(&pair.ours, 0)).await?);
            }
            drained(&pair.ours).await?;
            for _ in 0..share {
                of_limit.add(timed(lock(&pair.limit, 0)).await?);
            }
        }
        if round > 0 {
            sample::say("p50", "us", of_ours.percentile(50), Some(of_limit.percentile(50)));
            sample::say("p99", "us", of_ours.percentile(99), Some(of_limit.percentile(99)));
        }
    }
    pair.close().await
}

/// Operations of so many clients, each with files of its own, as fast as they can.
async fn work(client: &Arc<CoordinationClient>, first: usize, clients: usize, operations: usize) -> Outcome<()> {
    let mut working = JoinSet::new();
    for number in first..first + clients {
        let client = Arc::clone(client);
        working.spawn(async move {
            for _ in 0..operations.div_ceil(clients) {
                lock(&client, number).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(done) = working.join_next().await {
        done??;
    }
    Ok(())
}

/// How many a second [`CLIENTS`] manage.
async fn as_many(client: &Arc<CoordinationClient>, operations: usize) -> Outcome<f64> {
    Ok(sample::rate(operations, timed(work(client, 0, CLIENTS, operations)).await?))
}

/// Lock and release by as many clients as saturate it, and what the replica lags then.
pub(crate) async fn saturated(arguments: &Arguments) -> Outcome<()> {
    let pair = Pair::open(arguments).await?;
    let operations = arguments.operations()?;
    for round in 0..=arguments.rounds()? {
        let begun = Instant::now();
        let ours = as_many(&pair.ours, operations).await?;
        let lag = lag(&pair.ours).await?;
        let draining = drained(&pair.ours).await?;
        let all = sample::rate(operations, begun.elapsed());
        let limit = as_many(&pair.limit, operations).await?;
        if round > 0 {
            sample::say("rate", "/s", ours, Some(limit));
            sample::say("rate until the files have it", "/s", all, Some(limit));
            sample::say("lag then", "changes", f64::from(u32::try_from(lag)?), None);
            sample::say("lag ends after", "s", draining.as_secs_f64(), None);
        }
    }
    pair.close().await
}

/// Lock and release at half of the rate that saturates Redis alone, the same rate on both.
pub(crate) async fn half_loaded(arguments: &Arguments) -> Outcome<()> {
    let pair = Pair::open(arguments).await?;
    let operations = arguments.operations()?;
    as_many(&pair.ours, operations).await?;
    drained(&pair.ours).await?;
    // The best of some: what disturbs a measurement makes it slower.
    let mut rate = 0.0_f64;
    for _ in 0..LONG_SLICES {
        rate = rate.max(as_many(&pair.limit, operations.div_ceil(LONG_SLICES)).await? / 2.0);
    }
    for round in 0..=arguments.rounds()? {
        let (mut of_ours, mut of_limit) = (Sample::default(), Sample::default());
        for _ in 0..LONG_SLICES {
            offered(&pair.ours, rate, operations.div_ceil(LONG_SLICES), &mut of_ours).await?;
            drained(&pair.ours).await?;
            offered(&pair.limit, rate, operations.div_ceil(LONG_SLICES), &mut of_limit).await?;
        }
        if round > 0 {
            sample::say("p50", "us", of_ours.percentile(50), Some(of_limit.percentile(50)));
            sample::say("p99", "us", of_ours.percentile(99), Some(of_limit.percentile(99)));
            sample::say("offered", "/s", rate, None);
        }
    }
    pair.close().await
}

/// Offers so many operations a second to [`CLIENTS`]; each takes from when it was due, also while all were busy.
async fn offered(client: &Arc<CoordinationClient>, rate: f64, operations: usize, sample: &mut Sample) -> Outcome<()> {
    let (due, waiting) = mpsc::unbounded_channel::<Instant>();
    let waiting = Arc::new(Mutex::new(waiting));
    let mut working = JoinSet::new();
    for number in 0..CLIENTS {
        let (client, waiting) = (Arc::clone(client), Arc::clone(&waiting));
        working.spawn(async move {
            let mut taken = Vec::new();
            loop {
                let next = waiting.lock().await.recv().await;
                let Some(due) = next else { return Outcome::Ok(taken) };
                lock(&client, number).await?;
                taken.push(due.elapsed());
            }
        });
    }
    // On a thread, because tokio's timers ring once a millisecond at most.
    let every = Duration::from_secs_f64(1.0 / rate);
    let clock = std::thread::spawn(move || {
        let mut next = Instant::now();
        for _ in 0..operations {
            next += every;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            if due.send(next).is_err() {
                // The work has failed, which says so itself.
                return;
            }
        }
    });
    while let Some(done) = working.join_next().await {
        done??.into_iter().for_each(|taken| sample.add(taken));
    }
    clock.join().map_err(|_| "the clock has stopped".into())
}

/// Lock and release by `--processes` processes, which share the clients.
pub(crate) async fn processes(arguments: &Arguments) -> Outcome<()> {
    let number = arguments.number("processes")?;
    let operations = arguments.operations()?.div_ceil(number);
    let watcher = side(arguments, true, "watcher").await?;
    let start = |name: &str| {
        let mut all = Vec::new();
        for at in 0..number {
            let mut process = Process::start(arguments, "mirrored-process", &format!("{name}-{at}"))?;
            process.answer()?;
            all.push(process);
        }
        Outcome::Ok(all)
    };
    let (mut ours, mut limit) = (start("protected")?, start("alone")?);
    let run = |all: &mut [Process]| {
        let begun = Instant::now();
        for process in &mut *all {
            process.order(&operations.to_string())?;
        }
        for process in &mut *all {
            process.answer()?;
        }
        Outcome::Ok(sample::rate(operations * number, begun.elapsed()))
    };
    for round in 0..=arguments.rounds()? {
        let of_ours = run(&mut ours)?;
        let lag = lag(&watcher).await?;
        let draining = drained(&watcher).await?;
        let of_limit = run(&mut limit)?;
        if round > 0 {
            sample::say("rate", "/s", of_ours, Some(of_limit));
            sample::say("lag then", "changes", f64::from(u32::try_from(lag)?), None);
            sample::say("lag ends after", "s", draining.as_secs_f64(), None);
        }
    }
    Ok(watcher.close().await?)
}

/// One of them: does so many operations as it is told, until nobody tells it any more.
pub(crate) async fn process(arguments: &Arguments) -> Outcome<()> {
    let name = arguments.text("name")?;
    let (kind, number) = name.split_once('-').ok_or("a name without a number")?;
    let client = Arc::new(side(arguments, kind == "protected", name).await?);
    let clients = CLIENTS / arguments.number("processes")?;
    let first = number.parse::<usize>()? * clients;
    sample::answer("ready");
    while let Some(order) = sample::order()? {
        work(&client, first, clients, order.parse()?).await?;
        sample::answer("done");
    }
    Ok(())
}
