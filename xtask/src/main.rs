//! The project's own automation: `cargo xtask COMMAND`. One file a command; this file only picks one.
//!
//! It depends on no crate of the workspace, so that it runs when they do not compile.

mod bench;
mod ci;
mod command;
mod docs;
mod lua;
mod report;
mod servers;
mod setup;
mod soak;
mod test;
mod tidy;
mod verbs;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
cargo xtask ci [--setup]               format, clippy, docs, tests, tidy, Lua; --setup installs what is missing first
cargo xtask setup                      installs redis-server (system packages), rustfmt and clippy where missing
cargo xtask test [--setup] [ARG...]    the tests of the workspace; ARGs go to cargo test
cargo xtask tidy                       the house rules
cargo xtask lua                        syntax of the Lua scripts, where luac5.1 is installed
cargo xtask docs [--check]             writes the generated pages under docs/, or checks that they are current
cargo xtask bench [--rows PART] [--quick | --full] [--json] [--no-append-only] [--write-docs]
                                       ours over the limits of the stores, as a table; --write-docs: docs/performance.md too
cargo xtask soak differential [--operations N] [--seed S]
                                       the differential test on both engines, a million operations each unless told
cargo xtask soak locks [--seconds N] [--processes N] [--seed S]
                                       processes that race for locks, some killed by -9; their histories are judged
cargo xtask soak tasks [--tasks N] [--processes N] [--seed S]
                                       workers that are killed by -9; every task is done once, histories are judged
cargo xtask servers DIR                unpacks Redis 8 and Valkey 8 under DIR (Debian and Ubuntu)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        bail!("which command?\n{USAGE}");
    };
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (name.as_str(), rest.as_slice()) {
        ("ci", []) => ci::run(false),
        ("ci", ["--setup"]) => ci::run(true),
        ("setup", []) => setup::run(),
        ("test", ["--setup", rest @ ..]) => setup::run().and_then(|()| test::run(rest)),
        ("test", rest) => test::run(rest),
        ("tidy", []) => tidy::run(),
        ("lua", []) => lua::run(),
        ("docs", []) => docs::write(),
        ("docs", ["--check"]) => docs::check(),
        ("bench", rest) => bench::run(rest),
        ("soak", rest) => soak::run(rest),
        ("servers", [directory]) => servers::run(directory.as_ref()),
        ("help" | "-h" | "--help", _) => {
            report::line(USAGE);
            Ok(())
        }
        _ => bail!("unknown: {}\n{USAGE}", arguments.join(" ")),
    }
}
