//! `agents register`: introduces a shell agent, or continues one of the same name and host session.

use agentcoord::Error;
use agentcoord::core::agent::ProcessIdentity;
use agentcoord::core::ids::Id;
use agentcoord::process::{self, Liveness};

use super::show::{self, View};
use crate::context::Context;
use crate::error::CliError;
use crate::identity::{register, shell_agent};

/// First halves of made-up names.
const MANNERS: [&str; 16] = [
    "brave", "calm", "clear", "eager", "fair", "fast", "gentle", "keen", "kind", "lucid", "merry", "neat", "quick",
    "steady", "swift", "wise",
];
/// Second halves of made-up names.
const BIRDS: [&str; 16] = [
    "crane", "dove", "eagle", "falcon", "finch", "heron", "ibis", "jay", "lark", "magpie", "osprey", "owl", "raven",
    "robin", "swan", "wren",
];

/// Who it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The name; nothing: that of --as, or a made-up one
    name: Option<String>,
    /// What the agent does, as in "Engineer"
    #[arg(long, value_name = "ROLE", default_value = "agent")]
    role: String,
    /// Something it can do; tasks may require it
    #[arg(long = "capability", value_name = "WORD")]
    capabilities: Vec<String>,
    /// What it works on
    #[arg(long, value_name = "TEXT")]
    working_on: Option<String>,
    /// The process that the agent lives with, as in $PPID: when it ends, so does the session
    #[arg(long, value_name = "PID")]
    watch_pid: Option<u32>,
}

/// Registers.
///
/// # Errors
/// `INVALID` for names that cannot be.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let named = args.name.or_else(|| context.settings().value("agent").map(ToOwned::to_owned));
    let mut body = shell_agent(&named.unwrap_or_else(made_up), &args.role);
    body.capabilities = args.capabilities;
    body.working_on = args.working_on;
    body.process = args.watch_pid.map(watched).transpose()?;
    let caller = register(context.connection().await?, body).await?;
    show::of(context, &caller.agent).await
}

/// The process of a number. One that has ended would end the session at once.
fn watched(pid: u32) -> Result<ProcessIdentity, CliError> {
    let found = process::of(pid).filter(|found| process::is_alive(found) == Liveness::Alive);
    Ok(found.ok_or_else(|| Error::invalid("watch-pid", pid.to_string(), "the number of a process that runs"))?)
}

/// A name that is easy to say; if it is taken the registry adds a number.
fn made_up() -> String {
    let id = Id::random();
    let pick = |at: usize, from: &[&'static str; 16]| {
        let digit = id.as_str().as_bytes().get(at).map_or(0, |b| char::from(*b).to_digit(16).unwrap_or(0));
        from[digit as usize % from.len()]
    };
    format!("{}-{}", pick(0, &MANNERS), pick(1, &BIRDS))
}
