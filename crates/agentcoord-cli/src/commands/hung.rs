//! `hung`: agents that are silent or stuck, with evidence.

use std::time::Duration;

use agentcoord::core::agent::{Suspect, Suspicion};
use agentcoord::core::store::Backend;
use serde::Serialize;

use super::agents::view::AgentView;
use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{Grid, Page, Render, Stamp, Tone, json};

/// When to suspect.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Without heartbeat or progress for so long
    #[arg(long, value_name = "DURATION", default_value = "300", value_parser = duration::parse_positive)]
    #[arg(allow_hyphen_values = true)]
    threshold: Duration,
    /// Exit with 8 when anybody hangs
    #[arg(long)]
    check: bool,
}

/// The suspects.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    items: Vec<SuspectView>,
    threshold_s: u64,
    #[serde(skip)]
    check: bool,
}

/// One suspect.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SuspectView {
    /// Who.
    pub(crate) agent: AgentView,
    /// Silent or stuck.
    pub(crate) verdict: Suspicion,
    /// Last sign of life.
    pub(crate) last_heartbeat: Stamp,
    /// Last progress.
    pub(crate) last_progress: Stamp,
    /// In a sentence.
    pub(crate) evidence: String,
}

impl From<Suspect> for SuspectView {
    fn from(suspect: Suspect) -> Self {
        let agent = AgentView::from(suspect.agent);
        Self {
            last_heartbeat: agent.last_heartbeat,
            last_progress: agent.last_progress,
            agent,
            verdict: suspect.verdict,
            evidence: suspect.evidence,
        }
    }
}

/// Suspects as a table.
pub(crate) fn grid(items: &[SuspectView]) -> Grid {
    let header = ["NAME", "VERDICT", "LOCKS", "TASKS", "EVIDENCE", "WORKING ON"];
    let mut grid = Grid::new(header).prose(["EVIDENCE", "WORKING ON"]);
    for item in items {
        let verdict = match item.verdict {
            Suspicion::Silent => "silent",
            Suspicion::Stuck => "stuck",
        };
        grid.row(
            Tone::Bad,
            [
                item.agent.name.clone(),
                verdict.to_owned(),
                item.agent.locks.to_string(),
                item.agent.tasks.to_string(),
                item.evidence.clone(),
                item.agent.working_on.clone().unwrap_or_default(),
            ],
        );
    }
    grid
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        if self.items.is_empty() {
            page.line(format!("nobody hangs (threshold {})", duration::short(self.threshold_s * 1_000)));
        }
        page.grid(grid(&self.items), page.rows(), "agentcoord hung | less");
    }

    fn ids(&self) -> Vec<String> {
        self.items.iter().map(|item| item.agent.id.clone()).collect()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        json::lines(&self.items)
    }

    fn exit(&self) -> Exit {
        if self.check && !self.items.is_empty() { Exit::CheckFailed } else { Exit::Done }
    }
}

/// Finds suspects.
///
/// # Errors
/// When the engine cannot be reached.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let threshold = duration::millis(args.threshold);
    let suspects = context.store().await?.agents().hung(threshold).await?;
    let items = suspects.into_iter().map(SuspectView::from).collect();
    Ok(View { items, threshold_s: threshold / 1_000, check: args.check })
}
