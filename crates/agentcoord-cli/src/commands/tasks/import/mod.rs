//! `tasks import`: many tasks from JSON lines, all of them or none that is wrong.
//!
//! The whole file is read and checked before anything is written, then read again in chunks, however large it is. Each
//! line has an idempotency key, its own or one made of its text and number, so that the same command after an
//! interruption goes on where it stopped.

mod dependencies;
mod line;
mod source;

use std::collections::VecDeque;

use agentcoord::core::limits;
use agentcoord::core::op::Actor;
use agentcoord::core::task::{CreateTasks, Created, NewTask};
use agentcoord::{Connection, Error};
use serde::Serialize;
use serde_json::json;
use serde_json::value::Value;
use tokio::task::JoinHandle;

use self::dependencies::Dependencies;
use self::line::Keys;
use self::source::{LINE_BYTES, Source};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::identity::Unknown;
use crate::output::{Format, Page, Render};
use crate::principal;
use crate::progress::Progress;

/// Bad lines that are listed.
const LISTED: usize = 20;
/// Chunks under way at a time: the next are read and checked while the engine writes.
const WINDOW: usize = 4;
/// Text of one chunk, unless a single task has more.
const CHUNK_BYTES: usize = 4 * limits::BLOB_BYTES;

/// From where.
#[derive(Debug, clap::Args)]
#[command(after_help = "One JSON object a line: title, and if need be description, priority, tags, requires, \
max_attempts, lease and backoff (\"30m\" or seconds), not_before (a time such as 2026-01-31T12:00:00Z), depends_on (ids of \
tasks that exist), payload (any JSON), key. The whole file is checked first; when a line is wrong nothing is written. The \
same command again, within a day, goes on where it stopped and makes no duplicates.")]
pub(crate) struct Args {
    /// A file of JSON lines; - reads stdin
    file: String,
}

/// What was written.
#[derive(Debug, Default, Serialize)]
pub(crate) struct View {
    created: usize,
    duplicates: usize,
    items: Vec<String>,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        page.line(match self.duplicates {
            0 => format!("{} tasks created", self.created),
            n => format!("{} tasks created, {n} were there already", self.created),
        });
    }

    fn ids(&self) -> Vec<String> {
        self.items.clone()
    }
}

/// Imports.
///
/// # Errors
/// `INVALID` with the lines that are wrong, and then nothing was written.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let mut source = Source::open(context, &args.file)?;
    let (total, dependencies) = check(context, &mut source).await?;
    let mut bad = Bad::default();
    for (line, why) in dependencies.missing(&context.store().await?).await? {
        bad.note(line, why);
    }
    if bad.count > 0 {
        return Err(bad.refusal(source.name()));
    }
    let actor = principal::speaker(context, Unknown::Register).await?;
    let connection = context.connection().await?;
    let progress = Progress::new(context, "import", total);
    // People are told numbers; a million ids are only kept for whoever asked for them.
    let keeps_ids = context.settings().format != Format::Table;
    let mut writing =
        Writing { connection, actor, progress, keeps_ids, under_way: VecDeque::new(), view: View::default() };
    let mut chunk = Chunk::default();
    let mut lines = source.lines()?;
    while let Some((number, bytes)) = lines.next()? {
        let Some(task) = line::parse(number, bytes).map_err(|why| changed(&args.file, number, &why))? else { continue };
        chunk.add(number, task, bytes.len());
        if chunk.is_full() {
            writing.write(std::mem::take(&mut chunk)).await?;
        }
    }
    if !chunk.tasks.is_empty() {
        writing.write(chunk).await?;
    }
    writing.finish().await
}

/// Reads and checks every line. How many tasks there are, and what they depend on.
async fn check(context: &Context, source: &mut Source) -> Result<(u64, Dependencies), CliError> {
    let progress = Progress::new(context, "check", source.size());
    let mut bad = Bad::default();
    let mut keys = Keys::default();
    let mut dependencies = Dependencies::default();
    let (mut tasks, mut read) = (0, 0);
    let name = source.name().to_owned();
    let mut lines = source.lines()?;
    while let Some((number, bytes)) = lines.next()? {
        read += bytes.len() as u64;
        if bytes.len() > LINE_BYTES {
            bad.note(number, format!("longer than {LINE_BYTES} bytes"));
            break;
        }
        match line::parse(number, bytes) {
            Ok(None) => {}
            Ok(Some(task)) => {
                tasks += 1;
                keys.note(number, &task);
                dependencies.note(number, &task)?;
                if keys.are_many() {
                    bad.note_reused(keys.reused(context).await?);
                }
            }
            Err(why) => bad.note(number, why),
        }
        if number % 1_000 == 0 {
            progress.at(read);
        }
    }
    bad.note_reused(keys.reused(context).await?);
    for (number, first) in keys.repeated() {
        bad.note(number, format!("the key of line {first} again"));
    }
    if bad.count == 0 { Ok((tasks, dependencies)) } else { Err(bad.refusal(&name)) }
}

