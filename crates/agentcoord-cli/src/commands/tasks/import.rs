//! `tasks import`: many tasks from JSON lines, all of them or none that is wrong.
//!
//! The whole file is read and checked before anything is written. Each line has an idempotency key, its own or one
//! made of its text and number, so that the same command after an interruption goes on where it stopped.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};

use agentcoord::Error;
use agentcoord::core::ids::IdPrefix;
use agentcoord::core::limits;
use agentcoord::core::op::{Verb, sha256};
use agentcoord::core::store::Backend;
use agentcoord::core::task::{Backoff, CreateTasks, NewTask};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::Value;

use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::identity::Unknown;
use crate::moment;
use crate::output::{Page, Render};
use crate::principal;
use crate::progress::Progress;

/// Bad lines that are listed.
const LISTED: usize = 20;
/// Longest line that can be a task: its long texts, and room for the rest and for escapes.
const LINE_BYTES: usize = 4 * limits::BLOB_BYTES;

/// From where.
#[derive(Debug, clap::Args)]
#[command(after_help = "One JSON object a line: title, and if need be description, priority, tags, requires, \
max_attempts, lease and backoff (\"30m\" or seconds), not_before (a time, or so long from now), depends_on (ids of tasks that \
exist), payload (any JSON), key.")]
pub(crate) struct Args {
    /// A file of JSON lines; - reads stdin
    file: String,
}

/// A line of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    title: String,
    description: Option<String>,
    priority: Option<u8>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    requires: Vec<String>,
    max_attempts: Option<u32>,
    lease: Option<Span>,
    backoff: Option<Span>,
    not_before: Option<String>,
    #[serde(default)]
    depends_on: Vec<String>,
    payload: Option<Value>,
    key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Span {
    Seconds(u64),
    Words(String),
}

impl Span {
    /// Milliseconds.
    fn millis(self, field: &str) -> Result<u64, String> {
        match self {
            Self::Seconds(seconds) => Ok(seconds.saturating_mul(1_000)),
            Self::Words(words) => duration::parse(&words).map(duration::millis).map_err(|e| format!("{field}: {e}")),
        }
    }
}

/// A task and the line it comes from.
#[derive(Debug)]
struct Checked {
    line: usize,
    task: NewTask,
}

/// What was written.
#[derive(Debug, Serialize)]
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
    let tasks = if args.file == "-" {
        check("stdin", std::io::stdin().lock())?
    } else {
        let path = context.settings().cwd.join(&args.file);
        let file = std::fs::File::open(path).map_err(|e| unreadable(&args.file, &e))?;
        check(&args.file, BufReader::new(file))?
    };
    let missing = missing(context, &tasks).await?;
    if !missing.is_empty() {
        return Err(refusal(&args.file, &missing));
    }
    let actor = principal::speaker(context, Unknown::Register).await?;
    let connection = context.connection().await?;
    let progress = Progress::new(context, "import", tasks.len() as u64);
    let mut view = View { created: 0, duplicates: 0, items: Vec::with_capacity(tasks.len()) };
    let mut rest = &tasks[..];
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at(CreateTasks::chunk(rest.iter().map(|checked| &checked.task)));
        rest = later;
        let body = CreateTasks::new(chunk.iter().map(|checked| checked.task.clone()).collect());
        let created = connection.run(&actor, body).await.map_err(|error| stopped(error.into(), chunk, &view))?;
        for task in created.items {
            if task.duplicate {
                view.duplicates += 1;
            } else {
                view.created += 1;
            }
            view.items.push(task.key);
        }
        progress.at(view.items.len() as u64);
    }
    Ok(view)
}

/// Reads and checks every line.
fn check(name: &str, mut source: impl BufRead) -> Result<Vec<Checked>, CliError> {
    let mut tasks: Vec<Checked> = Vec::new();
    let mut keys: HashMap<String, usize> = HashMap::new();
    let mut bad: Vec<(usize, String)> = Vec::new();
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let mut some = std::io::Read::take(&mut source, LINE_BYTES as u64 + 1);
        if some.read_until(b'\n', &mut bytes).map_err(|e| unreadable(name, &e))? == 0 {
            break;
        }
        if bytes.len() > LINE_BYTES {
            bad.push((line, format!("longer than {LINE_BYTES} bytes")));
            break;
        }
        match parse(line, &bytes) {
            Ok(None) => {}
            Ok(Some(task)) => {
                let key = task.key.clone().unwrap_or_default();
                match keys.insert(key, line) {
                    Some(first) => bad.push((line, format!("the key of line {first} again"))),
                    None => tasks.push(Checked { line, task }),
                }
            }
            Err(why) => bad.push((line, why)),
        }
    }
    if bad.is_empty() { Ok(tasks) } else { Err(refusal(name, &bad)) }
}

