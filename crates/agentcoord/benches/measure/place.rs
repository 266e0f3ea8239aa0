//! Workspaces that exist for a measurement only.

use std::path::Path;
use std::time::Duration;

use agentcoord::core::agent::{Register, SessionKind};
use agentcoord::core::ids::Id;
use agentcoord::core::limits;
use agentcoord::core::op::Actor;
use agentcoord::{Approvers, BackendChoice, Config, Connection, CoordinationClient, Durability, Style};

use crate::Outcome;
use crate::arguments::Arguments;
use crate::tasks::Caller;

/// Longer than any measurement.
const NEVER: Duration = Duration::from_secs(24 * 3_600);

/// A session in a workspace of its own below `--dir`, on the Redis that `--redis` names.
pub(crate) async fn on_redis(arguments: &Arguments) -> Outcome<CoordinationClient> {
    session(redis(arguments, "only")?, "measurer").await
}

/// A session in a workspace of its own below `--dir`, on files, in the class that `--class` names.
pub(crate) async fn on_files(arguments: &Arguments) -> Outcome<CoordinationClient> {
    session(files(arguments, "only")?, "measurer").await
}

/// A session of an agent in one of several workspaces below `--dir`, on the engine that `--engine` names.
pub(crate) async fn at(arguments: &Arguments, workspace: &str, agent: &str) -> Outcome<CoordinationClient> {
    session(config_at(arguments, workspace)?, agent).await
}

/// A session in the only workspace, on the engine that `--engine` names, that trusts these approvers.
pub(crate) async fn trusting(
    arguments: &Arguments,
    agent: &str,
    approvers: Option<Approvers>,
) -> Outcome<CoordinationClient> {
    session(Config { approvers, ..config_at(arguments, "only")? }, agent).await
}

/// As [`at`], on an engine that is named.
pub(crate) async fn on(
    arguments: &Arguments,
    engine: &str,
    workspace: &str,
    agent: &str,
) -> Outcome<CoordinationClient> {
    session(config_on(arguments, engine, workspace)?, agent).await
}

/// A session in a workspace that works on a Redis of the measurement's own while it is there, else on files.
pub(crate) async fn waiting_for(arguments: &Arguments, url: &str, workspace: &str) -> Outcome<CoordinationClient> {
    session(fallback(arguments, url, workspace)?, "measurer").await
}

/// As [`waiting_for`], but by itself it never goes back.
pub(crate) async fn falling_back(arguments: &Arguments, url: &str, workspace: &str) -> Outcome<CoordinationClient> {
    session(Config { return_after: NEVER, ..fallback(arguments, url, workspace)? }, "measurer").await
}

/// A connection to one of several workspaces, as [`at`], but without a session: it brings no keeper.
pub(crate) async fn without_session(arguments: &Arguments, workspace: &str) -> Outcome<Connection> {
    Ok(Connection::open(config_at(arguments, workspace)?, Style::LongRunning).await?)
}

/// A caller as the command line is one: without threads, with a session that need not say that it lives.
pub(crate) async fn command(arguments: &Arguments, workspace: &str) -> Outcome<Caller> {
    let connection = Connection::open(files(arguments, workspace)?, Style::OneShot).await?;
    let actor = register(&connection).await?;
    Ok(Caller::new(connection, actor))
}

/// A session that need not say that it lives.
pub(crate) async fn register(connection: &Connection) -> Outcome<Actor> {
    let session = Id::random();
    let register = Register {
        agent: Id::random(),
        session: session.clone(),
        name: format!("agent-{session}"),
        key: String::new(),
        role: "Measurer".to_owned(),
        working_on: None,
        capabilities: Vec::new(),
        host: String::new(),
        process: None,
        kind: SessionKind::Shell,
        ttl: limits::SHELL_SESSION_TTL,
        parent: None,
        resume: false,
        metadata: None,
    };
    connection.run(&Actor::System, register).await?;
    Ok(Actor::Session(session))
}

fn config_at(arguments: &Arguments, workspace: &str) -> Outcome<Config> {
    config_on(arguments, arguments.text("engine")?, workspace)
}

fn config_on(arguments: &Arguments, engine: &str, workspace: &str) -> Outcome<Config> {
    match engine {
        "redis" => redis(arguments, workspace),
        "auto" => Ok(Config { backend: BackendChoice::Auto, ..redis(arguments, workspace)? }),
        "files" => files(arguments, workspace),
        other => Err(format!("no engine {other}").into()),
    }
}

fn redis(arguments: &Arguments, workspace: &str) -> Outcome<Config> {
    let mut config = config(&arguments.path("dir")?.join(workspace))?;
    config.redis_url = Some(arguments.text("redis")?.to_owned());
    config.backend = BackendChoice::Redis;
    Ok(config)
}

fn files(arguments: &Arguments, workspace: &str) -> Outcome<Config> {
    let mut config = config(&arguments.path("dir")?.join(workspace))?;
    config.backend = BackendChoice::Files;
    config.durability = match arguments.text("class").unwrap_or("process") {
        "process" => Durability::Process,
        "power" => Durability::Power,
        other => return Err(format!("no class {other}").into()),
    };
    Ok(config)
}

fn config(dir: &Path) -> Outcome<Config> {
    let root = dir.join("worktree");
    std::fs::create_dir_all(&root)?;
    Ok(Config::new(root.canonicalize()?, dir.join("state")))
}

fn fallback(arguments: &Arguments, url: &str, workspace: &str) -> Outcome<Config> {
    let mut config = config(&arguments.path("dir")?.join(workspace))?;
    config.redis_url = Some(url.to_owned());
    Ok(config)
}

async fn session(config: Config, agent: &str) -> Outcome<CoordinationClient> {
    let dir = config.root.clone();
    let connection = Connection::open(config, Style::LongRunning).await?;
    Ok(CoordinationClient::session("Measurer", agent).on(connection).dir(dir).await?)
}
