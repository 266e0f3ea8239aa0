//! `audit list`: from the end of the log backwards, shown in the order of the log.

use agentcoord::core::audit::AuditLog;
use serde::Serialize;

use super::view::{self, EntryView};
use crate::context::Context;
use crate::error::CliError;
use crate::moment;
use crate::output::{Grid, Page, Render, Stamp, Tone, json};

/// Entries read at once.
const PAGE: u64 = 200;

/// Which entries to list.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Not older than so long, or than a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "DURATION|TIME", value_parser = moment::past, allow_hyphen_values = true)]
    since: Option<Stamp>,
    /// Of this agent or person
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Of this kind
    #[arg(long = "type", value_name = "TYPE")]
    decision_type: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Go on where an earlier page began: older entries
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<u64>,
}

impl Args {
    fn fits(&self, entry: &EntryView) -> bool {
        let name = entry.agent.split_once(':').map_or(entry.agent.as_str(), |(_, name)| name);
        let agent = self.agent.as_ref().is_none_or(|a| *a == entry.agent || a == name);
        let kind = self.decision_type.as_ref().is_none_or(|t| *t == entry.decision_type);
        // Writers' clocks differ: each entry is judged by its own time, none ends the search.
        let time = self.since.is_none_or(|since| entry.at().is_none_or(|at| at >= since));
        agent && kind && time
    }
}

/// Entries, in the order of the log.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    items: Vec<EntryView>,
    cursor: Option<String>,
    entries: u64,
    sealed: u64,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        if self.items.is_empty() {
            page.line("no entries");
        }
        let mut grid = Grid::new(["SEQ", "WHEN", "WHO", "TYPE", "ABOUT", "WHY"]);
        for entry in &self.items {
            let cells = [
                entry.seq.to_string(),
                entry.when(),
                entry.agent.clone(),
                entry.decision_type.clone(),
                entry.context.clone(),
                entry.reason.clone(),
            ];
            grid.row(Tone::Plain, cells);
        }
        page.grid(grid, usize::MAX, "");
        if self.sealed < self.entries {
            page.toned(Tone::Warn, format!("sealed up to entry {} of {}", self.sealed, self.entries));
        }
        if let Some(cursor) = &self.cursor {
            page.toned(Tone::Faint, format!("older   --cursor {cursor}"));
        }
    }

    fn ids(&self) -> Vec<String> {
        self.items.iter().map(|entry| entry.seq.to_string()).collect()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        json::lines(&self.items)
    }
}

/// Lists entries.
///
/// # Errors
/// `CORRUPT` for an entry that cannot be read.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let store = context.store().await?;
    let extent = view::share(context).await?;
    let head = extent.entries;
    // Everything up to `end` is still to be looked at.
    let mut end = args.cursor.map_or(head, |c| c.saturating_sub(1).min(head));
    let limit = usize::from(args.limit);
    let mut newest_first = Vec::new();
    while end > 0 && newest_first.len() < limit {
        let start = end.saturating_sub(PAGE);
        let want = usize::try_from(end - start).unwrap_or(usize::MAX);
        let page = AuditLog::read(&store, start, want).await?;
        end = start;
        for stored in page.items.iter().rev() {
            let entry = EntryView::read(stored)?;
            if args.fits(&entry) {
                let seq = entry.seq;
                newest_first.push(entry);
                if newest_first.len() == limit {
                    end = seq - 1;
                    break;
                }
            }
        }
    }
    let cursor = (end > 0).then(|| (end + 1).to_string());
    newest_first.reverse();
    Ok(View { items: newest_first, cursor, entries: extent.entries, sealed: extent.sealed })
}
