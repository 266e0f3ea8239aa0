//! `ci`: everything that a change must pass, in the order in which it fails fastest.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{command, docs, lua, report, servers, setup, test, tidy};

pub(crate) fn run(with_setup: bool) -> Result<()> {
    let begun = Instant::now();
    let mut matrix = None;
    if with_setup {
        setup::run()?;
        matrix = more_servers();
    }
    stage("fmt", || command::run(&mut command::cargo(&["fmt", "--all", "--check"])))?;
    stage("tidy", tidy::run)?;
    stage("lua", lua::run)?;
    stage("docs", docs::check)?;
    stage("clippy", || {
        let lints = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        command::run(&mut command::cargo(&lints))
    })?;
    stage("doc", || {
        let mut doc = command::cargo(&["doc", "--workspace", "--no-deps"]);
        command::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    stage("test", || test::run_with(&[], matrix.as_deref()))?;
    report::line(&format!("ci: everything passes, in {} s", begun.elapsed().as_secs()));
    Ok(())
}

fn stage(name: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    report::stage(name);
    run().with_context(|| format!("stage {name} failed"))
}

/// Redis 8 and Valkey 8 for the tests where they can be had; the system's Redis is enough where they cannot.
fn more_servers() -> Option<String> {
    if std::env::var_os(servers::VARIABLE).is_some() || !command::installed("apt-get") {
        return None;
    }
    report::stage("servers");
    let directory: PathBuf = command::root().join("target/servers");
    match servers::unpack(&directory) {
        Ok(list) => Some(list),
        Err(error) => {
            report::note(&format!("testing on the system's Redis only: {error:#}"));
            None
        }
    }
}
