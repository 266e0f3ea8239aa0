//! `lua`: every script parses, where a Lua compiler is installed. That each verb has its script is a test of core.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::tidy::tree::Tree;
use crate::{command, report};

/// Where the scripts live.
pub(crate) const FOLDER: &str = "crates/agentcoord-core/lua/";

pub(crate) fn run() -> Result<()> {
    let tree = Tree::read()?;
    let Some(compiler) = ["luac5.1", "luac-5.1", "luac51"].into_iter().find(|c| command::installed(c)) else {
        report::note("luac5.1 is not installed, so only Redis itself checks the syntax of the scripts");
        return Ok(());
    };
    for script in tree.files().filter(|f| f.path.starts_with(FOLDER) && f.path.ends_with(".lua")) {
        command::run(Command::new(compiler).arg("-p").arg(Path::new(&script.path)).current_dir(command::root()))?;
    }
    Ok(())
}
