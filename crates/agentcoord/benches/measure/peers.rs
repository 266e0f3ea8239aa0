//! Ours beside another queue, which is a program of its own: it makes its own tasks, and says how many a second it did.

use std::process::Command;

use agentcoord::core::task::NewTask;

use crate::arguments::Arguments;
use crate::fused::{one_after_another, shares};
use crate::process::Process;
use crate::tasks::{Caller, at_once};
use crate::{Outcome, place, sample};

/// Priorities that tasks have in turn, as they are with the peer.
const PRIORITIES: usize = 5;

/// A script of `--peers` that runs as many tasks as it is told.
struct Peer(Process);

impl Peer {
    fn start(arguments: &Arguments, script: &str, words: &[&str]) -> Outcome<Self> {
        let mut node = Command::new("node");
        node.arg(arguments.path("peers")?.join(script)).args(words);
        let mut process = Process::of(node)?;
        // It is ready when it has said so.
        process.answer()?;
        Ok(Self(process))
    }

    fn rate(&mut self, times: usize) -> Outcome<f64> {
        self.0.order(&times.to_string())?;
        Ok(self.0.answer()?.parse()?)
    }
}

fn tasks(number: usize) -> impl Iterator<Item = NewTask> {
    (0..number).map(|n| NewTask {
        priority: u8::try_from(1 + n % PRIORITIES).unwrap_or(1),
        ..NewTask::titled(format!("Add endpoint {n}"))
    })
}

/// On Redis, beside BullMQ: `--clients` at once while `--records` wait, with priorities and leases.
pub(crate) async fn bullmq(arguments: &Arguments) -> Outcome<()> {
    let (clients, times) = (arguments.number("clients")?, arguments.operations()?);
    let (waiting, url) = (arguments.text("records")?, arguments.text("redis")?);
    let mut peer = Peer::start(arguments, "bullmq.mjs", &[url, arguments.text("clients")?, waiting])?;
    let client = place::on_redis(arguments).await?;
    let queue = Caller::from(&client);
    queue.make(tasks(arguments.number("records")?)).await?;
    for round in 0..=arguments.rounds()? {
        queue.make(tasks(times.div_ceil(clients) * clients)).await?;
        let ours = shares(clients, times, |share| one_after_another(queue.clone(), share)).await?;
        let theirs = peer.rate(times)?;
        if round > 0 {
            sample::say_beside("rate", "/s", ours, theirs);
        }
    }
    Ok(client.close().await?)
}

/// On files, beside plainjob: `--clients` at once in one process, a claim and a completion each.
pub(crate) async fn plainjob(arguments: &Arguments) -> Outcome<()> {
    let (clients, times) = (arguments.number("clients")?, arguments.operations()?);
    let client = place::on_files(arguments).await?;
    let database = arguments.path("dir")?.join("plainjob.db");
    let database = database.to_str().ok_or("a path that is no text")?;
    let mut peer = Peer::start(arguments, "plainjob.mjs", &[database])?;
    let queue = Caller::from(&client);
    for round in 0..=arguments.rounds()? {
        queue.make(tasks(times.div_ceil(clients) * clients)).await?;
        let worker = queue.clone();
        let work = move || {
            let worker = worker.clone();
            async move { worker.claim_and_complete().await }
        };
        let ours = at_once(clients, times, work).await?;
        let theirs = peer.rate(times)?;
        if round > 0 {
            sample::say_beside("rate", "/s", ours, theirs);
        }
    }
    Ok(client.close().await?)
}
