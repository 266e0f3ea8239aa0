//! `locks show`: what is in the way at one path.

use agentcoord::core::store::Backend;
use serde::Serialize;

use super::view::{LockView, roles};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Page, Render, ago};

/// Which path.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The path, or an @name
    #[arg(value_name = "PATH")]
    path: String,
}

/// What stands at the path, at the subtrees above it, and for a subtree inside it.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    path: String,
    items: Vec<LockView>,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        if self.items.is_empty() {
            page.line(format!("{} is free", self.path));
        }
        for lock in &self.items {
            page.fields([
                ("path", Some(lock.path.clone())),
                ("holder", lock.holder.as_ref().map(|who| format!("{} ({})", who.name, who.id))),
                ("role", lock.holder.as_ref().and_then(|who| who.role.clone())),
                ("intent", lock.intent.clone()),
                ("token", lock.token.map(|token| token.to_string())),
                ("since", lock.since.map(ago)),
                ("ends", lock.deadline.map(|at| at.ahead())),
            ]);
            for waiter in &lock.waiters {
                let why = waiter.intent.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                page.line(format!(
                    "waits   {} ({}), since {}{why}",
                    waiter.agent.name,
                    waiter.agent.id,
                    ago(waiter.since)
                ));
            }
        }
    }

    fn ids(&self) -> Vec<String> {
        self.items.iter().filter_map(|lock| lock.token.map(|token| token.to_string())).collect()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        crate::output::json::lines(&self.items)
    }
}

/// Shows a path.
///
/// # Errors
/// `INVALID` for what is no path.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let path = context.lock_path(&args.path)?;
    let store = context.store().await?;
    let around = store.locks().around(&path).await?;
    let roles = roles(store.agents().list(false).await?);
    let items = around.into_iter().flat_map(|(path, state)| LockView::of(&path, state, &roles)).collect();
    Ok(View { path: path.to_string(), items })
}
