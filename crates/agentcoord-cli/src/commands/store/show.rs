//! `store` alone: which engine serves the workspace, and where it keeps things.

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
    degraded: bool,
    redis: Redis,
    files: Files,
    journal: Option<()>,
}

#[derive(Debug, Serialize)]
struct Redis {
    serves: bool,
    url: Option<String>,
}

#[derive(Debug, Serialize)]
struct Files {
    serves: bool,
    state_dir: String,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        let degraded = self.degraded.then(|| "yes: Redis was asked for, and files serve".to_owned());
        page.fields([
            ("engine", Some(self.engine.to_owned())),
            ("epoch", Some(self.epoch.to_string())),
            ("degraded", degraded),
            ("redis", self.redis.url.clone()),
            ("state dir", Some(self.files.state_dir.clone())),
        ]);
    }

    fn ids(&self) -> Vec<String> {
        vec![self.engine.to_owned()]
    }
}

/// Tells which engine serves.
///
/// # Errors
/// When the engine cannot be reached.
pub(crate) async fn run(context: &Context, _: Args) -> Result<View, CliError> {
    let opened = context.connection().await?.opened().await?;
    let serving = &opened.serving;
    let engine = serving.engine.word();
    Ok(View {
        engine,
        epoch: serving.epoch.0,
        degraded: serving.degraded,
        redis: Redis { serves: engine == "redis", url: serving.redis.clone() },
        files: Files { serves: engine == "files", state_dir: context.settings().state_dir.display().to_string() },
        journal: None,
    })
}
