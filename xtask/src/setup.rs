//! `setup`: what the tests need and a fresh machine may lack. Only system packages and rustup components, nothing else.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{command, report};

/// The program that the Redis tests start, a private one a test binary.
pub(crate) const SERVER: &str = "redis-server";

/// The oldest major version whose commands the scripts may use.
const OLDEST: u32 = 7;

/// A package manager: its program, what refreshes its lists, and what installs the server.
struct Manager {
    program: &'static str,
    refresh: &'static [&'static str],
    install: &'static [&'static str],
    as_root: bool,
}

const MANAGERS: [Manager; 5] = [
    Manager {
        program: "apt-get",
        refresh: &["update", "-qq"],
        install: &["install", "-y", "-qq", "--no-install-recommends", SERVER],
        as_root: true,
    },
    Manager { program: "dnf", refresh: &[], install: &["install", "-y", "/usr/bin/redis-server"], as_root: true },
    Manager { program: "apk", refresh: &[], install: &["add", "--no-cache", "redis"], as_root: true },
    Manager { program: "pacman", refresh: &[], install: &["-Sy", "--noconfirm", "redis"], as_root: true },
    Manager { program: "brew", refresh: &[], install: &["install", "redis"], as_root: false },
];

pub(crate) fn run() -> Result<()> {
    report::stage("setup");
    if !command::installed(SERVER) {
        install_server()?;
    }
    require_redis()?;
    for (program, component) in [("rustfmt", "rustfmt"), ("cargo-clippy", "clippy")] {
        if !command::installed(program) && command::installed("rustup") {
            command::run(Command::new("rustup").args(["component", "add", component]))?;
        }
        if !command::installed(program) {
            bail!("{component} is missing: install the Rust component of this name");
        }
    }
    Ok(())
}

/// Fails with the way out when there is no server that the tests can use.
pub(crate) fn require_redis() -> Result<()> {
    if !command::installed(SERVER) {
        bail!("{SERVER} is not installed; the tests need version {OLDEST}.0 or newer. Try: cargo xtask setup");
    }
    let version = command::output(Command::new(SERVER).arg("--version"))?;
    match major(&version) {
        Some(major) if major >= OLDEST => Ok(()),
        _ => bail!("{SERVER} is too old, version {OLDEST}.0 or newer is needed: {}", version.trim()),
    }
}

fn install_server() -> Result<()> {
    let by_hand = format!("install {SERVER} {OLDEST}.0 or newer by hand and try again");
    let Some(manager) = MANAGERS.iter().find(|m| command::installed(m.program)) else {
        bail!("no known package manager here; {by_hand}");
    };
    let root = !manager.as_root || command::output(Command::new("id").arg("-u"))?.trim() == "0";
    if !root && !command::installed("sudo") {
        bail!("{} needs root and there is no sudo; {by_hand}", manager.program);
    }
    let manage = |arguments: &[&str]| {
        let mut words = if root { vec![manager.program] } else { vec!["sudo", manager.program] };
        words.extend(arguments);
        command::run(Command::new(words[0]).args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    if !manager.refresh.is_empty()
        && let Err(error) = manage(manager.refresh)
    {
        // A broken third-party source must not stop what the other sources can give.
        report::note(&format!("{error:#}"));
    }
    manage(manager.install).context(by_hand)
}

/// The major version in `Redis server v=7.0.15 sha=...`, as Valkey writes it too.
fn major(version: &str) -> Option<u32> {
    version.split_once("v=")?.1.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_version_is_read_from_what_servers_print() {
        assert_eq!(major("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"), Some(7));
        assert_eq!(major("Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"), Some(8));
        assert_eq!(major("something else"), None);
    }
}
