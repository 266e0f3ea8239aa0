//! `store use`: moves the workspace to the other engine, with everything in it.

use agentcoord::core::engine::EngineKind;
use agentcoord::{BackendChoice, Connection, Style, Switched};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::output::{Page, Render};
use crate::principal;

/// Which engine.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Agents go on with their work meanwhile. Moved to files by hand, a workspace stays there until it is \
moved back. One on Redis alone (--backend redis) moves only while no session lives. A switch that was cut off is finished, or \
undone, by the next command."
)]
pub(crate) struct Args {
    /// redis or files
    #[arg(value_name = "ENGINE", value_parser = engine)]
    to: EngineKind,
}

fn engine(word: &str) -> Result<EngineKind, String> {
    let known = [EngineKind::Redis, EngineKind::Files];
    known.into_iter().find(|kind| kind.word() == word).ok_or_else(|| "known are redis, files".to_owned())
}

/// What was done.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    from: &'static str,
    engine: &'static str,
    epoch: u64,
    records: usize,
    switched: bool,
}

impl From<Switched> for View {
    fn from(done: Switched) -> Self {
        Self {
            from: done.from.word(),
            engine: done.to.word(),
            epoch: done.epoch.0,
            records: done.records,
            switched: done.from != done.to,
        }
    }
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        page.line(if self.switched {
            format!(
                "{} serves now, in epoch {}; {} records moved from {}",
                self.engine, self.epoch, self.records, self.from
            )
        } else {
            format!("{} serves already", self.engine)
        });
    }

    fn ids(&self) -> Vec<String> {
        vec![self.engine.to_owned()]
    }
}

/// Switches.
///
/// # Errors
/// `REFUSED` when Redis holds what is not ours; `UNAVAILABLE` when an engine cannot be reached, and then nothing has moved.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let mut config = context.settings().connection();
    // Which engine may serve is what is about to change.
    config.backend = BackendChoice::Auto;
    let connection = Connection::unopened(config, Style::OneShot)?;
    let done = connection.switch(args.to, &principal::of_shell()).await.map_err(|error| {
        let error = CliError::from(error);
        if error.code == "REFUSED" { error.next("who is here", "agentcoord status") } else { error }
    })?;
    Ok(done.into())
}
