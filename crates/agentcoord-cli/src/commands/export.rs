//! `export`: STATUS.md and BOARD.md, for people who read files.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use agentcoord::Store;
use agentcoord::core::approval::ApprovalStatus;
use agentcoord::core::board::{Board, ThreadFilter, ThreadStatus};
use agentcoord::core::store::Backend;
use agentcoord::core::task::{TaskFilter, TaskStatus};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::text::{block, line};
use crate::output::{Page, Render, Stamp};

/// How a file of ours begins. One that begins otherwise is somebody's own.
const MARK: &str = "<!-- Written by `agentcoord export`; what you write here is lost at the next one. -->";
/// Tasks and threads read at once.
const PAGE: usize = 500;

/// Where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory [default: the current one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Replace files that `export` did not write
    #[arg(long)]
    force: bool,
}

/// What was written.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    files: Vec<String>,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        for file in &self.files {
            page.line(file);
        }
    }

    fn ids(&self) -> Vec<String> {
        self.files.clone()
    }
}

/// Writes the files.
///
/// # Errors
/// `NOT_OURS` for a file that somebody else wrote; `INVALID` for a directory that cannot be written to.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let dir = args.dir.map_or_else(|| context.settings().cwd.clone(), |dir| context.settings().cwd.join(dir));
    let paths = [dir.join("STATUS.md"), dir.join("BOARD.md")];
    if !args.force {
        paths.iter().try_for_each(|path| is_ours(path))?;
    }
    let store = context.store().await?;
    let texts = [status(&store).await?, board(&store).await?];
    for (path, text) in paths.iter().zip(texts) {
        replace(&dir, path, &text)
            .map_err(|e| CliError::invalid(format!("{} cannot be written: {e}", path.display())))?;
    }
    Ok(View { files: paths.iter().map(|path| path.display().to_string()).collect() })
}

fn is_ours(path: &Path) -> Result<(), CliError> {
    match std::fs::read(path) {
        Ok(bytes) if !bytes.is_empty() && !bytes.starts_with(MARK.as_bytes()) => {
            let message = format!("{} was not written by `agentcoord export`", path.display());
            let error = CliError::new(Exit::Refused, "NOT_OURS", message);
            Err(error.next("to replace it", "agentcoord export --force"))
        }
        // What cannot be read shows when it is to be written.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Readers find the old file or the new one, never half of one.
fn replace(dir: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable)?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// Foreign text inside a table cell.
fn cell(text: &str) -> String {
    line(text).replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;")
}

/// Foreign text as a heading or a line.
fn inline(text: &str) -> String {
    line(text).replace('<', "&lt;")
}

fn when(ms: u64) -> String {
    Stamp(ms).rfc3339().chars().take(16).collect::<String>().replace('T', " ")
}

async fn status(store: &Store) -> Result<String, CliError> {
    let mut out = format!("{MARK}\n# Status\n\n{} UTC\n", when(Stamp::now().0));
    let agents = store.agents().list(false).await?;
    out.push_str("\n## Agents\n\n");
    if agents.is_empty() {
        out.push_str("Nobody is here.\n");
    } else {
        out.push_str("| Name | Role | Works on | Locks | Tasks | Last seen |\n|---|---|---|---|---|---|\n");
    }
    for agent in agents {
        let works_on = cell(agent.working_on.as_deref().unwrap_or_default());
        let seen = when(agent.last_heartbeat);
        let (name, role) = (cell(&agent.name), cell(&agent.role));
        put(&mut out, format_args!("| {name} | {role} | {works_on} | {} | {} | {seen} |\n", agent.locks, agent.tasks));
    }
    out.push_str("\n## Locks\n\n");
    let locks = store.locks().list().await?;
    if locks.is_empty() {
        out.push_str("Nothing is locked.\n");
    }
    for (path, state) in locks {
        for holder in &state.holders {
            let intent = holder.intent.as_ref().map(|why| format!(": {}", inline(why))).unwrap_or_default();
            put(&mut out, format_args!("- `{}` by {}{intent}\n", line(path.as_str()), inline(&holder.name)));
        }
    }
    out.push_str("\n## Waiting for a person\n\n");
    let pending = store.approvals().list(Some(ApprovalStatus::Pending)).await?;
    if pending.is_empty() {
        out.push_str("Nothing.\n");
    }
    for approval in pending {
        let (kind, what) = (inline(&approval.action_type), inline(&approval.description));
        put(&mut out, format_args!("- {} {kind}: {what} (`agentcoord approve {0}`)\n", approval.key));
    }
    out.push_str("\n## Tasks\n\n");
    let (counts, _) = store.now().await?;
    put(&mut out, format_args!("{} pending, {} completed\n", counts.pending, counts.completed));
    let statuses = vec![TaskStatus::Claimed, TaskStatus::InProgress, TaskStatus::Failed, TaskStatus::Dead];
    let filter = TaskFilter { statuses, limit: PAGE, ..TaskFilter::default() };
    let mut first = true;
    for task in store.tasks().list(&filter).await?.items {
        if std::mem::take(&mut first) {
            out.push_str("\n| Id | Title | Status | Who |\n|---|---|---|---|\n");
        }
        let who = cell(task.claimed_by.as_deref().unwrap_or_default());
        put(&mut out, format_args!("| {} | {} | {} | {who} |\n", task.key, cell(&task.title), task.status.word()));
    }
    Ok(out)
}

async fn board(store: &Store) -> Result<String, CliError> {
    let mut out = format!("{MARK}\n# Board\n");
    let mut filter = ThreadFilter { statuses: ThreadStatus::ALL.to_vec(), limit: PAGE, ..ThreadFilter::default() };
    loop {
        let page = store.board().list(&filter).await?;
        for thread in page.items {
            put(&mut out, format_args!("\n## {}\n\n", inline(&thread.title)));
            let facts = [thread.key.clone(), thread.status.word().to_owned(), thread.priority.word().to_owned()];
            let by = inline(&thread.posted_by);
            put(&mut out, format_args!("{}, by {by}, {} UTC\n", facts.join(", "), when(thread.posted_at)));
            let most = usize::try_from(thread.count).unwrap_or(usize::MAX);
            for message in Board::messages(store, &thread, 0, most).await? {
                let at = when(message.posted_at);
                put(&mut out, format_args!("\n**{}**, {at} UTC\n\n", inline(&message.author)));
                // Indented, it is text and nothing else, whatever it contains.
                for text in block(&message.content).lines() {
                    put(&mut out, format_args!("    {text}\n"));
                }
            }
        }
        match page.cursor {
            Some(cursor) => filter.cursor = Some(cursor),
            None => return Ok(out),
        }
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.push_str(&text.to_string());
}
