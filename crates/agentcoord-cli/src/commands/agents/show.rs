//! `agents show`, and the answer of every verb that ends with one agent.

use agentcoord::core::store::Backend;
use serde::Serialize;

use super::view::{AgentView, fields};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Page, Render};

/// Whom to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A name, an id, or a unique id prefix
    agent: String,
}

/// One agent.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    agent: AgentView,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        fields(&self.agent, page);
    }

    fn ids(&self) -> Vec<String> {
        vec![self.agent.id.clone()]
    }
}

/// Shows an agent.
///
/// # Errors
/// `NOT_FOUND`, `AMBIGUOUS`.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    of(context, &args.agent).await
}

/// The agent of an id.
///
/// # Errors
/// As [`run`].
pub(super) async fn of(context: &Context, agent: &str) -> Result<View, CliError> {
    let agent = context.store().await?.agents().find(agent).await?;
    Ok(View { agent: agent.into() })
}
