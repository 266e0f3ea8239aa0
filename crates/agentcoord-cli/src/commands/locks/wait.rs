//! `locks wait`: until files are free, without taking them.

use std::time::Duration;

use agentcoord::CoordinationClient;
use agentcoord::core::lock::{Acquire, LockPath, WaitLock};
use agentcoord::core::op::Actor;
use agentcoord::core::store::Backend;
use serde::Serialize;

use super::view::granted;
use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::identity::{Unknown, maybe};
use crate::output::{self, Page, Render};

/// What to wait for, and how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Paths in the worktree (`src/` with everything below it, '*.rs' as the files that are there), or @names
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    /// Give up after so long; nothing: as long as it takes
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, allow_hyphen_values = true)]
    timeout: Option<Duration>,
}

/// What is free, or was at that moment: nobody else is kept from taking it.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    free: Vec<String>,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        for path in &self.free {
            page.line(format!("{path} is free"));
        }
    }

    fn ids(&self) -> Vec<String> {
        self.free.clone()
    }
}

/// Waits.
///
/// # Errors
/// `LOCK_HELD` with who is in the way when the files were not free in time, `DEADLOCK` when the holder waits for the
/// caller.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let paths = context.lock_paths(&args.paths)?;
    let mut body = WaitLock::new(paths.clone());
    body.wait = args.timeout.map(duration::millis);
    agentcoord::core::op::Verb::validate(&body)?;
    if !is_free(context, &paths).await? {
        match maybe(context, Unknown::Register).await? {
            Some(caller) => {
                crate::logging::start(context.settings().verbose);
                wait(context, &caller.actor, body, &args.paths).await?;
            }
            None => alone(context, body, &args.paths).await?,
        }
    }
    Ok(View { free: paths.iter().map(ToString::to_string).collect() })
}

/// Whether nobody is in the way at all; then nobody needs to be known.
async fn is_free(context: &Context, paths: &[LockPath]) -> Result<bool, CliError> {
    let store = context.store().await?;
    for path in paths {
        let around = store.locks().around(path).await?;
        if around.iter().any(|(_, state)| !state.holders.is_empty() || state.waiters.iter().any(|w| w.takes)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Waits as an anonymous agent, which ends with this process.
async fn alone(context: &Context, body: WaitLock, words: &[String]) -> Result<(), CliError> {
    let connection = context.staying().await?;
    let session = CoordinationClient::session("command", "locks wait").dir(&context.settings().cwd);
    let client = session.on(connection.clone()).await?;
    let actor = Actor::Session(client.session_id().clone());
    let outcome = wait(context, &actor, body, words).await;
    if let Err(error) = client.close().await {
        output::complain(&format!("warning: the wait ends with its session, because {error}\n"));
    }
    outcome
}

async fn wait(context: &Context, actor: &Actor, body: WaitLock, words: &[String]) -> Result<(), CliError> {
    let connection = context.connection().await?;
    match context.interruptible(connection.wait_free(actor, body)).await? {
        Acquire::Free => Ok(()),
        outcome => granted(context, outcome, words).await.map(drop),
    }
}
