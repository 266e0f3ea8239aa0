//! `agents list`.

use agentcoord::core::store::Backend;
use serde::Serialize;

use super::view::{AgentView, grid};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Page, Render, json};

/// Whom to list.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Also those whose sessions have ended
    #[arg(long)]
    all: bool,
}

/// Agents, by name.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    items: Vec<AgentView>,
    cursor: Option<String>,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        if self.items.is_empty() {
            page.line("nobody is here");
        }
        page.grid(grid(&self.items), page.rows(), "agentcoord agents | less");
    }

    fn ids(&self) -> Vec<String> {
        self.items.iter().map(|agent| agent.id.clone()).collect()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        json::lines(&self.items)
    }
}

/// Lists agents.
///
/// # Errors
/// When the engine cannot be reached.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let agents = context.store().await?.agents().list(args.all).await?;
    Ok(View { items: agents.into_iter().map(AgentView::from).collect(), cursor: None })
}
