//! `locks list`.

use agentcoord::core::store::Backend;
use serde::Serialize;

use super::view::{LockView, roles};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Grid, Page, Render, Tone, ago, json};

/// No arguments.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args;

/// Locks, by path.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    items: Vec<LockView>,
    cursor: Option<String>,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        if self.items.is_empty() {
            page.line("nothing is locked");
        }
        page.grid(grid(&self.items), page.rows(), "agentcoord locks | less");
    }

    fn ids(&self) -> Vec<String> {
        self.items.iter().map(|lock| lock.path.clone()).collect()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        json::lines(&self.items)
    }
}

fn grid(items: &[LockView]) -> Grid {
    let mut grid = Grid::new(["PATH", "HOLDER", "SINCE", "ENDS", "WAITING", "INTENT"]).prose(["INTENT"]).path("PATH");
    for lock in items {
        let names: Vec<&str> = lock.waiters.iter().map(|w| w.agent.name.as_str()).collect();
        let waiting = match &names[..] {
            [] => String::new(),
            [first] => (*first).to_owned(),
            [first, rest @ ..] => format!("{first} +{}", rest.len()),
        };
        grid.row(
            if names.is_empty() { Tone::Plain } else { Tone::Warn },
            [
                lock.path.clone(),
                lock.holder.as_ref().map_or("-", |who| &who.name).to_owned(),
                lock.since.map(ago).unwrap_or_default(),
                lock.deadline.map(|at| at.ahead()).unwrap_or_default(),
                waiting,
                lock.intent.clone().unwrap_or_default(),
            ],
        );
    }
    grid
}

/// Lists locks.
///
/// # Errors
/// When the engine cannot be reached.
pub(crate) async fn run(context: &Context, _: Args) -> Result<View, CliError> {
    let store = context.store().await?;
    let paths = store.locks().list().await?;
    // Nobody holds anything: nobody's role is needed.
    let roles = if paths.is_empty() { roles(Vec::new()) } else { roles(store.agents().list(false).await?) };
    let items = paths.into_iter().flat_map(|(path, state)| LockView::of(&path, state, &roles)).collect();
    Ok(View { items, cursor: None })
}
