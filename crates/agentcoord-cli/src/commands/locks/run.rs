//! `locks run`: holds files for the length of one command.
//!
//! What it holds belongs to this process: to a child session of the calling agent, or to an anonymous agent named
//! after the command. However this process ends, the files are free again.

use std::time::Duration;

use agentcoord::core::ids::Token;
use agentcoord::core::lock::{AcquireLock, LockMode, ReleaseLock};
use agentcoord::core::op::Actor;
use agentcoord::{CoordinationClient, Error};

use super::view::granted;
use crate::commands::run::View;
use crate::context::{Context, FENCE, FENCE_NAMESPACE};
use crate::duration;
use crate::error::CliError;
use crate::exit::Exit;
use crate::identity::{Unknown, maybe};
use crate::output;
use crate::process::{self, Signals};

/// What to hold, and what to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Paths in the worktree (`src/` with everything below it, '*.rs' as the files that are there), or @names
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    /// Queue for so long; nothing: as long as it takes
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, allow_hyphen_values = true)]
    wait: Option<Duration>,
    /// Exit code when the files were not free in time
    #[arg(short = 'E', long, value_name = "CODE", default_value_t = 4)]
    conflict_exit_code: u8,
    /// Share the files with others that share them
    #[arg(long)]
    shared: bool,
    /// Why; shown to whoever is in the way
    #[arg(short = 'm', long, value_name = "TEXT")]
    intent: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// `LOCK_HELD` when the files were not free in time; the command is not started then.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let paths = context.lock_paths(&args.paths)?;
    let mut body = AcquireLock::new(paths);
    body.intent = args.intent.clone();
    if args.shared {
        body.mode = LockMode::Shared;
    }
    body.wait = args.wait.map(duration::millis);
    agentcoord::core::op::Verb::validate(&body)?;
    let connection = context.staying().await?;
    let parent = maybe(context, Unknown::Register).await?;
    let name = parent.as_ref().map_or_else(|| process::name_of(&args.command), |p| p.name.clone());
    let mut session = CoordinationClient::session("command", name).dir(&context.settings().cwd);
    if let Some(parent) = &parent {
        session = session.parent(parent.session.clone());
    }
    let client = session.on(connection.clone()).await?;
    let outcome = hold(context, &client, body, &args).await;
    if let Err(error) = client.close().await {
        output::complain(&format!("warning: what was held ends with its session, because {error}\n"));
    }
    outcome.map(View::ended)
}

async fn hold(
    context: &Context,
    client: &CoordinationClient,
    body: AcquireLock,
    args: &Args,
) -> Result<Exit, CliError> {
    let connection = context.connection().await?;
    let actor = Actor::Session(client.session_id().clone());
    // Caught from here on, so that a signal between the grant and the command's start reaches the command.
    let mut signals = Signals::of_forwarding()?;
    let outcome = context.interruptible(connection.acquire(&actor, body)).await?;
    let grant = granted(context, outcome, &args.paths).await.map_err(|error| match error.code {
        "LOCK_HELD" => CliError { exit: Exit::Code(args.conflict_exit_code), ..error },
        _ => error,
    })?;
    let mut command = process::command(&args.command);
    command.current_dir(&context.settings().cwd);
    command.env(FENCE, grant.token.to_string()).env(FENCE_NAMESPACE, connection.namespace());
    let exit = process::supervise(command, &mut signals).await;
    let body = ReleaseLock { token: Token(grant.token), paths: Vec::new() };
    match connection.run(&actor, body).await {
        Ok(_) => {}
        Err(Error::Stale { .. }) => {
            output::complain("warning: the lock was lost while the command ran: others may have written as well\n");
        }
        Err(error) => output::complain(&format!("warning: the lock ends with its session, because {error}\n")),
    }
    Ok(exit)
}
