//! `bench`: how far the engines are from what the stores below them can do, as one table of ratios.
//!
//! What is measured lives in `crates/agentcoord/benches/measure`, since this crate depends on none of the workspace;
//! here are the conditions, the goals and the table. A row is ours and the limit in turn on one machine: the ratio is
//! worth telling, the times are not. A row that falls short of its goal stays in the table and fails nothing.

mod cold;
mod conditions;
mod options;
mod peers;
mod rows;
mod table;

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::{command, report};
use conditions::{Machine, Pin, Server, Workshop};
use options::Options;
use rows::{How, Row};
use table::{Line, Measured};

const PAGE: &str = "docs/performance.md";

pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let options = Options::read(arguments)?;
    let rows: Vec<Row> = rows::all().into_iter().filter(|row| options.wants(row.part)).collect();
    if rows.is_empty() {
        bail!("no rows of this part; there are {}", rows::parts().join(", "));
    }
    let workshop = Workshop::build(&rows)?;
    let machine = Machine::look(&options)?;
    let mut lines = Vec::new();
    for row in &rows {
        report::stage(&row.title());
        let measured = match row.peer {
            "" => measure(row, &workshop, &options),
            _ if options.peers => measure(row, &workshop, &options),
            _ => Err(anyhow!("peers were not asked for (--peers)")),
        };
        match measured {
            Ok(measured) => lines.push(Line::of(row, &measured)),
            Err(error) => lines.push(Line::skipped(row, &error)),
        }
    }
    if options.json {
        report::line(&serde_json::to_string_pretty(&table::json(&machine, &lines))?);
    } else {
        report::line(&table::text(&machine, &lines));
    }
    if options.write_docs {
        fs::write(command::root().join(PAGE), table::page(&machine, &lines))?;
        report::note(&format!("{PAGE} is written"));
    }
    Ok(())
}

/// Measures one row under its conditions, in a directory that goes with it.
fn measure(row: &Row, workshop: &Workshop, options: &Options) -> Result<Vec<Measured>> {
    if row.pin != Pin::None && !conditions::can_pin() {
        bail!("pinning needs taskset and two cores");
    }
    let scratch = workshop.scratch(row.name)?;
    let server = if row.redis { Some(Server::start(&scratch, row.pin, options.append_only)?) } else { None };
    let url = server.as_ref().map(Server::url);
    match row.how {
        How::Program(arguments, operations) => {
            let mut program = row.pin.client(workshop.measure());
            program.args(arguments).arg("--dir").arg(scratch.join("workspace"));
            program.args(["--rounds", &options.rounds().to_string()]);
            program.args(["--operations", &options.operations(operations).to_string()]);
            program.args(["--records", &options.records().to_string()]);
            program.args(["--append-only", if options.append_only { "yes" } else { "no" }]);
            program.arg("--limits").arg(command::root().join("xtask/bench/limits"));
            if !row.peer.is_empty() {
                program.arg("--peers").arg(peers::installed()?);
            }
            if let Some(url) = &url {
                program.args(["--redis", url]);
            }
            lines_of(&mut program)
        }
        How::Cold(against) => cold::status(against, workshop, &scratch, url.as_deref(), options),
    }
}

/// What a measured program prints: a JSON object a line, one measure of one round each.
fn lines_of(program: &mut Command) -> Result<Vec<Measured>> {
    let output = command::output(program)?;
    let read = |line: &str| Measured::of(&serde_json::from_str(line).ok()?);
    output.lines().map(|line| read(line).with_context(|| format!("no measure: {line}"))).collect()
}
