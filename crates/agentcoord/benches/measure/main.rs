//! The measured program: does one part of the work that `cargo xtask bench` compares, ours and the limit in turn, and
//! prints what it saw as JSON lines. It judges nothing; goals and the table are the business of xtask.

mod arguments;
mod bare;
mod locks;
mod place;
mod sample;
mod tasks;

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
        other => Err(format!("no part {other}; run it by `cargo xtask bench`").into()),
    }
}
