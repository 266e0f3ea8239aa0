//! What the keeper costs while nobody does anything: three processes with one session each, side by side.

use std::time::Duration;

use agentcoord::core::engine::EngineKind;
use agentcoord_testkit::redis_server::RedisServer;
use rustix::time::{ClockId, clock_gettime};

use crate::arguments::Arguments;
use crate::process::Process;
use crate::{Outcome, place, sample};

/// How long nobody does anything, and how long everything may come to rest before.
const IDLE: Duration = Duration::from_secs(20);
const REST: Duration = Duration::from_secs(3);
/// It takes a while.
const ROUNDS: usize = 2;

/// Where each process sits, and what it is called in the table.
const PLACES: [(&str, &str); 3] =
    [("protected", "on Redis, protected"), ("degraded", "on files, Redis away"), ("alone", "on Redis alone")];

/// Percent of a core that each process uses.
pub(crate) async fn cost(arguments: &Arguments) -> Outcome<()> {
    let start = |(name, _): &(&str, &str)| Process::start(arguments, "idle-process", name);
    let mut processes = PLACES.iter().map(start).collect::<Outcome<Vec<Process>>>()?;
    for process in &mut processes {
        process.answer()?;
    }
    tokio::time::sleep(REST).await;
    for _ in 0..arguments.rounds()?.min(ROUNDS) {
        let mut before = Vec::new();
        for process in &mut processes {
            process.order("used?")?;
            before.push(process.answer()?.parse::<f64>()?);
        }
        tokio::time::sleep(IDLE).await;
        for ((process, before), (_, name)) in processes.iter_mut().zip(before).zip(PLACES) {
            process.order("used?")?;
            let used = process.answer()?.parse::<f64>()? - before;
            sample::say(name, "% of a core", used / IDLE.as_secs_f64() * 100.0, None);
        }
    }
    Ok(())
}

/// One of them: has a session, and says how many seconds of a core it has used when it is asked.
pub(crate) async fn process(arguments: &Arguments) -> Outcome<()> {
    let name = arguments.text("name")?;
    let mut away = RedisServer::start();
    away.kill9();
    let client = match name {
        "protected" => place::on(arguments, "auto", name, "idler").await?,
        "alone" => place::on(arguments, "redis", name, "idler").await?,
        _ => place::waiting_for(arguments, &away.url(), name).await?,
    };
    let serving = client.connection().opened().await?.serving.clone();
    if (serving.engine == EngineKind::Files, serving.protected) != (name == "degraded", name == "protected") {
        return Err(format!("it is not as it should be: {serving:?}").into());
    }
    sample::answer("ready");
    while sample::order()?.is_some() {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        sample::answer(&format!("{}.{:09}", used.tv_sec, used.tv_nsec));
    }
    Ok(client.close().await?)
}
