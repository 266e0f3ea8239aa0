//! `status`: who is here, what they hold and do, and what waits for a person; at most a screen.

use std::time::Duration;

use agentcoord::Serving;
use agentcoord::core::agent::Suspect;
use agentcoord::core::approval::{Approval, ApprovalStatus};
use agentcoord::core::limits;
use agentcoord::core::record::Counts;
use agentcoord::core::store::Backend;
use serde::Serialize;

use super::agents::view::{self, AgentView};
use super::hung::{self, SuspectView};
use super::watch::{self, Watched};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{
    Answer, Format, Grid, IntoAnswer, Page, Render, Stamp, Tone, Written, ago, is_screen, reader_gone, rendered, write,
};
use crate::process::Signals;

/// The shortest time between two pages.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest time between two pages on a screen.
const AGES: Duration = Duration::from_secs(10);

/// Once, or again and again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show it again whenever something happens; where nobody looks at a screen, the events as lines, or an object each time
    #[arg(long)]
    watch: bool,
}

/// The whole workspace at a glance.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    agents: Vec<AgentView>,
    locks: Locks,
    tasks: Tasks,
    approvals: Approvals,
    audit: Audit,
    hung: Vec<SuspectView>,
    /// What serves, for people; the JSON has it in `meta`.
    #[serde(skip)]
    engine: String,
}

#[derive(Debug, Serialize)]
struct Audit {
    entries: u64,
    sealed: u64,
}

#[derive(Debug, Serialize)]
struct Locks {
    held: u64,
    waiting: u64,
}

#[derive(Debug, Serialize)]
struct Tasks {
    blocked: i64,
    scheduled: i64,
    pending: i64,
    claimed: i64,
    in_progress: i64,
    completed: i64,
    failed: i64,
    cancelled: i64,
    dead: i64,
}

#[derive(Debug, Serialize)]
struct Approvals {
    pending: Vec<Pending>,
}

#[derive(Debug, Serialize)]
struct Pending {
    id: String,
    action_type: String,
    description: String,
    requested_by: String,
    requested_at: Stamp,
    expires_at: Stamp,
    status: &'static str,
}

impl From<Approval> for Pending {
    fn from(approval: Approval) -> Self {
        Self {
            id: approval.key,
            action_type: approval.action_type,
            description: approval.description,
            requested_by: approval.requested_by,
            requested_at: Stamp(approval.requested_at),
            expires_at: Stamp(approval.expires_at),
            status: approval.status.word(),
        }
    }
}

impl Tasks {
    fn of(counts: &Counts) -> Self {
        Self {
            blocked: counts.blocked,
            scheduled: counts.scheduled,
            pending: counts.pending,
            claimed: counts.claimed,
            in_progress: counts.in_progress,
            completed: counts.completed,
            failed: counts.failed,
            cancelled: counts.cancelled,
            dead: counts.dead,
        }
    }

    /// The states that have any tasks, in the order of a task's life.
    fn line(&self) -> String {
        let all = [
            (self.blocked, "blocked"),
            (self.scheduled, "scheduled"),
            (self.pending, "pending"),
            (self.claimed, "claimed"),
            (self.in_progress, "in progress"),
            (self.completed, "completed"),
            (self.failed, "failed"),
            (self.cancelled, "cancelled"),
            (self.dead, "dead"),
        ];
        let some: Vec<String> = all.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
        if some.is_empty() { "none".to_owned() } else { some.join(", ") }
    }
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        // What waits for a person comes first, and everybody may keep the rest of the screen.
        let mut rows = page.screen().saturating_sub(8);
        page.line(format!("engine  {}", self.engine));
        page.gap();
        let pending = &self.approvals.pending;
        if !pending.is_empty() {
            page.toned(Tone::Warn, format!("{} waiting for a person   agentcoord approve ID", pending.len()));
            let mut grid = Grid::new(["ID", "ACTION", "ASKED BY", "SINCE", "EXPIRES", "WHAT"]).prose(["WHAT"]);
            for one in pending {
                let cells = [
                    one.id.clone(),
                    one.action_type.clone(),
                    one.requested_by.clone(),
                    ago(one.requested_at),
                    one.expires_at.ahead(),
                    one.description.clone(),
                ];
                grid.row(Tone::Plain, cells);
            }
            let most = (rows / 3).max(1);
            page.grid(grid, most, "agentcoord approvals");
            rows = rows.saturating_sub(pending.len().min(most) + 3);
            page.gap();
        }
        if !self.hung.is_empty() {
            page.toned(Tone::Bad, format!("{} hanging", self.hung.len()));
            let most = (rows / 3).max(1);
            page.grid(hung::grid(&self.hung), most, "agentcoord hung");
            rows = rows.saturating_sub(self.hung.len().min(most) + 3);
            page.gap();
        }
        if self.agents.is_empty() {
            page.line("agents  nobody is here");
        } else {
            page.grid(view::grid(&self.agents), rows.max(3), "agentcoord agents");
            page.gap();
        }
        page.line(format!("locks   {} held, {} waiting", self.locks.held, self.locks.waiting));
        page.line(format!("tasks   {}", self.tasks.line()));
        if self.audit.entries > 0 {
            page.line(format!("audit   {} entries, {} sealed", self.audit.entries, self.audit.sealed));
        }
    }

    fn ids(&self) -> Vec<String> {
        self.agents.iter().map(|agent| agent.id.clone()).collect()
    }
}