/// Lines that are wrong: how many, and the first of them.
#[derive(Debug, Default)]
struct Bad {
    count: usize,
    first: Vec<(usize, String)>,
}

impl Bad {
    fn note(&mut self, line: usize, why: String) {
        self.count += 1;
        let at = self.first.partition_point(|(other, _)| *other <= line);
        if at < LISTED {
            self.first.insert(at, (line, why));
            self.first.truncate(LISTED);
        }
    }

    fn note_reused(&mut self, lines: Vec<usize>) {
        for line in lines {
            self.note(line, "key: it names a task with other content".to_owned());
        }
    }

    fn refusal(self, name: &str) -> CliError {
        let lines: Vec<Value> = self.first.iter().map(|(line, why)| json!({"line": line, "why": why})).collect();
        let count = if self.count == 1 { "a line is".to_owned() } else { format!("{} lines are", self.count) };
        let mut notes: Vec<String> = self.first.iter().map(|(line, why)| format!("line {line}: {why}")).collect();
        if self.count > LISTED {
            notes.push(format!("and {} more", self.count - LISTED));
        }
        CliError::invalid(format!("{name}: {count} wrong; nothing was written"))
            .details(json!({"bad": self.count, "lines": lines}))
            .notes(notes)
    }
}

/// A line that was fine when the file was checked.
fn changed(name: &str, line: usize, why: &str) -> CliError {
    CliError::invalid(format!("{name} has changed while it was imported: line {line}: {why}"))
        .next("go on when it is at rest", format!("agentcoord tasks import {}", crate::output::text::shell(name)))
}

/// Tasks that are written in one step, and the lines they come from.
#[derive(Debug, Default)]
struct Chunk {
    tasks: Vec<NewTask>,
    first: usize,
    last: usize,
    bytes: usize,
}

impl Chunk {
    fn add(&mut self, line: usize, task: NewTask, bytes: usize) {
        if self.tasks.is_empty() {
            self.first = line;
        }
        self.last = line;
        self.bytes += bytes;
        self.tasks.push(task);
    }

    fn is_full(&self) -> bool {
        self.tasks.len() == limits::CREATE_CHUNK || self.bytes >= CHUNK_BYTES
    }
}

/// A chunk on its way.
struct UnderWay {
    first: usize,
    last: usize,
    answer: JoinHandle<Result<Created, Error>>,
}

/// Chunks on their way to the engine, in order, and what has come of those before.
struct Writing<'a> {
    connection: &'a Connection,
    actor: Actor,
    progress: Progress,
    keeps_ids: bool,
    under_way: VecDeque<UnderWay>,
    view: View,
}

impl Writing<'_> {
    /// Sends a chunk, in as many requests as it has parts whose dependencies are all looked up at once.
    async fn write(&mut self, chunk: Chunk) -> Result<(), CliError> {
        let Chunk { mut tasks, first, last, .. } = chunk;
        while !tasks.is_empty() {
            if self.under_way.len() == WINDOW {
                self.hear().await?;
            }
            let later = tasks.split_off(CreateTasks::chunk(tasks.iter()));
            let body = CreateTasks::new(std::mem::replace(&mut tasks, later));
            let (connection, actor) = (self.connection.clone(), self.actor.clone());
            let answer = tokio::spawn(async move { connection.run(&actor, body).await });
            self.under_way.push_back(UnderWay { first, last, answer });
        }
        Ok(())
    }

    /// Waits for the oldest chunk. After a failure none of the others is waited for: their outcome is told by the next try.
    async fn hear(&mut self) -> Result<(), CliError> {
        let Some(UnderWay { first, last, answer }) = self.under_way.pop_front() else { return Ok(()) };
        let answer = answer.await.map_err(|e| CliError::internal("a chunk was not written", e))?;
        let created = answer.map_err(|error| stopped(error.into(), first, last, &self.view))?;
        for task in created.items {
            if task.duplicate {
                self.view.duplicates += 1;
            } else {
                self.view.created += 1;
            }
            if self.keeps_ids {
                self.view.items.push(task.key);
            }
        }
        self.progress.at((self.view.created + self.view.duplicates) as u64);
        Ok(())
    }

    async fn finish(mut self) -> Result<View, CliError> {
        while !self.under_way.is_empty() {
            self.hear().await?;
        }
        Ok(self.view)
    }
}

/// The engine refused a chunk, or was lost on the way.
fn stopped(error: CliError, first: usize, last: usize, so_far: &View) -> CliError {
    let on = if error.exit == Exit::Refused { "" } else { ", and the same command goes on from there" };
    let message = format!(
        "lines {first} to {last} were not written: {}; {} tasks were created before{on}",
        error.message, so_far.created
    );
    let details = json!({"first_line": first, "last_line": last, "created": so_far.created, "cause": error.details});
    CliError { message, details, ..error }
}
