//! `agents heartbeat`: a sign of life of a shell agent.

use agentcoord::core::agent::Heartbeat;
use serde::Serialize;

use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::identity::{Unknown, caller};
use crate::output::{Page, Render};

/// No arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args;

/// How long the session lives without another call.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    agent: String,
    name: String,
    ttl_s: u64,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        page.line(format!("{} lives for another {} without a call", self.name, duration::short(self.ttl_s * 1_000)));
    }

    fn ids(&self) -> Vec<String> {
        vec![self.agent.clone()]
    }
}

/// Beats.
///
/// # Errors
/// `NOT_FOUND` for an unknown agent, `STALE` when its session has ended.
pub(crate) async fn run(context: &Context, _: Args) -> Result<View, CliError> {
    let caller = caller(context, Unknown::NotFound).await?;
    // A person or a script that calls by hand has done something, unlike a background thread.
    let beat = context.connection().await?.run(&caller.actor, Heartbeat { progress: true }).await?;
    Ok(View { agent: caller.agent, name: caller.name, ttl_s: beat.ttl / 1_000 })
}
