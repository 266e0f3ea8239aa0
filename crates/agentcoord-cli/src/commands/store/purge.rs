//! `store purge`: deletes a namespace with everything in it.

use agentcoord::core::record::Counts;
use agentcoord::{Extent, Purge, Purged};
use serde::Serialize;
use serde_json::json;

use crate::config::{Origin, Settings};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::fence;
use crate::output::text::shell;
use crate::output::{Page, Render};

/// The flag that must name the namespace.
const NAMED_BY: &str = "--namespace";

/// How sure the caller is.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The namespace is named by the flag --namespace, whatever environment and files say. On Redis all its keys \
go and no others; its directory below the state directory goes, too. There is no way back: `agentcoord export` writes down what \
is there. Refused while an agent's session lives. A purge that was cut off is finished by the next one; until then the namespace \
serves nobody."
)]
pub(crate) struct Args {
    /// Delete; without it nothing happens, and the error says what would go
    #[arg(long)]
    yes: bool,
}

/// What was deleted.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    namespace: String,
    keys: u64,
    redis: Option<String>,
    directory: String,
}

impl From<Purged> for View {
    fn from(purged: Purged) -> Self {
        let Purged { namespace, keys, redis, directory } = purged;
        Self { namespace, keys, redis, directory: directory.display().to_string() }
    }
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        let Self { namespace, keys, redis, directory } = self;
        page.line(match redis {
            Some(url) => format!("deleted: namespace {namespace}, {keys} keys in {url}, and {directory}"),
            None => format!("deleted: namespace {namespace}, and {directory}"),
        });
    }

    fn ids(&self) -> Vec<String> {
        vec![self.namespace.clone()]
    }
}

/// Deletes the namespace that the flag names.
///
/// # Errors
/// `HUMANS_ONLY` in an agent's shell; `UNCONFIRMED` without `--yes`; `REFUSED` while a session lives.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    fence::people_only("store purge")?;
    let name = named(context.settings())?;
    let purge = Purge::of(context.settings().connection())?;
    if !args.yes {
        return Err(unconfirmed(&name, &purge.extent().await?));
    }
    let purged = purge.run().await.map_err(|error| {
        let error = CliError::from(error);
        let who = format!("agentcoord status {NAMED_BY} {}", shell(&name));
        if error.code == "REFUSED" { error.next("who is here", who) } else { error }
    })?;
    Ok(purged.into())
}

/// The namespace, as long as it was typed: what stands in the environment or a file is not what one thinks of.
fn named(settings: &Settings) -> Result<String, CliError> {
    let setting = settings.all.iter().find(|setting| setting.key == "namespace");
    match setting.and_then(|setting| Some((setting.value.as_deref()?, &setting.origin))) {
        Some((name, Origin::Flag(_))) => Ok(name.to_owned()),
        found => {
            let message = format!("`store purge` deletes only the namespace that {NAMED_BY} names");
            let name = found.map_or("NAME", |(name, _)| name);
            let command = format!("agentcoord store purge {NAMED_BY} {} --yes", shell(name));
            Err(CliError::invalid(message).next("to delete one", command))
        }
    }
}

/// The error that says what would go.
fn unconfirmed(name: &str, extent: &Extent) -> CliError {
    let Counts { threads, approvals, sessions, .. } = extent.counts;
    let tasks = tasks(&extent.counts);
    let dir = extent.directory.display().to_string();
    let place = match &extent.redis {
        Some(url) => format!("all its keys in {url}, and {dir}"),
        None => dir.clone(),
    };
    let message = format!(
        "this would delete namespace {name} for good, with {tasks} tasks, {threads} threads, {approvals} approvals, its \
audit log and the history of its events: {place}"
    );
    let details = json!({
        "namespace": name, "engine": extent.engine.word(), "redis": extent.redis, "directory": dir,
        "tasks": tasks, "threads": threads, "approvals": approvals, "sessions": sessions,
    });
    let command = format!("agentcoord store purge {NAMED_BY} {} --yes", shell(name));
    CliError::new(Exit::Refused, "UNCONFIRMED", message).details(details).next("to delete it", command)
}

fn tasks(counts: &Counts) -> i64 {
    let Counts { blocked, scheduled, pending, claimed, in_progress, completed, failed, cancelled, dead, .. } = *counts;
    blocked + scheduled + pending + claimed + in_progress + completed + failed + cancelled + dead
}
