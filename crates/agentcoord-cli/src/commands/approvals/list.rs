//! `approvals list`.

use agentcoord::core::approval::ApprovalStatus;
use agentcoord::core::store::Backend;
use serde::Serialize;

use super::view::{ApprovalView, grid};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Page, Render, json};

/// Which approvals to list.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// In this state
    #[arg(long, value_name = "STATE", value_parser = status, default_value = "pending")]
    status: ApprovalStatus,
    /// In any state
    #[arg(long, conflicts_with = "status")]
    all: bool,
}

fn status(word: &str) -> Result<ApprovalStatus, String> {
    ApprovalStatus::ALL.into_iter().find(|status| status.word() == word).ok_or_else(|| {
        let known: Vec<&str> = ApprovalStatus::ALL.iter().map(|status| status.word()).collect();
        format!("known are {}", known.join(", "))
    })
}

/// Approvals, oldest first.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    items: Vec<ApprovalView>,
    cursor: Option<String>,
    #[serde(skip)]
    waiting: bool,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        if self.items.is_empty() {
            page.line(if self.waiting { "nothing waits for a person" } else { "no approvals" });
        }
        page.grid(grid(&self.items), page.rows(), "agentcoord approvals | less");
    }

    fn ids(&self) -> Vec<String> {
        self.items.iter().map(|approval| approval.id.clone()).collect()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        json::lines(&self.items)
    }
}

/// Lists approvals.
///
/// # Errors
/// When the engine cannot be reached.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let status = if args.all { None } else { Some(args.status) };
    let approvals = context.store().await?.approvals().list(status).await?;
    let connection = context.connection().await?;
    let items = approvals.into_iter().map(|approval| ApprovalView::of(connection, approval));
    Ok(View { items: items.collect::<Result<_, _>>()?, cursor: None, waiting: status == Some(ApprovalStatus::Pending) })
}
