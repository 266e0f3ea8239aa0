//! `audit export`: the whole log as JSON lines, from which anybody can compute the hashes again.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use agentcoord::audit;
use agentcoord::core::audit::AuditLog;
use agentcoord::core::audit::verify::{Place, Stored};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, Page, Render};
use crate::progress::Progress;

/// Entries read at once.
const PAGE: u64 = 2_000;

/// Where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file, which is replaced; `-`: stdout
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

/// What was written.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    entries: u64,
    file: String,
}

/// One line.
#[derive(Debug, Serialize)]
struct Line<'a> {
    seq: u64,
    /// Milliseconds since 1970, as the hash has it.
    time: u64,
    hash: Option<String>,
    /// The bytes of the entry; a JSON text itself.
    entry: &'a str,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        page.line(format!("{} entries   {}", self.entries, self.file));
    }

    fn ids(&self) -> Vec<String> {
        vec![self.file.clone()]
    }

    fn silent(&self) -> bool {
        self.file == "-"
    }
}

/// Writes the log.
///
/// # Errors
/// `INVALID` for a file that cannot be written; `CORRUPT` for an entry that is gone.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let connection = context.staying().await?;
    let entries = audit::seal(connection, u64::MAX).await?.entries;
    let to_stdout = args.file.as_os_str() == "-";
    let path = context.settings().cwd.join(&args.file);
    let cannot = |e: std::io::Error| CliError::invalid(format!("{} cannot be written: {e}", args.file.display()));
    let sink: Box<dyn Write> =
        if to_stdout { Box::new(output::stdout()) } else { Box::new(File::create(&path).map_err(cannot)?) };
    let mut out = BufWriter::new(sink);
    let progress = Progress::new(context, "export", entries);
    let store = connection.store().await?;
    let mut first = 1;
    while first <= entries {
        let last = entries.min(first + PAGE - 1);
        let written = store.inspect(first, last).await?.iter().try_for_each(|place| write(&mut out, place));
        match written {
            Err(Failure::Output(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => break,
            Err(Failure::Output(e)) => return Err(cannot(e)),
            Err(Failure::Entry(error)) => return Err(error),
            Ok(()) => progress.at(last),
        }
        first = last + 1;
    }
    match out.flush() {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => return Err(cannot(e)),
        // A reader that has gone away is no failure.
        _ => drop(progress),
    }
    Ok(View { entries, file: args.file.display().to_string() })
}

enum Failure {
    Output(std::io::Error),
    Entry(CliError),
}

fn write(out: &mut impl Write, place: &Place) -> Result<(), Failure> {
    let Stored::Entry(record) = &place.stored else {
        let message = format!("audit entry {} is gone or unreadable", place.seq);
        let error = CliError::new(Exit::CheckFailed, "CORRUPT", message);
        return Err(Failure::Entry(error.next("to find out more", "agentcoord audit verify")));
    };
    let hash = place.seal.map(|hash| hash.to_string());
    let line = Line { seq: place.seq, time: record.at, hash, entry: &record.entry };
    let text = serde_json::to_string(&line).map_err(|e| Failure::Output(e.into()))?;
    out.write_all(output::json::visible(&text).as_bytes()).and_then(|()| out.write_all(b"\n")).map_err(Failure::Output)
}
