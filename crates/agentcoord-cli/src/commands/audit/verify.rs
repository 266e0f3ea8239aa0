//! `audit verify`: whether the log is what was sealed, kept and anchored.

use std::path::PathBuf;

use agentcoord::audit::{self, Report};
use agentcoord::core::audit::AuditLog;
use agentcoord::core::audit::verify::Finding;
use serde::Serialize;

use super::anchors;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{Page, Render, Tone};
use crate::progress::Progress;

/// What to hold it against.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Anchors in this file, as well as those in the git notes; may be repeated
    #[arg(long, value_name = "FILE")]
    anchor: Vec<PathBuf>,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    entries: u64,
    sealed: u64,
    kept: Option<u64>,
    anchored: Option<u64>,
    first_bad: Option<Bad>,
    head: Option<String>,
}

/// The first bad entry.
#[derive(Debug, Serialize)]
struct Bad {
    seq: u64,
    what: &'static str,
    why: String,
}

impl From<Report> for View {
    fn from(report: Report) -> Self {
        let bad = |Finding { seq, what, why }| Bad { seq, what: what.word(), why };
        Self {
            entries: report.extent.entries,
            sealed: report.extent.sealed,
            kept: report.kept.map(|head| head.seq),
            anchored: report.anchored.map(|head| head.seq),
            head: (report.finding.is_none()).then(|| report.head.hash.to_string()),
            first_bad: report.finding.map(bad),
        }
    }
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        let upto = |seq: Option<u64>| seq.map_or_else(|| "nothing".to_owned(), |seq| format!("up to entry {seq}"));
        page.line(format!("entries   {}", self.entries));
        page.line(format!("sealed    {}", upto((self.sealed > 0).then_some(self.sealed))));
        page.line(format!("kept      {}", upto(self.kept)));
        page.line(format!("anchored  {}", upto(self.anchored)));
        match (&self.first_bad, &self.head) {
            (Some(Bad { seq, what, why }), _) => {
                page.toned(Tone::Bad, format!("bad       entry {seq} is the first: {what}"));
                page.line(format!("          {why}"));
            }
            (None, head) => page.line(format!("good      {}", head.as_deref().unwrap_or_default())),
        }
    }

    fn ids(&self) -> Vec<String> {
        self.first_bad.iter().map(|bad| bad.seq.to_string()).collect()
    }

    fn exit(&self) -> Exit {
        if self.first_bad.is_some() { Exit::CheckFailed } else { Exit::Done }
    }
}

/// Verifies the log.
///
/// # Errors
/// `INVALID` for anchors that cannot be read.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let connection = context.staying().await?;
    let (settings, namespace) = (context.settings(), connection.namespace());
    let mut witnesses = anchors::of_notes(&settings.root, namespace)?;
    for file in &args.anchor {
        witnesses.extend(anchors::of_file(&settings.cwd.join(file), namespace)?);
    }
    let entries = connection.store().await?.extent().await?.entries;
    let progress = Progress::new(context, "verify", entries);
    let report = audit::verify(connection, witnesses, |done| progress.at(done)).await?;
    drop(progress);
    Ok(report.into())
}