/// The lines that name a task to depend on that is not there, as far as they are listed.
async fn missing(context: &Context, tasks: &[Checked]) -> Result<Vec<(usize, String)>, CliError> {
    let mut lines: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for Checked { line, task } in tasks {
        for typed in &task.depends_on {
            let id = IdPrefix::parse("depends_on", typed)?;
            lines.entry(id.as_str().to_owned()).or_default().push(*line);
        }
    }
    let store = context.store().await?;
    let mut bad = Vec::new();
    while !lines.is_empty() && bad.len() <= LISTED {
        let ids: Result<Vec<_>, _> = lines.keys().map(|id| IdPrefix::parse("depends_on", id)).collect();
        match store.tasks().keys(&ids?).await {
            Ok(_) => break,
            Err(Error::NotFound { id, .. }) if lines.contains_key(&id) => {
                let named = lines.remove(&id).unwrap_or_default();
                bad.extend(named.into_iter().map(|line| (line, format!("depends_on: no task `{id}`"))));
            }
            Err(error) => return Err(error.into()),
        }
    }
    bad.sort();
    Ok(bad)
}

/// The task of a line; an empty line has none.
fn parse(number: usize, bytes: &[u8]) -> Result<Option<NewTask>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if !text.starts_with('{') {
        return Err("no JSON object".to_owned());
    }
    let line: Line = serde_json::from_str(text).map_err(|e| {
        // serde counts lines within the text, which is always the first here.
        let why = e.to_string();
        let why = why.split(" at line ").next().unwrap_or(&why);
        if e.is_data() { why.to_owned() } else { format!("no JSON: {why}") }
    })?;
    let mut task = NewTask::titled(line.title);
    task.description = line.description;
    task.priority = line.priority.unwrap_or(task.priority);
    task.tags = line.tags;
    task.requires = line.requires;
    task.max_attempts = line.max_attempts.unwrap_or(task.max_attempts);
    task.lease = line.lease.map(|lease| lease.millis("lease")).transpose()?;
    task.backoff = line.backoff.map(|pause| pause.millis("backoff").map(Backoff::from_pause)).transpose()?;
    let start = line.not_before.map(|text| moment::future(&text).map_err(|e| format!("not_before: {e}")));
    task.not_before = start.transpose()?.map(|at| at.0);
    task.depends_on = line.depends_on;
    task.payload = line.payload.filter(|v| !v.is_null()).map(|v| v.to_string());
    let digest = || format!("import/{}/{number}", &sha256(text.as_bytes())[..32]);
    task.key = Some(line.key.unwrap_or_else(digest));
    CreateTasks::new(vec![task.clone()]).validate().map_err(|e| e.to_string())?;
    Ok(Some(task))
}

fn unreadable(name: &str, cause: &std::io::Error) -> CliError {
    CliError::invalid(format!("{name} cannot be read: {cause}"))
}

fn refusal(name: &str, bad: &[(usize, String)]) -> CliError {
    let lines: Vec<Value> = bad.iter().take(LISTED).map(|(line, why)| json!({"line": line, "why": why})).collect();
    let count = if bad.len() == 1 { "a line is".to_owned() } else { format!("{} lines are", bad.len()) };
    let mut notes: Vec<String> = bad.iter().take(LISTED).map(|(line, why)| format!("line {line}: {why}")).collect();
    if bad.len() > LISTED {
        notes.push(format!("and {} more", bad.len() - LISTED));
    }
    CliError::invalid(format!("{name}: {count} wrong; nothing was written"))
        .details(json!({"bad": bad.len(), "lines": lines}))
        .notes(notes)
}

/// The engine refused a chunk, or was lost on the way.
fn stopped(error: CliError, chunk: &[Checked], so_far: &View) -> CliError {
    let lines = |c: Option<&Checked>| c.map_or(0, |c| c.line);
    let (first, last) = (lines(chunk.first()), lines(chunk.last()));
    let message = format!(
        "lines {first} to {last} were not written: {}; {} tasks were created before, and the same command goes on from there",
        error.message, so_far.created
    );
    let details = json!({"first_line": first, "last_line": last, "created": so_far.created, "cause": error.details});
    CliError { message, details, ..error }
}
