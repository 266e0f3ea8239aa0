//! Rows that need processes: this very program, started again.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use agentcoord::core::lock::{FileLocks, LockPath};
use agentcoord::core::task::NewTask;

use crate::arguments::Arguments;
use crate::sample::{self, Sample};
use crate::{Outcome, place};

const FILE: &str = "src/main.rs";
/// How long a holder of the hot path sleeps between reading the counter and writing it.
const WORK: Duration = Duration::from_millis(1);

/// A process that says one word a line. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    /// This program, with another part and the same arguments.
    pub(crate) fn start(arguments: &Arguments, part: &str, name: &str) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(part).args(["--name", name]).args(arguments.words());
        Self::of(command)
    }

    /// Another program.
    pub(crate) fn of(mut command: Command) -> Outcome<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take().ok_or("no way in")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no way out")?);
        Ok(Self { child, orders, answers })
    }

    /// Says one line to it.
    pub(crate) fn order(&mut self, word: &str) -> Outcome<()> {
        Ok(writeln!(self.orders, "{word}")?)
    }

    /// The next line that it says.
    pub(crate) fn answer(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err("a process has ended too early".into());
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// From kill -9 of a holder to the code of the one that waits.
pub(crate) async fn killed(arguments: &Arguments) -> Outcome<()> {
    let waiter = place::at(arguments, "only", "waiter").await?;
    let file = LockPath::parse(FILE)?;
    let store = waiter.store().await?;
    for round in 0..=arguments.rounds()? {
        let mut sample = Sample::default();
        for turn in 0..arguments.operations()? {
            let mut holder = Process::start(arguments, "holder", &format!("holder-{round}-{turn}"))?;
            holder.answer()?;
            let kill = async {
                while store.at(&file).await?.waiters.is_empty() {
                    tokio::task::yield_now().await;
                }
                let begun = Instant::now();
                holder.child.kill().map_err(|e| agentcoord::Error::unavailable(e.to_string()))?;
                Ok::<_, agentcoord::Error>(begun)
            };
            let wait = async {
                let lock = waiter.lock_file(FILE).await?;
                Ok((lock, Instant::now()))
            };
            let (begun, (lock, runs)) = tokio::try_join!(kill, wait)?;
            sample.add(runs - begun);
            lock.release().await?;
        }
        if round > 0 {
            sample::say("p50", "ms", sample.percentile(50) / 1e3, None);
            sample::say("p99", "ms", sample.percentile(99) / 1e3, None);
        }
    }
    Ok(waiter.close().await?)
}

/// From kill -9 of a worker to the code of the one that gets its task.
pub(crate) async fn killed_worker(arguments: &Arguments) -> Outcome<()> {
    let next = place::at(arguments, "only", "next").await?;
    let store = next.store().await?;
    for round in 0..=arguments.rounds()? {
        let mut sample = Sample::default();
        for turn in 0..arguments.operations()? {
            next.create_task(NewTask::titled("to be done")).await?;
            let mut worker = Process::start(arguments, "worker", &format!("worker-{round}-{turn}"))?;
            worker.answer()?;
            let kill = async {
                while store.now().await?.0.task_waiters == 0 {
                    tokio::task::yield_now().await;
                }
                let begun = Instant::now();
                worker.child.kill().map_err(|e| agentcoord::Error::unavailable(e.to_string()))?;
                Ok::<_, agentcoord::Error>(begun)
            };
            let wait = async {
                let task = next.claim_task([""; 0]).await?;
                Ok((task, Instant::now()))
            };
            let (begun, (task, runs)) = tokio::try_join!(kill, wait)?;
            sample.add(runs - begun);
            task.ok_or("no task")?.complete(None).await?;
        }
        if round > 0 {
            sample::say("p50", "ms", sample.percentile(50) / 1e3, None);
            sample::say("p99", "ms", sample.percentile(99) / 1e3, None);
        }
    }
    Ok(next.close().await?)
}

/// One that works on a task until it is killed.
pub(crate) async fn claim(arguments: &Arguments) -> Outcome<()> {
    let client = place::at(arguments, "only", arguments.text("name")?).await?;
    let _task = client.claim_task([""; 0]).await?.ok_or("no task")?;
    sample::answer("claimed");
    std::future::pending().await
}

/// One that holds the lock until it is killed.
pub(crate) async fn hold(arguments: &Arguments) -> Outcome<()> {
    let client = place::at(arguments, "only", arguments.text("name")?).await?;
    let _held = client.lock_file(FILE).await?;
    sample::answer("held");
    std::future::pending().await
}

/// `--processes` of them take turns at one path for as many seconds as there are operations: who had fewest turns over
/// who had most. A counter that is read, slept on and written must come out exact.
pub(crate) async fn fairness(arguments: &Arguments) -> Outcome<()> {
    std::fs::create_dir_all(arguments.path("dir")?)?;
    let counter = arguments.path("dir")?.join("counter");
    std::fs::write(&counter, "0")?;
    let start = |number| Process::start(arguments, "turns", &format!("process-{number}"));
    let mut all = (0..arguments.number("processes")?).map(start).collect::<Outcome<Vec<Process>>>()?;
    for process in &mut all {
        process.answer()?;
    }
    for process in &mut all {
        process.order("go")?;
    }
    let mut turns = Vec::new();
    for process in &mut all {
        turns.push(process.answer()?.parse::<u32>()?);
    }
    let (counted, had) = (std::fs::read_to_string(&counter)?, turns.iter().sum::<u32>());
    if counted != had.to_string() {
        return Err(format!("the counter says {counted} after {had} turns").into());
    }
    let (fewest, most) = (turns.iter().min().copied().unwrap_or(0), turns.iter().max().copied().unwrap_or(0));
    sample::say("fewest over most", "turns", f64::from(fewest), Some(f64::from(most)));
    Ok(())
}

/// One that takes turns and then says how many it had.
pub(crate) async fn take_turns(arguments: &Arguments) -> Outcome<()> {
    let client = place::at(arguments, "only", arguments.text("name")?).await?;
    let counter = arguments.path("dir")?.join("counter");
    sample::answer("ready");
    std::io::stdin().read_line(&mut String::new())?;
    let end = Instant::now() + Duration::from_secs(arguments.operations()? as u64);
    let mut turns = 0_u32;
    while Instant::now() < end {
        let lock = client.lock_file(FILE).await?;
        let number: u64 = std::fs::read_to_string(&counter)?.parse()?;
        tokio::time::sleep(WORK).await;
        std::fs::write(&counter, (number + 1).to_string())?;
        lock.release().await?;
        turns += 1;
    }
    sample::answer(&turns.to_string());
    Ok(client.close().await?)
}
