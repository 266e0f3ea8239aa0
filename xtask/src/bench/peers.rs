//! Queues of others that ours is measured beside. They are installed by their own package manager, below the bench's scratch
//! directory, when they are asked for; nothing of the project depends on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{command, report};

/// Where their list and the scripts that run them lie.
const SCRIPTS: &str = "xtask/bench/peers";
/// The list, with the exact versions.
const LIST: &str = "package.json";
/// Where they are installed.
const PLACE: &str = "target/bench-peers";

/// Installs what is not there yet, and returns where it lies.
pub(super) fn installed() -> Result<PathBuf> {
    let (scripts, place) = (command::root().join(SCRIPTS), command::root().join(PLACE));
    fs::create_dir_all(&place)?;
    let wanted = fs::read_to_string(scripts.join(LIST))?;
    let mark = place.join("installed.json");
    for entry in fs::read_dir(&scripts)? {
        let entry = entry?;
        fs::copy(entry.path(), place.join(entry.file_name()))?;
    }
    if fs::read_to_string(&mark).is_ok_and(|there| there == wanted) {
        return Ok(place);
    }
    install(&place)?;
    fs::write(mark, wanted)?;
    Ok(place)
}

fn install(place: &Path) -> Result<()> {
    for program in ["node", "npm"] {
        if !command::installed(program) {
            bail!("{program} is not installed, and the peers need it");
        }
    }
    report::stage("install peers");
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel", "error"]).current_dir(place);
    command::run(npm.stdout(Stdio::null())).context("the peers could not be installed")
}

/// What a reader must know of them: their versions, and that of what runs them.
pub(super) fn words() -> Result<String> {
    let list: Value = serde_json::from_str(&fs::read_to_string(command::root().join(SCRIPTS).join(LIST))?)?;
    let list = list["dependencies"].as_object().context("a list of peers")?;
    let names = list.iter().map(|(name, version)| format!("{name} {}", version.as_str().unwrap_or_default()));
    let node = command::output(Command::new("node").arg("--version"))?;
    Ok(format!("peers: {} on node {}", names.collect::<Vec<_>>().join(", "), node.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_peers_names_exact_versions() {
        let list = fs::read_to_string(command::root().join(SCRIPTS).join(LIST)).expect("the list");
        let list: Value = serde_json::from_str(&list).expect("JSON");
        for (name, version) in list["dependencies"].as_object().expect("peers") {
            let version = version.as_str().expect("a version");
            assert!(version.chars().all(|c| c.is_ascii_digit() || c == '.'), "{name} {version}");
        }
    }
}
