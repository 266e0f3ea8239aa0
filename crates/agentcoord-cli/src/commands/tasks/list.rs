//! `tasks list`.

use agentcoord::core::store::Backend;
use agentcoord::core::task::{TaskFilter, TaskStatus};
use serde::Serialize;

use super::view::{TaskView, grid};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Page, Render, Tone, json};

/// Which tasks to list.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// In this state; may be given several times
    #[arg(long = "status", value_name = "STATE", value_parser = status)]
    statuses: Vec<TaskStatus>,
    /// With this tag; with several, any of them
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Claimed by the agent of this name
    #[arg(long, value_name = "NAME")]
    claimed_by: Option<String>,
    /// With this text in the title
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Go on where an earlier page ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

fn status(word: &str) -> Result<TaskStatus, String> {
    TaskStatus::parse(&word.replace([' ', '-'], "_")).map_err(|_| {
        let known: Vec<&str> = TaskStatus::ALL.iter().map(|s| s.word()).collect();
        format!("known are {}", known.join(", "))
    })
}

/// The looks at the store that one call takes, with a filter that rarely fits.
const LOOKS: usize = 10;

/// A page of tasks.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    items: Vec<TaskView>,
    cursor: Option<String>,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        if self.items.is_empty() {
            page.line(if self.cursor.is_none() { "no tasks" } else { "no tasks so far" });
        }
        let rows = page.rows();
        page.grid(grid(&self.items), rows, "agentcoord tasks | less");
        if let Some(cursor) = self.cursor.as_ref().filter(|_| self.items.len() <= rows) {
            page.toned(Tone::Faint, format!("more   --cursor {cursor}"));
        }
    }

    fn ids(&self) -> Vec<String> {
        self.items.iter().map(|task| task.id.clone()).collect()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        json::lines(&self.items)
    }
}

/// Lists tasks.
///
/// # Errors
/// `INVALID` for a cursor that is none.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let mut filter = TaskFilter {
        statuses: args.statuses,
        tags: args.tags,
        claimed_by: args.claimed_by,
        text: args.text,
        limit: args.limit.into(),
        cursor: args.cursor,
    };
    let store = context.store().await?;
    let mut items = Vec::new();
    // A page in which little fits is short.
    for _ in 0..LOOKS {
        let page = store.tasks().list(&filter).await?;
        filter.limit -= page.items.len();
        filter.cursor = page.cursor;
        items.extend(page.items.into_iter().map(TaskView::from));
        if filter.limit == 0 || filter.cursor.is_none() {
            break;
        }
    }
    Ok(View { items, cursor: filter.cursor })
}
