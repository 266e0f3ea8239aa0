//! One line of an import: the task it describes, and the keys of all lines together.

use agentcoord::core::op::{Verb, sha256};
use agentcoord::core::task::{Backoff, CreateTasks, NewTask};
use serde::Deserialize;
use serde_json::value::Value;

use crate::{duration, moment};

/// What begins the keys of lines that have none of their own.
const MADE: &str = "import/";

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

/// The task of a line; an empty line has none.
pub(super) fn parse(number: usize, bytes: &[u8]) -> Result<Option<NewTask>, String> {
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
    let start = line.not_before.map(|text| moment::exact(&text).map_err(|e| format!("not_before: {e}")));
    task.not_before = start.transpose()?.map(|at| at.0);
    task.depends_on = line.depends_on;
    task.payload = line.payload.filter(|v| !v.is_null()).map(|v| v.to_string());
    let digest = || format!("{MADE}{}/{number}", &sha256(text.as_bytes())[..32]);
    task.key = Some(line.key.unwrap_or_else(digest));
    CreateTasks::new(vec![task.clone()]).validate().map_err(|e| e.to_string())?;
    Ok(Some(task))
}

/// The keys that lines bring along, so that one that comes twice is found before anything is written. A digest and a
/// number each, however long the keys are.
#[derive(Debug, Default)]
pub(super) struct Keys {
    seen: Vec<([u8; 16], u32)>,
}

impl Keys {
    pub(super) fn note(&mut self, line: usize, task: &NewTask) {
        // A key that was made contains the line's number.
        let Some(key) = task.key.as_ref().filter(|key| !key.starts_with(MADE)) else { return };
        let digest = u128::from_str_radix(&sha256(key.as_bytes())[..32], 16).unwrap_or_default();
        self.seen.push((digest.to_be_bytes(), u32::try_from(line).unwrap_or(u32::MAX)));
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
