//! `board list`.

use agentcoord::core::board::{ThreadFilter, ThreadStatus};
use agentcoord::core::store::Backend;
use serde::Serialize;

use super::view::{ThreadView, grid};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Page, Render, Tone, json};

/// Which threads to list.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// In this state; may be given several times [default: active and waiting]
    #[arg(long = "status", value_name = "STATE", value_parser = status)]
    statuses: Vec<ThreadStatus>,
    /// With this tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// About this path or task
    #[arg(long, value_name = "PATH|ID")]
    link: Option<String>,
    /// Opened by this agent or person, as in agent:ada
    #[arg(long, value_name = "WHO")]
    by: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Go on where an earlier page ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

pub(super) fn status(word: &str) -> Result<ThreadStatus, String> {
    ThreadStatus::parse(word).map_err(|_| "known are active, waiting, resolved".to_owned())
}

/// A page of threads.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    items: Vec<ThreadView>,
    cursor: Option<String>,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        if self.items.is_empty() {
            page.line("the board is empty");
        }
        let rows = page.rows();
        page.grid(grid(&self.items), rows, "agentcoord board | less");
        if let Some(cursor) = self.cursor.as_ref().filter(|_| self.items.len() <= rows) {
            page.toned(Tone::Faint, format!("more   --cursor {cursor}"));
        }
    }

    fn ids(&self) -> Vec<String> {
        self.items.iter().map(|thread| thread.id.clone()).collect()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        json::lines(&self.items)
    }
}

/// Lists threads.
///
/// # Errors
/// `INVALID` for a cursor that is none.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let mut filter = ThreadFilter {
        statuses: args.statuses,
        tag: args.tag,
        link: args.link,
        posted_by: args.by.map(|by| if by.contains(':') { by } else { format!("agent:{by}") }),
        limit: args.limit.into(),
        cursor: args.cursor,
    };
    let store = context.store().await?;
    let mut items = Vec::new();
    loop {
        let page = store.board().list(&filter).await?;
        filter.limit -= page.items.len();
        items.extend(page.items.into_iter().map(ThreadView::from));
        filter.cursor = page.cursor;
        if filter.cursor.is_none() || filter.limit == 0 {
            return Ok(View { items, cursor: filter.cursor });
        }
    }
}
