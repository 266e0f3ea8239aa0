//! `store prune`: forgets what came to an end long ago.

use std::time::Duration;

use agentcoord::core::history::{PruneHistory, Pruned};
use serde::Serialize;

use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::fence;
use crate::output::{Page, Render};
use crate::principal;

/// What to keep.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Final are completed, failed, dead and cancelled tasks, resolved threads with their messages, decided \
approvals and ended sessions; an agent goes with its last session. The audit log stays. While agents are at work this happens \
in the background by itself, as the settings `retention` and `retained` say (AGENTCOORD_RETENTION, AGENTCOORD_RETAINED, or \
.agentcoord/config.toml)."
)]
pub(crate) struct Args {
    /// Forget what has been final for so long [default: the setting `retention`, 7d]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, allow_hyphen_values = true)]
    older_than: Option<Duration>,
    /// Of tasks, threads, approvals and sessions each, keep the newest N at most [default: the setting `retained`, 100000]
    #[arg(long, value_name = "N")]
    keep: Option<u64>,
}

/// What was forgotten.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    tasks: u64,
    threads: u64,
    approvals: u64,
    sessions: u64,
    agents: u64,
}

impl From<Pruned> for View {
    fn from(pruned: Pruned) -> Self {
        let Pruned { tasks, threads, approvals, sessions, agents, .. } = pruned;
        Self { tasks, threads, approvals, sessions, agents }
    }
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        let Self { tasks, threads, approvals, sessions, agents } = self;
        page.line(format!(
            "forgotten: {tasks} tasks, {threads} threads, {approvals} approvals, {sessions} sessions, {agents} agents"
        ));
    }
}

/// Prunes, in bounded steps, until nothing more is to be forgotten.
///
/// # Errors
/// `HUMANS_ONLY` in an agent's shell.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    fence::people_only("store prune")?;
    let actor = principal::person(None)?;
    let set = context.settings().retention;
    let older_than = args.older_than.map_or(set.older_than, duration::millis);
    let body = PruneHistory { older_than, keep: args.keep.unwrap_or(set.keep) };
    let connection = context.connection().await?;
    let mut pruned = Pruned::default();
    loop {
        pruned.add(&connection.run(&actor, body).await?);
        if !pruned.more {
            return Ok(pruned.into());
        }
    }
}
