//! `tasks work`: claims tasks and runs a command for each.
//!
//! What it claims belongs to this process: to a child session of the calling agent, or to an anonymous agent named
//! after the command. However this process ends, its tasks go back to their place in the queue.

mod job;

use std::sync::Arc;
use std::time::Duration;

use agentcoord::{CoordinationClient, Worked};
use serde::Serialize;

use self::job::{Crew, Order};
use crate::commands::run::surroundings;
use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::exit::Exit;
use crate::identity::{Unknown, maybe};
use crate::output::{self, Page, Render};
use crate::process::{self, Signals};

/// Which tasks, and what to run.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
CMD gets the task as one JSON object on stdin, the same as in `tasks show --json`, and in its environment:

- AGENTCOORD_TASK: the same object; without description and payload when it has more than 100 KiB
- AGENTCOORD_TASK_ID: the task's id, as in `agentcoord tasks progress $AGENTCOORD_TASK_ID -m \"half way\"`
- AGENTCOORD_FENCE: the fencing token of the claim, for resources that check it; it is no lock, so AGENTCOORD_FENCE_NAMESPACE \
is not set

Its exit code decides: 0 done; the code of --fatal failed for good; any other, or a signal, failed, and tried again while \
the task has attempts. The last line on its stderr is the reason. A CMD that cannot be started puts its task back, and the \
worker ends with 126 or 127.

The first SIGINT, SIGTERM or SIGHUP: no more is claimed, and what runs is finished. The second is passed on to the \
commands; what has not ended after 5 s, or at the third, is killed, and unfinished tasks go back. The exit code then is \
128 + the first signal. A command whose claim is over (lease ended, task cancelled, session lost) is killed. Each CMD is \
a process group of its own; what it leaves behind in that group ends with it.")]
pub(crate) struct Args {
    /// With this tag; with several, any of them
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// How many tasks at a time
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: u16,
    /// Something the command can do; tasks may require it
    #[arg(long = "capability", value_name = "WORD")]
    capabilities: Vec<String>,
    /// How long one task may take unless extended; nothing: the task's own lease, else without limit
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive, allow_hyphen_values = true)]
    lease: Option<Duration>,
    /// End after so many tasks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// End when there is nothing to claim
    #[arg(long)]
    until_empty: bool,
    /// What CMD writes to stdout is the task's result: as JSON if it is JSON, else as text
    #[arg(long)]
    result: bool,
    /// The exit code that says that no other attempt will help
    #[arg(long, value_name = "CODE", default_value_t = 65, value_parser = clap::value_parser!(u8).range(1..))]
    fatal: u8,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// What was done. Stdout belongs to the commands, unless their output became results.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    #[serde(flatten)]
    worked: Worked,
    #[serde(skip)]
    exit: Option<Exit>,
    #[serde(skip)]
    silent: bool,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        page.line(summary(&self.worked));
    }

    fn exit(&self) -> Exit {
        self.exit.unwrap_or(Exit::Done)
    }

    fn silent(&self) -> bool {
        self.silent
    }
}

fn summary(worked: &Worked) -> String {
    let Worked { completed, failed, released, lost } = worked;
    let mut parts = vec![format!("{completed} done")];
    for (count, what) in [(failed, "failed"), (released, "put back"), (lost, "lost")] {
        if *count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    parts.join(", ")
}

/// Works.
///
/// # Errors
/// `STALE` when the session was lost, and its tasks with it; `INVALID` for tags that are none.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    if let Some(name) = context.settings().value("agent").filter(|_| !args.capabilities.is_empty()) {
        let message = format!("--capability is for a worker without an agent: {name} has its own");
        let command = "agentcoord agents register --capability WORD";
        return Err(CliError::invalid(message).next("register it with more", command));
    }
    let signals = Signals::of_ending()?;
    let connection = context.staying().await?;
    let parent = maybe(context, Unknown::Register).await?;
    let name = parent.as_ref().map_or_else(|| process::name_of(&args.command), |p| p.name.clone());
    let mut session = CoordinationClient::session("worker", name).dir(&context.settings().cwd);
    if let Some(parent) = &parent {
        session = session.parent(parent.session.clone());
    }
    for capability in args.capabilities {
        session = session.capability(capability);
    }
    let client = session.on(connection.clone()).await?;
    let directory = context.settings().cwd.clone();
    let (crew, orders) = Crew::new(args.command, directory, surroundings(context, &client), args.result, args.fatal);
    let crew = Arc::new(crew);
    let listening = tokio::spawn(Arc::clone(&crew).listen(signals));
    let mut worker = client.worker(args.tags).concurrency(args.concurrency.into());
    if let Some(lease) = args.lease {
        worker = worker.lease(lease);
    }
    if let Some(tasks) = args.limit {
        worker = worker.limit(tasks);
    }
    if args.until_empty {
        worker = worker.until_empty();
    }
    let (stop, release) = (orders.clone(), orders.clone());
    let at_work = Arc::clone(&crew);
    let outcome = worker
        .until(async move { Order::Finish.given(stop).await })
        .release_when(async move { Order::Release.given(release).await })
        .run(move |task| Arc::clone(&at_work).perform(task))
        .await;
    listening.abort();
    if let Err(error) = client.close().await {
        output::complain(&format!("warning: what was claimed goes back with its session, because {error}\n"));
    }
    let worked = outcome?;
    if !args.result && !context.settings().quiet {
        output::complain(&format!("{}\n", summary(&worked)));
    }
    Ok(View { worked, exit: crew.exit(), silent: !args.result })
}
