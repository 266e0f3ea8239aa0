//! `servers DIR`: Redis 8 and Valkey 8 beside the system's Redis, so that the tests can run on all three.
//!
//! Unpacks the packages of Debian trixie, with the libraries they need, from the mirror that this machine is configured
//! for. Touches nothing outside DIR and starts nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{command, report, setup};

/// Names the server programs that the Redis tests run on, separated by commas.
pub(crate) const VARIABLE: &str = "AGENTCOORD_TEST_SERVERS";

const RELEASE: &str = "trixie";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The wrapper's name, and the program that it starts.
const PROGRAMS: [(&str, &str); 4] = [
    ("redis8-server", "redis-server"),
    ("redis8-cli", "redis-cli"),
    ("valkey8-server", "valkey-server"),
    ("valkey8-cli", "valkey-cli"),
];

const PACKAGES: [&str; 15] = [
    "redis-server",
    "redis-tools",
    "valkey-server",
    "valkey-tools",
    "libatomic1",
    "libc6",
    "libcap2",
    "libgcc-s1",
    "libjemalloc2",
    "liblzf1",
    "libssl3t64",
    "libstdc++6",
    "libsystemd0",
    "libzstd1",
    "zlib1g",
];

pub(crate) fn run(directory: &Path) -> Result<()> {
    let list = unpack(directory)?;
    report::line(&format!("{VARIABLE}={list}"));
    Ok(())
}

/// Unpacks the servers unless they are there, and returns the value for [`VARIABLE`]: the system's own server first.
pub(crate) fn unpack(directory: &Path) -> Result<String> {
    fs::create_dir_all(directory)?;
    let directory = directory.canonicalize()?;
    let servers: Vec<PathBuf> = PROGRAMS
        .iter()
        .filter(|(name, _)| name.ends_with("-server"))
        .map(|(n, _)| directory.join("bin").join(n))
        .collect();
    if !servers.iter().all(|server| starts(server)) {
        fetch(&directory)?;
        wrap(&directory)?;
        if let Some(broken) = servers.iter().find(|server| !starts(server)) {
            bail!("{} was unpacked but does not start", broken.display());
        }
    }
    let mut list = vec![setup::SERVER.to_owned()];
    list.extend(servers.iter().map(|server| server.display().to_string()));
    Ok(list.join(","))
}

fn starts(server: &Path) -> bool {
    command::output(Command::new(server).arg("--version")).is_ok()
}

fn fetch(directory: &Path) -> Result<()> {
    if !command::installed("apt-get") || !command::installed("dpkg") {
        bail!("this needs apt-get and dpkg");
    }
    for part in ["apt/lists/partial", "apt/cache/archives/partial", "deb", "root"] {
        fs::create_dir_all(directory.join(part))?;
    }
    let sources = directory.join("apt/sources.list");
    fs::write(&sources, format!("deb [signed-by={KEYRING}] {} {RELEASE} main\n", mirror()?))?;
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.current_dir(directory.join("deb")).arg("-qq");
        for (option, value) in [
            ("Dir::Etc::sourcelist", sources.display().to_string()),
            ("Dir::Etc::sourceparts", "-".to_owned()),
            ("Dir::State::Lists", directory.join("apt/lists").display().to_string()),
            ("Dir::Cache", directory.join("apt/cache").display().to_string()),
            ("Dir::State::status", "/dev/null".to_owned()),
            // Root would hand the download to another user, who may not enter DIR.
            ("APT::Sandbox::User", "root".to_owned()),
        ] {
            apt.arg("-o").arg(format!("{option}={value}"));
        }
        apt
    };
    command::output(apt().arg("update"))?;
    command::output(apt().arg("download").args(PACKAGES))?;
    for package in fs::read_dir(directory.join("deb"))? {
        command::output(Command::new("dpkg").arg("-x").arg(package?.path()).arg(directory.join("root")))?;
    }
    Ok(())
}

/// The Debian mirror that this machine's own apt is configured for.
fn mirror() -> Result<String> {
    let sites = command::output(Command::new("apt-get").args(["indextargets", "--format", "$(SITE)"]))?;
    let debian = sites.lines().find(|site| site.trim_end_matches('/').ends_with("/debian"));
    debian.map(str::to_owned).context("apt is configured for no Debian mirror here")
}

/// Wrappers that start each program with the loader and libraries that came with it.
fn wrap(directory: &Path) -> Result<()> {
    let root = directory.join("root");
    let (loader, libraries) = match std::env::consts::ARCH {
        "x86_64" => ("usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu"),
        "aarch64" => ("usr/lib/ld-linux-aarch64.so.1", "usr/lib/aarch64-linux-gnu"),
        other => bail!("not tried on {other}"),
    };
    fs::create_dir_all(directory.join("bin"))?;
    for (name, program) in PROGRAMS {
        let wrapper = directory.join("bin").join(name);
        let (loader, libraries) = (root.join(loader), root.join(libraries));
        let program = root.join("usr/bin").join(program);
        let text = format!(
            "#!/bin/sh\nexec '{}' --library-path '{}' '{}' \"$@\"\n",
            loader.display(),
            libraries.display(),
            program.display()
        );
        fs::write(&wrapper, text)?;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
