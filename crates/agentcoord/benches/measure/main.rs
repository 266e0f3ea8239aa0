//! The measured program: does one part of the work that `cargo xtask bench` compares, ours and the limit in turn, and
//! prints what it saw as JSON lines. It judges nothing; goals and the table are the business of xtask.

mod arguments;
mod audit;
mod bare;
mod crowd;
mod fused;
mod handover;
mod idle;
mod locks;
mod mirrored;
mod outage;
mod peers;
mod place;
mod process;
mod queue;
mod raw;
mod sample;
mod share;
mod tasks;
mod verdict;

use std::error::Error;
use std::process::ExitCode;

use arguments::Arguments;

/// Any failure: a measurement that meets one is no measurement.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    // One thread, so that pinning to a core means the same for ours and for the limit.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match (runtime, Arguments::read()) {
        (Ok(runtime), Ok(arguments)) => runtime.block_on(measure(&arguments)),
        (Err(error), _) => Err(error.into()),
        (_, Err(error)) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            sample::fail(&*error);
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> Outcome<()> {
    match arguments.part.as_str() {
        "lock" => locks::uncontended(arguments).await,
        "calls" => locks::calls(arguments).await,
        "group" => tasks::group_commit(arguments).await,
        "claim" => tasks::claim_and_complete(arguments).await,
        "fused" => fused::over_bare(arguments).await,
        "raw-library" => raw::library(arguments).await,
        "raw-direct" => raw::direct(arguments).await,
        "bullmq" => peers::bullmq(arguments).await,
        "plainjob" => peers::plainjob(arguments).await,
        "append" => audit::sealed_append(arguments).await,
        "verify" => audit::verify(arguments).await,
        "handover-redis" => handover::on_redis(arguments).await,
        "handover-files" => handover::on_files(arguments).await,
        "crowded-acquire" => crowd::acquire(arguments).await,
        "crowded-release" => crowd::release_beside_waiters(arguments).await,
        "deadlock" => crowd::deadlock(arguments).await,
        "heartbeat" => crowd::heartbeat(arguments).await,
        "subtree" => crowd::subtree(arguments).await,
        "deep" => queue::deep(arguments).await,
        "behind-others" => queue::behind_others(arguments).await,
        "many-tags" => queue::many_tags(arguments).await,
        "idle-worker" => queue::to_idle_worker(arguments).await,
        "bulk" => queue::bulk(arguments).await,
        "weight" => queue::weight(arguments).await,
        "killed-worker" => process::killed_worker(arguments).await,
        "worker" => process::claim(arguments).await,
        "share" => share::of_tasks(arguments).await,
        "sharer" => share::one(arguments).await,
        "killed" => process::killed(arguments).await,
        "holder" => process::hold(arguments).await,
        "fairness" => process::fairness(arguments).await,
        "turns" => process::take_turns(arguments).await,
        "mirrored" => mirrored::one_client(arguments).await,
        "mirrored-half" => mirrored::half_loaded(arguments).await,
        "mirrored-saturated" => mirrored::saturated(arguments).await,
        "mirrored-processes" => mirrored::processes(arguments).await,
        "mirrored-process" => mirrored::process(arguments).await,
        "outage" => outage::seen_by_a_client(arguments).await,
        "there-and-back" => outage::there_and_back(arguments).await,
        "idle" => idle::cost(arguments).await,
        "idle-process" => idle::process(arguments).await,
        "verdict" => verdict::waited_for(arguments).await,
        other => Err(format!("no part {other}; run it by `cargo xtask bench`").into()),
    }
}
