//! `locks acquire`: takes files for a shell agent, all or none.

use std::time::Duration;

use agentcoord::core::lock::{AcquireLock, LockMode};
use serde::Serialize;

use super::view::{GrantView, granted};
use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::identity::{Unknown, caller};
use crate::output::{Page, Render};

/// What to take, and how long to wait for it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Paths in the worktree (`src/` with everything below it, '*.rs' as the files that are there), or @names
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    /// Queue for so long; 0 refuses at once
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration::parse, allow_hyphen_values = true)]
    wait: Duration,
    /// The lock ends after so long unless renewed
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration::parse_positive)]
    #[arg(allow_hyphen_values = true)]
    ttl: Duration,
    /// Share the files with others that share them
    #[arg(long)]
    shared: bool,
    /// Why; shown to whoever is in the way
    #[arg(short = 'm', long, value_name = "TEXT")]
    intent: Option<String>,
}

/// The grant.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct View {
    grant: GrantView,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        self.grant.table(if self.grant.reacquired { "already yours:" } else { "locked" }, page);
    }

    fn ids(&self) -> Vec<String> {
        vec![self.grant.handle.clone()]
    }
}

/// Takes the files.
///
/// # Errors
/// `LOCK_HELD` with who is in the way; `INVALID` for what is no path.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    // Bad paths are refused before anybody is registered.
    let paths = context.lock_paths(&args.paths)?;
    let mut body = AcquireLock::new(paths);
    body.intent = args.intent;
    if args.shared {
        body.mode = LockMode::Shared;
    }
    body.ttl = Some(duration::millis(args.ttl));
    body.wait = Some(duration::millis(args.wait));
    agentcoord::core::op::Verb::validate(&body)?;
    let caller = caller(context, Unknown::Register).await?;
    let connection = context.connection().await?;
    let outcome = if args.wait.is_zero() {
        connection.acquire(&caller.actor, body).await?
    } else {
        crate::logging::start(context.settings().verbose);
        context.interruptible(connection.acquire(&caller.actor, body)).await?
    };
    granted(context, outcome, &args.paths).await.map(|grant| View { grant })
}
