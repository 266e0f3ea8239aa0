//! What the locks and waiters of others cost: each row compares a crowded workspace with an empty one, or with one
//! round trip, on the engine that `--engine` names.

use std::time::{Duration, Instant};

use agentcoord::core::agent::{Heartbeat, Tick};
use agentcoord::core::ids::Token;
use agentcoord::core::limits;
use agentcoord::core::lock::{Acquire, AcquireLock, LockPath, ReleaseLock};
use agentcoord::core::op::Actor;
use agentcoord::{Connection, CoordinationClient};

use crate::arguments::Arguments;
use crate::bare::Bare;
use crate::sample::{self, Sample, both_in_turn, timed};
use crate::{Outcome, place};

const FILE: &str = "src/main.rs";
/// Waiters at one path, where there are many of both.
const QUEUE: usize = 100;

fn path(text: &str) -> Outcome<LockPath> {
    Ok(LockPath::parse(text)?)
}

/// A session of one of the crowd, which need not say that it lives.
struct Agent<'a> {
    connection: &'a Connection,
    actor: Actor,
}

impl<'a> Agent<'a> {
    async fn one_more(client: &'a CoordinationClient) -> Outcome<Self> {
        let connection = client.connection();
        Ok(Self { connection, actor: place::register(connection).await? })
    }

    /// Asks for some paths, to wait as long as it takes. The answer comes at once.
    async fn ask(&self, paths: Vec<LockPath>) -> Outcome<Acquire> {
        Ok(self.connection.run(&self.actor, AcquireLock::new(paths)).await?)
    }

    async fn take(&self, paths: Vec<LockPath>) -> Outcome<Token> {
        match self.ask(paths).await? {
            Acquire::Granted(grant) => Ok(grant.token),
            other => Err(format!("no grant: {other:?}").into()),
        }
    }

    async fn queue(&self, file: &LockPath) -> Outcome<()> {
        match self.ask(vec![file.clone()]).await? {
            Acquire::Queued { .. } => Ok(()),
            other => Err(format!("it does not wait: {other:?}").into()),
        }
    }

    async fn release(&self, token: Token) -> Outcome<()> {
        self.connection.run(&self.actor, ReleaseLock { token, paths: Vec::new() }).await?;
        Ok(())
    }
}

/// Holds so many paths, 64 an agent.
async fn hold(client: &CoordinationClient, number: usize) -> Outcome<()> {
    for agent in 0..number.div_ceil(limits::PATHS) {
        let paths: Outcome<Vec<LockPath>> = (0..limits::PATHS).map(|i| path(&format!("held/{agent}/{i}.rs"))).collect();
        Agent::one_more(client).await?.take(paths?).await?;
    }
    Ok(())
}

/// Puts so many waiters into the queues of held paths.
async fn wait(client: &CoordinationClient, number: usize) -> Outcome<()> {
    for queue in 0..number.div_ceil(QUEUE) {
        let file = path(&format!("wanted/{queue}.rs"))?;
        Agent::one_more(client).await?.take(vec![file.clone()]).await?;
        for _ in 0..QUEUE {
            Agent::one_more(client).await?.queue(&file).await?;
        }
    }
    Ok(())
}

fn tell(ours: &mut Sample, limit: &mut Sample) {
    sample::say("p50", "us", ours.percentile(50), Some(limit.percentile(50)));
}

/// Acquire while `--records` other locks are held, over the empty store.
pub(crate) async fn acquire(arguments: &Arguments) -> Outcome<()> {
    let (crowded, empty) = (place::at(arguments, "crowded", "one").await?, place::at(arguments, "empty", "one").await?);
    hold(&crowded, arguments.number("records")?).await?;
    let (ours, limit) = (Agent::one_more(&crowded).await?, Agent::one_more(&empty).await?);
    let (ours, limit) = (async || acquired(&ours).await, async || acquired(&limit).await);
    both_in_turn(arguments.rounds()?, arguments.operations()?, ours, limit, tell).await
}

/// The time of an acquire; it is released without being timed.
async fn acquired(agent: &Agent<'_>) -> Outcome<Duration> {
    let begun = Instant::now();
    let token = agent.take(vec![path(FILE)?]).await?;
    let taken = begun.elapsed();
    agent.release(token).await?;
    Ok(taken)
}

