//! `store` alone: which engine serves the workspace, how far the other one is ready to, and where things are kept.

use agentcoord::{Condition, Connection, RedisNow, Style};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::output::{Page, Render};

/// No arguments.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args;

/// The engine.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    engine: &'static str,
    epoch: u64,
    phase: &'static str,
    degraded: bool,
    protected: bool,
    reason: Option<String>,
    complainant: Option<String>,
    redis: Redis,
    files: Files,
    journal: Journal,
}

#[derive(Debug, Serialize)]
struct Redis {
    serves: bool,
    url: Option<String>,
    /// What it is now.
    now: String,
}

#[derive(Debug, Serialize)]
struct Files {
    serves: bool,
    state_dir: String,
    /// The last change that is in the files while Redis serves, and how many more this host knows of.
    replica_csn: Option<u64>,
    lag: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Journal {
    bytes: u64,
    processes: usize,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        let engine = match self.phase {
            "serving" => self.engine.to_owned(),
            phase => format!("{}, {phase}: a switch is under way", self.engine),
        };
        let degraded = self.degraded.then(|| match &self.reason {
            Some(reason) => format!("yes: {reason}"),
            None => "yes: Redis was asked for, and files serve".to_owned(),
        });
        let protected = (self.engine == "redis").then(|| {
            let words = if self.protected {
                "yes: files take over with everything when Redis is gone"
            } else {
                "no: this host does not hold everything that Redis does"
            };
            words.to_owned()
        });
        let redis = self.redis.url.as_ref().map(|url| format!("{url}: {}", self.redis.now));
        let replica = self.files.lag.map(|lag| match lag {
            0 => "up to date".to_owned(),
            lag => format!("{lag} changes behind, which journals hold"),
        });
        let journal = format!("{} KiB of {} processes", self.journal.bytes.div_ceil(1_024), self.journal.processes);
        page.fields([
            ("engine", Some(engine)),
            ("epoch", Some(self.epoch.to_string())),
            ("degraded", degraded),
            ("because of", self.complainant.clone().filter(|_| self.degraded)),
            ("protected", protected),
            ("redis", redis),
            ("replica", replica),
            ("journals", self.files.lag.map(|_| journal)),
            ("state dir", Some(self.files.state_dir.clone())),
        ]);
    }

    fn ids(&self) -> Vec<String> {
        vec![self.engine.to_owned()]
    }
}

/// Tells which engine serves; also while none can be reached.
///
/// # Errors
/// When the state directory cannot be read.
pub(crate) async fn run(context: &Context, _: Args) -> Result<View, CliError> {
    let settings = context.settings();
    let connection = Connection::unopened(settings.connection(), Style::OneShot)?;
    let condition = match connection.condition().await? {
        Some(condition) => condition,
        // The first command of a workspace: it chooses.
        None => {
            context.connection().await?;
            let chosen = connection.condition().await?;
            chosen.ok_or_else(|| CliError::internal("the store", "no engine was chosen"))?
        }
    };
    let url = connection.shown_redis_url();
    Ok(view(condition, url, settings.state_dir.display().to_string()))
}

fn view(condition: Condition, url: String, state_dir: String) -> View {
    let Condition { engine, epoch, phase, degraded, protected, reason, complainant, redis, replica, .. } = condition;
    let is_redis = engine == "redis";
    let now = match &redis {
        RedisNow::NotAsked => "nobody asks for it".to_owned(),
        RedisNow::Serves => "serves".to_owned(),
        RedisNow::Ready => "healthy; it gets everything back when it stays so".to_owned(),
        RedisNow::Other(what) | RedisNow::Away(what) => what.clone(),
    };
    View {
        engine,
        epoch: epoch.0,
        phase,
        degraded,
        protected,
        reason,
        complainant,
        redis: Redis { serves: is_redis, url: (redis != RedisNow::NotAsked).then_some(url), now },
        files: Files {
            serves: !is_redis,
            state_dir,
            replica_csn: replica.map(|(_, replica)| replica.0),
            lag: replica.map(|(known, replica)| known.0 - replica.0),
        },
        journal: Journal { bytes: condition.journal_bytes, processes: condition.journals },
    }
}
