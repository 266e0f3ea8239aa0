//! Processes that take tasks from one queue: whether each gets its share, and how long the longest wait is.

use std::time::{Duration, Instant};

use agentcoord::core::task::NewTask;

use crate::arguments::Arguments;
use crate::process::Process;
use crate::tasks::Caller;
use crate::{Outcome, place, sample};

/// More tasks a second than all of them together can do.
const ENOUGH: usize = 15_000;
/// How long a claim lasts.
const LEASE: Duration = Duration::from_secs(30);

/// `--processes` of them, for as many seconds a round as there are operations: who had fewest tasks over who had most, and
/// the longest that anybody waited for the answer to a call. `--pause` microseconds lie between two tasks of one process.
pub(crate) async fn of_tasks(arguments: &Arguments) -> Outcome<()> {
    let client = place::at(arguments, "only", "lead").await?;
    let (lead, store) = (Caller::from(&client), client.store().await?);
    let start = |number| Process::start(arguments, "sharer", &format!("process-{number}"));
    let mut all = (0..arguments.number("processes")?).map(start).collect::<Outcome<Vec<Process>>>()?;
    for process in &mut all {
        process.answer()?;
    }
    let wanted = if arguments.number("pause")? == 0 { ENOUGH * arguments.operations()? } else { ENOUGH };
    for round in 0..=arguments.rounds()? {
        let there = usize::try_from(store.now().await?.0.pending)?;
        lead.make((there..wanted).map(|n| NewTask::titled(format!("Add endpoint {n}")))).await?;
        for process in &mut all {
            process.order("go")?;
        }
        let (mut had, mut longest) = (Vec::new(), 0.0_f64);
        for process in &mut all {
            let answer = process.answer()?;
            let (tasks, wait) = answer.split_once(' ').ok_or_else(|| format!("a process says {answer}"))?;
            had.push(tasks.parse::<u32>()?);
            longest = longest.max(wait.parse()?);
        }
        let (fewest, most) = (had.iter().min().copied().unwrap_or(0), had.iter().max().copied().unwrap_or(0));
        if round > 0 {
            sample::say("slowest over fastest", "tasks", f64::from(fewest), Some(f64::from(most)));
            sample::say("longest wait", "ms", longest, None);
        }
    }
    Ok(client.close().await?)
}

/// One of them: at every word it works for its time, then says how many tasks it had, and its longest wait.
pub(crate) async fn one(arguments: &Arguments) -> Outcome<()> {
    let client = place::at(arguments, "only", arguments.text("name")?).await?;
    let (time, pause) = (Duration::from_secs(arguments.operations()? as u64), arguments.number("pause")? as u64);
    sample::answer("ready");
    while std::io::stdin().read_line(&mut String::new())? > 0 {
        let (end, mut tasks, mut longest) = (Instant::now() + time, 0_u32, Duration::ZERO);
        while Instant::now() < end {
            let begun = Instant::now();
            let task = client.claim_task([""; 0]).timeout(Duration::ZERO).lease(LEASE).await?;
            let task = task.ok_or("there are not enough tasks")?;
            let claimed = Instant::now();
            task.complete(None).await?;
            longest = longest.max(claimed - begun).max(claimed.elapsed());
            tasks += 1;
            if pause > 0 {
                tokio::time::sleep(Duration::from_micros(pause)).await;
            }
        }
        sample::answer(&format!("{tasks} {}", longest.as_secs_f64() * 1e3));
    }
    Ok(client.close().await?)
}
