//! `agents evict`: a person ends an agent that hangs.

use agentcoord::audit::Entry;
use agentcoord::core::agent::EvictAgent;
use agentcoord::core::op::Actor;
use agentcoord::core::store::Backend;

use super::show::{self, View};
use crate::context::Context;
use crate::error::CliError;
use crate::fence;
use crate::identity::human;

/// Whom, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A name, an id, or a unique id prefix
    agent: String,
    /// Why; the agent reads it, and the audit log keeps it
    #[arg(short = 'm', long, value_name = "TEXT")]
    reason: String,
    /// Your name; nothing: the login name
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// Evicts.
///
/// # Errors
/// `HUMANS_ONLY` in an agent's shell, `NOT_FOUND`, `AMBIGUOUS`, and `WRONG_STATE` when the agent has ended already.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    fence::people_only("agents evict")?;
    let agent = context.store().await?.agents().find(&args.agent).await?;
    let by = human(args.by.as_deref());
    let about = format!("agent {} ({})", agent.name, agent.key);
    let audit = Entry::new(format!("human:{by}"), "eviction", about, &args.reason).encode()?;
    let body = EvictAgent { session: None, agent: Some(agent.key.clone()), reason: args.reason, audit };
    context.connection().await?.run(&Actor::Human(by), body).await?;
    show::of(context, &agent.key).await
}
