//! `agents register`: introduces a shell agent, or continues one of the same name and host session.

use std::collections::BTreeSet;

use agentcoord::Error;
use agentcoord::core::agent::{Identity, ProcessIdentity};
use agentcoord::core::ids::Id;
use agentcoord::process::{self, Liveness};
use serde_json::json;

use super::show::{self, View};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::identity::{host_key, register, shell_agent};

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
    /// What the agent does, as in "Engineer" [default: agent]
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
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
/// `INVALID` for names that cannot be; `REFUSED` when it is here already with another role or other capabilities.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let named = args.name.clone().or_else(|| context.settings().value("agent").map(ToOwned::to_owned));
    let name = named.unwrap_or_else(made_up);
    let here = context.store().await?.agent_known_as(&name, &host_key()).await?;
    if let Some(here) = here.filter(|here| here.is_live && args.asks_for_another(here)) {
        return Err(unchangeable(&here));
    }
    let mut body = shell_agent(&name, args.role.as_deref().unwrap_or("agent"));
    body.capabilities = args.capabilities;
    body.working_on = args.working_on;
    body.process = args.watch_pid.map(watched).transpose()?;
    let caller = register(context.connection().await?, body).await?;
    show::of(context, &caller.agent).await
}

impl Args {
    /// Whether the role or the capabilities are not those of this agent.
    fn asks_for_another(&self, here: &Identity) -> bool {
        let words = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
        let has_another_role = self.role.as_ref().is_some_and(|role| *role != here.role);
        has_another_role || !self.capabilities.is_empty() && words(&self.capabilities) != words(&here.capabilities)
    }
}

/// An agent keeps the role and the capabilities with which its session began.
fn unchangeable(here: &Identity) -> CliError {
    let can = if here.capabilities.is_empty() { "none".to_owned() } else { here.capabilities.join(", ") };
    let Identity { key, name, role, .. } = here;
    let message = format!("{name} is here already: role {role}, capabilities {can}; both stay until its session ends");
    CliError::new(Exit::Refused, "REFUSED", message)
        .details(json!({"agent": key, "role": role, "capabilities": here.capabilities}))
        .next("end the session, with all it holds", format!("agentcoord --as {key} agents deregister"))
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
