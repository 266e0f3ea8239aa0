//! Workspaces that exist for a measurement only.

use std::path::Path;

use agentcoord::{BackendChoice, Config, Connection, CoordinationClient, Durability, Style};

use crate::Outcome;
use crate::arguments::Arguments;

/// A session in a workspace of its own below `--dir`, on the Redis that `--redis` names.
pub(crate) async fn on_redis(arguments: &Arguments) -> Outcome<CoordinationClient> {
    let mut config = config(&arguments.path("dir")?)?;
    config.redis_url = Some(arguments.text("redis")?.to_owned());
    config.backend = BackendChoice::Redis;
    session(config).await
}

/// A session in a workspace of its own below `--dir`, on files, in the class that `--class` names.
pub(crate) async fn on_files(arguments: &Arguments) -> Outcome<CoordinationClient> {
    let mut config = config(&arguments.path("dir")?)?;
    config.backend = BackendChoice::Files;
    config.durability = match arguments.text("class")? {
        "process" => Durability::Process,
        "power" => Durability::Power,
        other => return Err(format!("no class {other}").into()),
    };
    session(config).await
}

fn config(dir: &Path) -> Outcome<Config> {
    let root = dir.join("worktree");
    std::fs::create_dir_all(&root)?;
    Ok(Config::new(root.canonicalize()?, dir.join("state")))
}

async fn session(config: Config) -> Outcome<CoordinationClient> {
    let dir = config.root.clone();
    let connection = Connection::open(config, Style::LongRunning).await?;
    Ok(CoordinationClient::session("Measurer", "measurer").on(connection).dir(dir).await?)
}
