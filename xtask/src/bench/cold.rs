//! Cold starts: `agentcoord status` and a bare client of the same store, started in turn.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::conditions::Workshop;
use super::options::Options;
use super::rows::Against;
use super::table::Measured;
use crate::command;

/// Starts of each side in a round, usually.
const STARTS: usize = 60;

pub(super) fn status(
    against: Against,
    workshop: &Workshop,
    scratch: &Path,
    url: Option<&str>,
    options: &Options,
) -> Result<Vec<Measured>> {
    let work = scratch.join("worktree");
    std::fs::create_dir_all(&work)?;
    let mut ours = Command::new(workshop.agentcoord());
    ours.arg("--state-dir").arg(scratch.join("state")).current_dir(&work);
    let mut limit = match (against, url) {
        (Against::RedisCli, Some(url)) => {
            ours.args(["--backend", "redis", "--redis-url", url]);
            bare("redis-cli", &["-u", url, "ping"])?
        }
        (Against::Sqlite3, _) => {
            ours.args(["--backend", "files"]);
            let file = scratch.join("bare.db");
            let file = file.to_str().context("a path that is no text")?;
            command::run(bare("sqlite3", &[file, "create table t (n integer)"])?.stdout(Stdio::null()))?;
            bare("sqlite3", &[file, "select 1"])?
        }
        (Against::RedisCli, None) => bail!("there is no server"),
    };
    ours.arg("status");
    // The first one founds the workspace, and says what is wrong if it cannot.
    command::output(&mut ours)?;
    let starts = options.operations(STARTS);
    let mut measured = Vec::new();
    for round in 0..=options.rounds() {
        let (mut of_ours, mut of_limit) = (Vec::new(), Vec::new());
        for _ in 0..starts {
            of_ours.push(once(&mut ours)?);
            of_limit.push(once(&mut limit)?);
        }
        if round > 0 {
            measured.push(Measured::new("p50", "us", median(&mut of_ours), Some(median(&mut of_limit))));
        }
    }
    Ok(measured)
}

fn bare(program: &str, arguments: &[&str]) -> Result<Command> {
    if !command::installed(program) {
        bail!("{program} is not installed");
    }
    let mut bare = Command::new(program);
    bare.args(arguments);
    Ok(bare)
}

/// Microseconds from the start of a program to its end.
fn once(program: &mut Command) -> Result<f64> {
    let begun = Instant::now();
    let status = program.stdout(Stdio::null()).status()?;
    let taken = begun.elapsed();
    if !status.success() {
        bail!("a cold start ended with {status}");
    }
    Ok(taken.as_secs_f64() * 1e6)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
