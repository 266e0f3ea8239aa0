//! One line of an import: the task it describes, and the keys of all lines together.

use agentcoord::Error;
use agentcoord::core::op::{Verb, sha256};
use agentcoord::core::task::{Backoff, CreateTasks, NewTask};
use serde::Deserialize;
use serde_json::value::{Number, Value};

use crate::context::Context;
use crate::error::CliError;
use crate::{duration, moment};

/// Keys that are looked up at a time.
const LOOK: usize = 1_000;
/// What begins the keys of lines that have none of their own.
const MADE: &str = "import/";

/// A line of the file. What has bounds is a number of any size here, and is told what is allowed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    title: String,
    description: Option<String>,
    priority: Option<Number>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    requires: Vec<String>,
    max_attempts: Option<Number>,
    lease: Option<Value>,
    backoff: Option<Value>,
    not_before: Option<String>,
    #[serde(default)]
    depends_on: Vec<String>,
    payload: Option<Value>,
    key: Option<String>,
}

/// A number, when it fits.
fn whole<T: TryFrom<u64>>(field: &'static str, given: &Number, allowed: &str) -> Result<T, String> {
    let fits = given.as_u64().and_then(|number| T::try_from(number).ok());
    fits.ok_or_else(|| Error::invalid(field, given.to_string(), allowed).to_string())
}

/// Milliseconds of a number of seconds, or of words such as "30m".
fn span(field: &str, given: &Value) -> Result<u64, String> {
    let seconds = given.as_u64().map(|seconds| seconds.saturating_mul(1_000));
    match (seconds, given) {
        (Some(millis), _) => Ok(millis),
        (None, Value::String(words)) => {
            duration::parse(words).map(duration::millis).map_err(|e| format!("{field}: {e}"))
        }
        (None, other) => {
            Err(format!("{field}: `{other}` is neither a duration such as \"30m\" nor a number of seconds"))
        }
    }
}

/// What a line says, or why it says nothing.
fn read(text: &str) -> Result<Line, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let line = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = error.path().to_string();
        // serde counts lines within the text, which is always the first here.
        let why = error.inner().to_string();
        let why = why.split(" at line ").next().unwrap_or(&why);
        match (error.inner().is_data(), field.as_str()) {
            (false, _) => format!("no JSON: {why}"),
            // The message names it, or the line as a whole is meant.
            (true, field) if field == "." || why.contains(&format!("`{field}`")) => why.to_owned(),
            (true, field) => format!("{field}: {why}"),
        }
    })?;
    json.end().map_err(|_| "no JSON: more than one value".to_owned())?;
    Ok(line)
}

/// The task of a line; an empty line has none.
pub(super) fn parse(number: usize, bytes: &[u8]) -> Result<Option<NewTask>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if !text.starts_with('{') {
        return Err("no JSON object".to_owned());
    }
    let line = read(text)?;
    let mut task = NewTask::titled(line.title);
    task.description = line.description;
    if let Some(priority) = &line.priority {
        task.priority = whole("priority", priority, "1 to 5")?;
    }
    task.tags = line.tags;
    task.requires = line.requires;
    if let Some(attempts) = &line.max_attempts {
        task.max_attempts = whole("max_attempts", attempts, "1 to 1000")?;
    }
    task.lease = line.lease.map(|lease| span("lease", &lease)).transpose()?;
    task.backoff = line.backoff.map(|pause| span("backoff", &pause).map(Backoff::from_pause)).transpose()?;
    let start = line.not_before.map(|text| moment::exact(&text).map_err(|e| format!("not_before: {e}")));
    task.not_before = start.transpose()?.map(|at| at.0);
    task.depends_on = line.depends_on;
    task.payload = line.payload.filter(|v| !v.is_null()).map(|v| v.to_string());
    let digest = || format!("{MADE}{}/{number}", &sha256(text.as_bytes())[..32]);
    task.key = Some(line.key.unwrap_or_else(digest));
    let mut sealed = CreateTasks::new(vec![task]);
    sealed.validate().map_err(|e| e.to_string())?;
    Ok(sealed.tasks.pop())
}

/// The keys that lines bring along, so that one that comes twice, or that names another task already, is found before
/// anything is written. What is kept of all is a digest and a number each, however long the keys are.
#[derive(Debug, Default)]
pub(super) struct Keys {
    seen: Vec<([u8; 16], u32)>,
    /// Those that have not been looked up, with the line and the digest of its content.
    unknown: Vec<(usize, String, String)>,
}

impl Keys {
    pub(super) fn note(&mut self, line: usize, task: &NewTask) {
        // A key that was made contains the line's number.
        let Some(key) = task.key.as_ref().filter(|key| !key.starts_with(MADE)) else { return };
        let digest = u128::from_str_radix(&sha256(key.as_bytes())[..32], 16).unwrap_or_default();
        self.seen.push((digest.to_be_bytes(), u32::try_from(line).unwrap_or(u32::MAX)));
        self.unknown.push((line, key.clone(), task.digest.clone()));
    }

    /// Whether so many wait that it is time to look them up.
    pub(super) fn are_many(&self) -> bool {
        self.unknown.len() >= LOOK
    }

    /// The lines since the last look whose key names a task with other content.
    pub(super) async fn reused(&mut self, context: &Context) -> Result<Vec<usize>, CliError> {
        if self.unknown.is_empty() {
            return Ok(Vec::new());
        }
        let unknown = std::mem::take(&mut self.unknown);
        let keys: Vec<&str> = unknown.iter().map(|(_, key, _)| key.as_str()).collect();
        let known = context.store().await?.task_keys(&keys).await?;
        let is_other = |((line, _, digest), known): ((usize, String, String), Option<String>)| {
            known.is_some_and(|known| known != digest).then_some(line)
        };
        Ok(unknown.into_iter().zip(known).filter_map(is_other).collect())
    }

    /// Lines with the key of an earlier one, and the first line that has it.
    pub(super) fn repeated(mut self) -> impl Iterator<Item = (usize, usize)> {
        self.seen.sort_unstable();
        let mut first = None;
        self.seen.into_iter().filter_map(move |(digest, line)| match first {
            Some((same, at)) if same == digest => Some((line as usize, at)),
            _ => {
                first = Some((digest, line as usize));
                None
            }
        })
    }
}
