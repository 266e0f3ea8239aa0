//! `watch`: everything that happens in the workspace, as it happens.
//!
//! A place in the log that is not kept any more, and a store that came back without its newest changes, are told as
//! such. While the engine is away it goes on waiting.

mod sentence;
mod teller;

use agentcoord::core::ids::Csn;
use agentcoord::{Disposition, EventStream, Live};
use serde::Serialize;

use self::teller::Teller;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{Page, Render, Written, complain, reader_gone, write};
use crate::process::Signals;

/// The pause between two tries while the engine is away.
const AWAY: std::time::Duration = std::time::Duration::from_millis(200);

/// From where on.
#[derive(Debug, clap::Args)]
#[command(after_help = "One line an event; with -o jsonl one object. {\"gap\": {\"from\", \"to\"}} stands for events \
that the log does not keep any more, {\"lost\": ..} for events that were shown and that the store has lost since.")]
pub(crate) struct Args {
    /// Begin after the event with this number [default: with what happens from now on]
    #[arg(long, value_name = "CSN")]
    since: Option<u64>,
    /// Only what concerns this noun; may be given several times
    #[arg(long = "noun", value_name = "NOUN", value_parser = ["lock", "agent", "task", "board", "approval", "audit"])]
    nouns: Vec<String>,
}

/// How watching ended; stdout belonged to the events.
#[derive(Debug, Serialize)]
pub(crate) struct Watched {
    #[serde(skip)]
    exit: Exit,
}

impl Watched {
    pub(crate) fn until(exit: Exit) -> Self {
        Self { exit }
    }
}

impl Render for Watched {
    fn table(&self, _page: &mut Page) {}

    fn exit(&self) -> Exit {
        self.exit
    }

    fn silent(&self) -> bool {
        true
    }
}

/// Writes events until the reader goes away or a signal comes.
///
/// # Errors
/// Those of the engine, except that it is away.
pub(crate) async fn run(context: &Context, args: Args) -> Result<Watched, CliError> {
    let stream = context.connection().await?.events(args.since.map(Csn));
    tell(context, stream, Teller::new(context, args.nouns)).await
}

/// As [`run`], without a filter and from where the stream is.
///
/// # Errors
/// As [`run`].
pub(crate) async fn lines(context: &Context, stream: EventStream) -> Result<Watched, CliError> {
    tell(context, stream, Teller::new(context, Vec::new())).await
}

async fn tell(context: &Context, mut stream: EventStream, mut teller: Teller<'_>) -> Result<Watched, CliError> {
    let mut signals = Signals::of_ending()?;
    let gone = reader_gone()?;
    tokio::pin!(gone);
    loop {
        let live = tokio::select! {
            live = next(context, &mut stream) => live?,
            signal = signals.next() => return Ok(Watched::until(Exit::Signal(signal))),
            () = &mut gone => return Ok(Watched::until(Exit::Done)),
        };
        let mut text = teller.tell(live).await?;
        // What is there already goes out in one piece.
        while text.len() < 1 << 16
            && let Some(live) = stream.ready()
        {
            text += &teller.tell(live).await?;
        }
        match write(&text) {
            Written::All => {}
            Written::Closed => return Ok(Watched::until(Exit::Done)),
            Written::Failed(exit) => return Ok(Watched::until(exit)),
        }
    }
}

/// The next of a stream; while the engine is away, says so once and waits.
///
/// # Errors
/// Those of the engine, except that it is away.
pub(crate) async fn next(context: &Context, stream: &mut EventStream) -> Result<Live, CliError> {
    let mut told = false;
    loop {
        match stream.next().await {
            Ok(live) => return Ok(live),
            Err(error) if error.disposition() == Disposition::Unavailable => {
                if !std::mem::replace(&mut told, true) && !context.settings().quiet {
                    complain(&format!("warning: {error}; waiting\n"));
                }
                tokio::time::sleep(AWAY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
