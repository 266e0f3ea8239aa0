//! `audit anchor`: the last hash of the log, outside of the engine.

use std::path::PathBuf;

use agentcoord::audit;
use agentcoord::core::audit::chain::Head;
use serde::Serialize;

use super::anchors::{self, NOTES};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Page, Render, Tone};

/// Where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Append it to this file; `-`: only print it
    #[arg(value_name = "FILE", required_unless_present = "git")]
    file: Option<PathBuf>,
    /// Append it to a git note on the current commit, in refs/notes/agentcoord-audit
    #[arg(long, conflicts_with = "file")]
    git: bool,
}

/// The anchor.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    seq: u64,
    hash: String,
    anchor: String,
    place: Option<String>,
    #[serde(skip)]
    noted: bool,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        page.line(&self.anchor);
        if self.noted {
            page.toned(Tone::Faint, format!("to keep it elsewhere too   git push origin {NOTES}"));
        }
    }

    fn ids(&self) -> Vec<String> {
        vec![self.anchor.clone()]
    }
}

/// Seals the log and anchors it.
///
/// # Errors
/// `INVALID` for a file that cannot be written; `GIT` where there is no commit to put a note on.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let anchor = audit::anchor(context.staying().await?).await?;
    let line = anchor.to_string();
    let place = match &args.file {
        Some(file) if file.as_os_str() == "-" => None,
        Some(file) => Some(anchors::append(&context.settings().cwd.join(file), &line)?),
        None => Some(anchors::note(&context.settings().root, &line)?),
    };
    let Head { seq, hash } = anchor.head;
    Ok(View { seq, hash: hash.to_string(), anchor: line, place, noted: args.git })
}
