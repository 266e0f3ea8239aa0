//! Who speaks, for verbs that agents and people share: the calling agent, else the person at the terminal.

use agentcoord::core::limits;
use agentcoord::core::op::Actor;

use crate::config::variable;
use crate::context::Context;
use crate::error::CliError;
use crate::fence;
use crate::identity::{self, Unknown};

/// The calling agent, or the person of this terminal.
///
/// # Errors
/// As [`identity::caller`]; `NO_AGENT` also when the shell is an agent's and does not say which: an agent never
/// speaks as a person.
pub(crate) async fn speaker(context: &Context, unknown: Unknown) -> Result<Actor, CliError> {
    match identity::maybe(context, unknown).await? {
        Some(caller) => Ok(caller.actor),
        None if fence::people_only("").is_ok() => person(None),
        None => Ok(identity::caller(context, unknown).await?.actor),
    }
}

/// The principal of an actor that [`speaker`] returned, as records name it.
///
/// # Errors
/// As [`identity::maybe`].
pub(crate) async fn name(context: &Context, actor: &Actor) -> Result<String, CliError> {
    Ok(match actor {
        Actor::Human(name) => format!("human:{name}"),
        Actor::System => "system".to_owned(),
        Actor::Session(id) => match identity::maybe(context, Unknown::NotFound).await? {
            Some(caller) => format!("agent:{}", caller.name),
            None => format!("session:{id}"),
        },
    })
}

/// Who sits at this shell, for what needs no session: the person, or the agent whose shell the environment says it is.
pub(crate) fn of_shell() -> String {
    match fence::people_only("") {
        Ok(()) => format!("human:{}", identity::human(None)),
        Err(_) => format!("agent:{}", variable("AGENTCOORD_AGENT").unwrap_or_else(|| "unnamed".to_owned())),
    }
}

/// A person, by the name given or the login name.
///
/// # Errors
/// `INVALID` for what cannot be a name.
pub(crate) fn person(by: Option<&str>) -> Result<Actor, CliError> {
    let name = identity::human(by);
    let fits = !name.is_empty() && name.trim() == name && name.len() <= limits::NAME_BYTES;
    if !fits || name.chars().any(char::is_control) {
        let allowed = format!("1 to {} bytes, no control characters, no blanks around it", limits::NAME_BYTES);
        return Err(CliError::invalid(format!("`{}` is no name of a person ({allowed})", name.escape_debug())));
    }
    Ok(Actor::Human(name))
}
