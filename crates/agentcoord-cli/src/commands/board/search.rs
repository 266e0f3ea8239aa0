//! `board search`.

use agentcoord::core::board::{Hit, Place, Search};
use agentcoord::core::store::Backend;
use serde::Serialize;

use super::view::ThreadView;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Grid, Page, Render, Tone, json};

/// Pages of the board that one call looks at; what is behind them, the next call does.
const PAGES: usize = 10;

/// What to look for.
#[derive(Debug, clap::Args)]
#[command(after_help = "Looks at titles, tags and messages of open and resolved threads, for the words as they stand \
together, whatever their case. A call looks at 10,000 messages at most; then it says how to go on.")]
pub(crate) struct Args {
    /// The words
    text: String,
    /// At most so many threads
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Go on where an earlier call ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// A thread that was found, and where.
#[derive(Debug, Serialize)]
struct HitView {
    thread: ThreadView,
    found_in: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    text: String,
}

impl From<Hit> for HitView {
    fn from(hit: Hit) -> Self {
        let title = hit.thread.title.clone();
        let thread = ThreadView::from(hit.thread);
        match hit.place {
            Place::Title => Self { thread, found_in: "title", number: None, author: None, text: title },
            Place::Tag(tag) => Self { thread, found_in: "tag", number: None, author: None, text: tag },
            Place::Message { number, author, line } => {
                Self { thread, found_in: "message", number: Some(number), author: Some(author), text: line }
            }
        }
    }
}

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    items: Vec<HitView>,
    cursor: Option<String>,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        if self.items.is_empty() {
            page.line(if self.cursor.is_some() { "nothing so far" } else { "nothing found" });
        }
        let mut grid = Grid::new(["ID", "TITLE", "WHERE", "TEXT"]).prose(["TEXT"]);
        for hit in &self.items {
            let place = match (&hit.number, &hit.author) {
                (Some(number), Some(author)) => format!("#{number} {author}"),
                _ => hit.found_in.to_owned(),
            };
            let text = if hit.found_in == "title" { String::new() } else { hit.text.clone() };
            grid.row(Tone::Plain, [hit.thread.id.clone(), hit.thread.title.clone(), place, text]);
        }
        let rows = page.rows();
        page.grid(grid, rows, "agentcoord board search ... | less");
        if let Some(cursor) = &self.cursor {
            page.toned(Tone::Faint, format!("more   --cursor {cursor}"));
        }
    }

    fn ids(&self) -> Vec<String> {
        self.items.iter().map(|hit| hit.thread.id.clone()).collect()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        json::lines(&self.items)
    }
}

/// Searches the board.
///
/// # Errors
/// `INVALID` for no words, and for a cursor that is none.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let store = context.store().await?;
    let mut search = Search { text: args.text, limit: args.limit.into(), cursor: args.cursor };
    let mut items = Vec::new();
    for _ in 0..PAGES {
        let page = store.board().search(&search).await?;
        search.limit -= page.items.len();
        items.extend(page.items.into_iter().map(HitView::from));
        search.cursor = page.cursor;
        if search.cursor.is_none() || search.limit == 0 {
            break;
        }
    }
    Ok(View { items, cursor: search.cursor })
}
