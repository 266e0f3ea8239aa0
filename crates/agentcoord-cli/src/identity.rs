//! Who is calling: the agent and session in whose name a command acts.
//!
//! 1. A shell below `agentcoord run` or `tasks work` acts as that session: `AGENTCOORD_SESSION` names it.
//! 2. Otherwise `--as`, or `AGENTCOORD_AGENT`, names a shell agent. It is known by its name and the host session it
//!    belongs to, so that two conversations under one name are two agents.
//! 3. A name that nobody has is registered on the spot by verbs that begin something, and not found by all others.

use agentcoord::core::agent::{Identity, Register, SessionKind};
use agentcoord::core::ids::{Id, IdPrefix, SHORT_ID};
use agentcoord::core::limits;
use agentcoord::core::op::Actor;
use agentcoord::core::store::Backend;
use agentcoord::{Connection, Error, Noun, Store};
use serde_json::json;

use crate::config::variable;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::text::shell;
use crate::suggest;

/// Session ids of known coding agents, by their variables.
const HOST_SESSIONS: &[&str] = &["CLAUDE_CODE_SESSION_ID", "CODEX_THREAD_ID", "GEMINI_SESSION_ID"];

/// What a verb does when nobody goes by the caller's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// It begins something: the name is registered.
    Register,
    /// It goes on with something: that cannot be.
    NotFound,
}

/// The agent that acts.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Who acts, for the engine.
    pub(crate) actor: Actor,
    /// The session.
    pub(crate) session: Id,
    /// The agent's short id.
    pub(crate) agent: String,
    /// The agent's name.
    pub(crate) name: String,
}

impl Caller {
    fn new(session: Id, agent: String, name: String) -> Self {
        Self { actor: Actor::Session(session.clone()), session, agent, name }
    }

    fn of(agent: Identity) -> Self {
        Self::new(agent.session, agent.key, agent.name)
    }
}

/// What the host's session is known by, empty when there is none.
pub(crate) fn host_key() -> String {
    let names = std::iter::once("AGENTCOORD_SESSION").chain(HOST_SESSIONS.iter().copied());
    names.filter_map(variable).next().unwrap_or_default()
}

/// A person's name: `--by`, else the login name.
pub(crate) fn human(by: Option<&str>) -> String {
    let login = || variable("LOGNAME").or_else(|| variable("USER"));
    let uid = || format!("uid-{}", rustix::process::getuid().as_raw());
    by.map(ToOwned::to_owned).or_else(login).unwrap_or_else(uid)
}

/// The calling agent.
///
/// # Errors
/// `NO_AGENT` when nobody says who is calling; `NOT_FOUND` and `AMBIGUOUS` as the verb demands.
pub(crate) async fn caller(context: &Context, unknown: Unknown) -> Result<Caller, CliError> {
    match maybe(context, unknown).await? {
        Some(caller) => Ok(caller),
        None => Err(CliError::new(Exit::Invalid, "NO_AGENT", "this needs an agent, and nothing says which one calls")
            .next("name it once", "export AGENTCOORD_AGENT=NAME")
            .next("or each time", "agentcoord --as NAME ...")),
    }
}

/// The calling agent, if anything says who that is.
///
/// # Errors
/// As [`caller`], except `NO_AGENT`.
pub(crate) async fn maybe(context: &Context, unknown: Unknown) -> Result<Option<Caller>, CliError> {
    let connection = context.connection().await?;
    let store = connection.store().await?;
    let named = context.settings().value("agent");
    if let Some(caller) = parent_session(&store, named).await? {
        return Ok(Some(caller));
    }
    let Some(name) = named else { return Ok(None) };
    let key = host_key();
    if let Some(agent) = by_name(&store, name, &key, unknown).await? {
        // Verbs that begin something also continue an agent whose session has ended; the registration does that.
        if unknown == Unknown::NotFound || agent.is_live {
            return Ok(Some(Caller::of(agent)));
        }
    }
    match unknown {
        Unknown::Register => {
            let body = shell_agent(name, "agent");
            register(connection, body).await.map(Some)
        }
        Unknown::NotFound => Err(nobody(&store, name).await?),
    }
}

/// The registration of a shell agent.
pub(crate) fn shell_agent(name: &str, role: &str) -> Register {
    Register {
        agent: Id::random(),
        session: Id::random(),
        name: name.to_owned(),
        key: host_key(),
        role: role.to_owned(),
        working_on: None,
        capabilities: Vec::new(),
        host: agentcoord::machine_name(),
        process: None,
        kind: SessionKind::Shell,
        ttl: limits::SHELL_SESSION_TTL,
        parent: None,
        resume: true,
        metadata: None,
    }
}

/// Registers an agent.
///
/// # Errors
/// Those of the verb.
pub(crate) async fn register(connection: &Connection, body: Register) -> Result<Caller, CliError> {
    let registered = connection.run(&Actor::System, body).await?;
    Ok(Caller::new(registered.session, registered.agent, registered.name))
}

/// The session of `agentcoord run` or `tasks work` that this shell lives in.
async fn parent_session(store: &Store, named: Option<&str>) -> Result<Option<Caller>, CliError> {
    let exported = variable("AGENTCOORD_SESSION").and_then(|text| text.parse::<Id>().ok());
    let (Some(session), Some(name)) = (exported, variable("AGENTCOORD_AGENT")) else { return Ok(None) };
    if named.is_some_and(|named| named != name) {
        return Ok(None);
    }
    match store.session(&session).await? {
        Some(record) if record.name != name => Ok(None),
        Some(record) if record.ended_at.is_some() => {
            let id = session.to_string();
            Err(Error::Stale { noun: Noun::Session, id, owner: None, current: None }.into())
        }
        Some(record) => Ok(Some(Caller::new(session, record.agent, record.name))),
        None => Ok(None),
    }
}

/// The agent of a name in this host session, or of an id.
async fn by_name(store: &Store, name: &str, key: &str, unknown: Unknown) -> Result<Option<Identity>, CliError> {
    if let Some(agent) = store.agent_known_as(name, key).await? {
        return Ok(Some(agent));
    }
    let Ok(digits) = IdPrefix::parse("agent", name) else { return Ok(None) };
    // "ada" is a fine name: whoever begins something must type at least a short id to mean an id.
    if unknown == Unknown::Register && digits.as_str().len() < SHORT_ID {
        return Ok(None);
    }
    match store.agent(name).await {
        // The name of another host session's agent is not this one's, even if it looks like an id.
        Ok(agent) if agent.name == name => Ok(None),
        Ok(agent) => Ok(Some(agent)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The error for a name that nobody goes by here.
async fn nobody(store: &Store, name: &str) -> Result<CliError, CliError> {
    let agents = store.agents().list(false).await?;
    let error = CliError::from(Error::not_found(Noun::Agent, name));
    if let Some(other) = agents.iter().find(|a| a.name == name) {
        let message = format!("agent `{name}` belongs to another session than this shell");
        let error = CliError { message, ..error };
        return Ok(error.next("to act for it", format!("agentcoord --as {} ...", other.key)));
    }
    Ok(match suggest::nearest(name, agents.iter().map(|a| a.name.as_str())) {
        Some(near) => CliError { details: json!({"noun": "agent", "id": name, "did_you_mean": near}), ..error }
            .next("did you mean", format!("agentcoord --as {} ...", shell(near))),
        None => error,
    })
}