/// Looks at everything.
///
/// # Errors
/// When the engine cannot be reached.
pub(crate) async fn run(context: &Context, args: Args) -> Result<Box<dyn Answer>, CliError> {
    if args.watch {
        return Ok(watch(context).await?.into_answer());
    }
    Ok(look(context).await?.into_answer())
}

/// Looks again whenever something happens, until the reader goes away or a signal comes.
///
/// # Errors
/// Those of the engine, except that it is away.
async fn watch(context: &Context) -> Result<Watched, CliError> {
    let mut signals = Signals::of_ending()?;
    let gone = reader_gone()?;
    tokio::pin!(gone);
    let mut stream = context.connection().await?.events(None);
    stream.begin().await?;
    loop {
        let answer = look(context).await?;
        let text = rendered(&answer, &context.meta().await, context.settings())
            .map_err(|cause| CliError::internal("the answer cannot be written as JSON", cause))?;
        let text = if is_screen() { redrawn(&text) } else { text };
        match write(&text) {
            Written::All => {}
            Written::Closed => return Ok(Watched::until(Exit::Done)),
            Written::Failed(exit) => return Ok(Watched::until(exit)),
        }
        if !is_screen() && context.settings().format == Format::Table {
            return watch::lines(context, stream).await;
        }
        let change = async {
            tokio::time::sleep(PAUSE).await;
            if stream.ready().is_none() {
                tokio::select! {
                    next = watch::next(context, &mut stream) => drop(next?),
                    // Ages grow although nothing happens.
                    () = tokio::time::sleep(AGES), if is_screen() => {}
                }
            }
            while stream.ready().is_some() {}
            Ok::<_, CliError>(())
        };
        tokio::select! {
            changed = change => changed?,
            signal = signals.next() => return Ok(Watched::until(Exit::Signal(signal))),
            () = &mut gone => return Ok(Watched::until(Exit::Done)),
        }
    }
}

/// A page over the one before: each line to its end, and nothing of the old page below. Without a blank in between it
/// does not flicker.
fn redrawn(text: &str) -> String {
    format!("\u{1b}[H{}\u{1b}[J", text.replace('\n', "\u{1b}[K\n"))
}

async fn look(context: &Context) -> Result<View, CliError> {
    let store = context.store().await?;
    let agents = store.agents().list(false).await?;
    let hung: Vec<Suspect> = agents.iter().filter_map(|a| Suspect::of(a, limits::HUNG_THRESHOLD)).collect();
    let pending = store.approvals().list(Some(ApprovalStatus::Pending)).await?;
    let state = store.state().await?;
    let serving = &context.connection().await?.opened().await?.serving;
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    Ok(View {
        locks: Locks { held: agents.iter().map(|a| a.locks).sum(), waiting: count(state.counts.lock_waiters) },
        agents: agents.into_iter().map(AgentView::from).collect(),
        tasks: Tasks::of(&state.counts),
        approvals: Approvals { pending: pending.into_iter().map(Pending::from).collect() },
        audit: Audit { entries: state.audit, sealed: state.sealed },
        hung: hung.into_iter().map(SuspectView::from).collect(),
        engine: engine(serving),
    })
}

/// What serves, and whether that is second best.
fn engine(serving: &Serving) -> String {
    match (&serving.redis, serving.degraded) {
        (Some(url), true) => format!("files, degraded: {url} was asked for ({})", why(serving)),
        (Some(url), false) if serving.protected => format!("{} at {url}", serving.engine.word()),
        (Some(url), false) => format!("{} at {url}, without fallback", serving.engine.word()),
        (None, _) => format!("{} (no Redis configured)", serving.engine.word()),
    }
}

fn why(serving: &Serving) -> &str {
    match (&serving.by_hand, &serving.reason) {
        (Some(_), _) => "moved by hand",
        (None, Some(reason)) => reason,
        (None, None) => "it was not there at first",
    }
}
