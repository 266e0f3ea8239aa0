//! `tasks add`.

use std::time::Duration;

use agentcoord::core::ids::IdPrefix;
use agentcoord::core::store::Backend;
use agentcoord::core::task::{Backoff, CreateTasks, NewTask};

use super::show;
use super::view::OneTask;
use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::identity::Unknown;
use crate::output::Stamp;
use crate::{input, moment, principal};

/// The task.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What is to be done, in one line
    title: String,
    /// More about it; - reads stdin
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    description: Option<String>,
    /// 1 to 5; 5 is claimed first
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u8).range(1..=5))]
    #[arg(allow_negative_numbers = true)]
    priority: u8,
    /// What it is about; claims name tags
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// A capability that the agent must have
    #[arg(long, value_name = "WORD")]
    requires: Vec<String>,
    /// A task that must be completed before; may be given several times
    #[arg(long, value_name = "ID")]
    depends_on: Vec<String>,
    /// Nobody gets it before: a time such as 2026-01-31T12:00:00Z, or so long from now
    #[arg(long, value_name = "TIME|DURATION", value_parser = moment::future, allow_hyphen_values = true)]
    not_before: Option<Stamp>,
    /// How often it may be attempted
    #[arg(long, value_name = "N")]
    max_attempts: Option<u32>,
    /// How long it rests after a failure [default: 1s]; twice as long after each further one, up to 10m. 0: not at all
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, allow_hyphen_values = true)]
    backoff: Option<Duration>,
    /// How long a claim lasts unless extended
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive, allow_hyphen_values = true)]
    lease: Option<Duration>,
    /// Facts for the agent, as JSON; @FILE reads a file, - reads stdin
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    payload: Option<String>,
    /// Idempotency key: the same key again is the same task, not another one
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// Adds a task.
///
/// # Errors
/// `INVALID` for bad input; `NOT_FOUND` when it depends on a task that is not there; `REFUSED` when the key was used for something else.
pub(crate) async fn run(context: &Context, args: Args) -> Result<OneTask, CliError> {
    let mut task = NewTask::titled(args.title);
    task.description = args.description.map(|typed| input::text("description", typed)).transpose()?;
    task.payload = args.payload.map(|typed| input::json(context, "payload", typed)).transpose()?;
    task.priority = args.priority;
    task.tags = args.tags;
    task.requires = args.requires;
    task.max_attempts = args.max_attempts.unwrap_or(task.max_attempts);
    task.lease = args.lease.map(duration::millis);
    task.backoff = args.backoff.map(|pause| Backoff::from_pause(duration::millis(pause)));
    task.not_before = args.not_before.map(|at| at.0);
    let ids: Result<Vec<_>, _> = args.depends_on.iter().map(|id| IdPrefix::parse("depends-on", id)).collect();
    task.depends_on = context.store().await?.tasks().keys(&ids?).await?;
    task.key = args.key;
    let actor = principal::speaker(context, Unknown::Register).await?;
    let created = context.connection().await?.run(&actor, CreateTasks::new(vec![task])).await?;
    let key = created.items.into_iter().next().map(|task| task.key).unwrap_or_default();
    Ok(OneTask::brief(show::of(context, &key).await?))
}
