//! `lua`: each verb has its script, each script its verb, and every script parses.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::tidy::tree::Tree;
use crate::{command, report, verbs};

/// Where the scripts live.
pub(crate) const FOLDER: &str = "crates/agentcoord-core/lua/";

pub(crate) fn run() -> Result<()> {
    let tree = Tree::read()?;
    let problems = unmatched(&tree)?;
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    let Some(compiler) = ["luac5.1", "luac-5.1", "luac51"].into_iter().find(|c| command::installed(c)) else {
        report::note("luac5.1 is not installed, so only Redis itself checks the syntax of the scripts");
        return Ok(());
    };
    for script in tree.files().filter(|f| f.path.starts_with(FOLDER) && f.path.ends_with(".lua")) {
        command::run(Command::new(compiler).arg("-p").arg(Path::new(&script.path)).current_dir(command::root()))?;
    }
    Ok(())
}

/// Scripts that are no verbs of a noun: they open and close a namespace.
const NAMESPACE: &str = "namespace/";

/// Verbs without a script and scripts without a verb; the files directly in the folder belong to all verbs.
pub(crate) fn unmatched(tree: &Tree) -> Result<Vec<String>> {
    let scripts: Vec<&str> = tree
        .files()
        .filter_map(|f| f.path.strip_prefix(FOLDER)?.strip_suffix(".lua"))
        .filter(|script| script.contains('/') && !script.starts_with(NAMESPACE))
        .collect();
    if scripts.is_empty() {
        return Ok(Vec::new());
    }
    let verbs = verbs::all()?;
    let mut problems = Vec::new();
    for verb in verbs.iter().filter(|v| !scripts.contains(&v.name.as_str())) {
        problems.push(format!("{FOLDER}{}.lua is missing: every verb has a script of its name", verb.name));
    }
    for script in scripts.iter().filter(|s| verbs.iter().all(|v| v.name != **s)) {
        problems.push(format!("{FOLDER}{script}.lua belongs to no verb of machine/mod.rs"));
    }
    Ok(problems)
}
