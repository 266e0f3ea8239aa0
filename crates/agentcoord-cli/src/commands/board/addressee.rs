//! Whom a message is for, as it is typed, and the error for somebody whom nobody knows.

use agentcoord::core::board::{PostMessage, Posted, address};
use agentcoord::core::op::{Actor, Verb};
use agentcoord::core::store::Backend;
use agentcoord::{Error, Noun};
use serde_json::json;

use crate::context::Context;
use crate::error::CliError;
use crate::output::text::shell;
use crate::suggest;

/// An address for clap: the @ before it is for people.
///
/// # Errors
/// A sentence for people.
pub(super) fn parse(typed: &str) -> Result<String, String> {
    let address = address::plain(typed);
    if address::split(&address).1.is_empty() {
        return Err("expected @NAME, agent:NAME, role:ROLE or human:NAME".to_owned());
    }
    Ok(address)
}

/// Posts, and explains who an unknown addressee may be.
///
/// # Errors
/// Those of the verb.
pub(super) async fn send<V: Verb<Reply = Posted>>(
    context: &Context,
    actor: &Actor,
    body: V,
) -> Result<Posted, CliError> {
    match context.connection().await?.run(actor, body).await {
        Ok(posted) => Ok(posted),
        Err(error) => Err(explained(context, error).await),
    }
}

/// Appends a message and perhaps moves the thread on.
///
/// # Errors
/// As [`send`].
pub(super) async fn say(context: &Context, actor: &Actor, body: PostMessage) -> Result<Posted, CliError> {
    send(context, actor, body.seal()).await
}

async fn explained(context: &Context, error: Error) -> CliError {
    let Error::NotFound { noun: Noun::Agent, id } = &error else { return error.into() };
    let id = id.clone();
    let name = address::split(&id).1.to_owned();
    let message = format!("nobody goes by `{id}`: no agent of that name is known, and nobody here has such a role");
    let failure = CliError { message, ..CliError::from(error) };
    let agents = match context.store().await {
        Ok(store) => store.agents().list(true).await.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let known = agents.iter().flat_map(|agent| [agent.name.as_str(), agent.role.as_str()]);
    let failure = match suggest::nearest(&name, known) {
        Some(near) => CliError { details: json!({"noun": "agent", "id": id, "did_you_mean": near}), ..failure }
            .next("did you mean", format!("--to {}", shell(&format!("@{near}")))),
        None => failure,
    };
    failure.next("a person", format!("--to {}", shell(&format!("human:{name}"))))
}