/// Release while `--waiters` wait for other paths, over the empty store.
pub(crate) async fn release_beside_waiters(arguments: &Arguments) -> Outcome<()> {
    let (crowded, empty) = (place::at(arguments, "crowded", "one").await?, place::at(arguments, "empty", "one").await?);
    wait(&crowded, arguments.number("waiters")?).await?;
    let (ours, limit) = (Agent::one_more(&crowded).await?, Agent::one_more(&empty).await?);
    let released = async |agent: &Agent<'_>| {
        let token = agent.take(vec![path(FILE)?]).await?;
        timed(agent.release(token)).await
    };
    let (ours, limit) = (async || released(&ours).await, async || released(&limit).await);
    both_in_turn(arguments.rounds()?, arguments.operations()?, ours, limit, tell).await
}

/// The answer that a wait would be a deadlock, with `--waiters` in the queue of the circle, over one acquire.
pub(crate) async fn deadlock(arguments: &Arguments) -> Outcome<()> {
    let client = place::at(arguments, "only", "one").await?;
    let (mine, theirs) = (path("mine.rs")?, path("theirs.rs")?);
    let one = Agent::one_more(&client).await?;
    one.take(vec![mine.clone()]).await?;
    for waiter in 0..arguments.number("waiters")? {
        let agent = Agent::one_more(&client).await?;
        agent.take(vec![path(&format!("own/{waiter}.rs"))?]).await?;
        agent.queue(&mine).await?;
    }
    let last = Agent::one_more(&client).await?;
    last.take(vec![theirs.clone()]).await?;
    last.queue(&mine).await?;
    let ours = async || {
        let begun = Instant::now();
        let answer = one.ask(vec![theirs.clone()]).await?;
        let taken = begun.elapsed();
        match answer {
            Acquire::Deadlock { .. } => Ok(taken),
            other => Err(format!("no deadlock: {other:?}").into()),
        }
    };
    let other = Agent::one_more(&client).await?;
    let limit = async || acquired(&other).await;
    both_in_turn(arguments.rounds()?, arguments.operations()?, ours, limit, tell).await
}

/// A sign of life of a session that holds `--held` locks, over that of one that holds one.
pub(crate) async fn heartbeat(arguments: &Arguments) -> Outcome<()> {
    let (many, few) = (place::at(arguments, "crowded", "one").await?, place::at(arguments, "empty", "one").await?);
    let (many, few) = (Agent::one_more(&many).await?, Agent::one_more(&few).await?);
    for lock in 0..arguments.number("held")? {
        many.take(vec![path(&format!("held/{lock}.rs"))?]).await?;
    }
    few.take(vec![path(FILE)?]).await?;
    let beat = async |agent: &Agent<'_>| {
        timed(async { Ok(agent.connection.run(&agent.actor, Heartbeat { progress: false }).await?) }).await
    };
    let (ours, limit) = (async || beat(&many).await, async || beat(&few).await);
    both_in_turn(arguments.rounds()?, arguments.operations()?, ours, limit, tell).await
}

/// The longest time that Redis does nothing else while a subtree with `--waiters` below it is released, and its waiters
/// get their offers.
pub(crate) async fn subtree(arguments: &Arguments) -> Outcome<()> {
    let mut bare = Bare::connect(arguments).await?;
    for round in 0..arguments.rounds()?.min(SUBTREES) {
        let client = place::at(arguments, &format!("round-{round}"), "one").await?;
        let holder = Agent::one_more(&client).await?;
        let held = holder.take(vec![path("src/")?]).await?;
        let waiters = arguments.number("waiters")?;
        for waiter in 0..waiters {
            let file = path(&format!("src/{}/{waiter}.rs", waiter % QUEUE))?;
            Agent::one_more(&client).await?.queue(&file).await?;
        }
        bare.note_slow(0).await?;
        holder.release(held).await?;
        for _ in 0..waiters.div_ceil(limits::WORK_PER_STEP) {
            client.connection().run(&Actor::System, Tick { most: limits::WORK_PER_STEP as u64 }).await?;
        }
        let slowest = bare.slowest().await?;
        sample::say("longest command", "ms", f64::from(slowest) / 1e3, None);
    }
    Ok(())
}

/// Rounds of the row that fills a workspace in each.
const SUBTREES: usize = 3;
