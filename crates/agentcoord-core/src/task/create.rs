//! Creating tasks.

use serde::{Deserialize, Serialize};

use super::{Backoff, sorted};
use crate::check;
use crate::error::{Error, Result};
use crate::ids::{Id, IdPrefix};
use crate::limits;
use crate::op::{Blob, Verb};
use crate::record::NEVER;
use crate::time::WallMs;

/// A task to be created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTask {
    /// Its id, made by the client.
    pub id: Id,
    /// One line.
    pub title: String,
    /// 1 to 5; 5 is claimed first.
    pub priority: u8,
    /// What it is about; a claim names any of them.
    pub tags: Vec<String>,
    /// Capabilities that an agent must all have.
    pub requires: Vec<String>,
    /// How often it may be attempted.
    pub max_attempts: u32,
    /// How long a claim lasts, in milliseconds; none: as long as the claimer's session.
    pub lease: Option<u64>,
    /// How long it rests after a failure; none: the default of [`Backoff`].
    pub backoff: Option<Backoff>,
    /// The wall time before which nobody gets it. It is not part of what a repeated key compares: who asks again for a
    /// task in an hour from now means the same task.
    pub not_before: Option<WallMs>,
    /// Ids of tasks that must be completed before: of existing ones, or of earlier ones in the same request.
    pub depends_on: Vec<String>,
    /// User-level idempotency key.
    pub key: Option<String>,
    /// Digest of the content, to tell a repeated key from a reused one. Filled by [`CreateTasks::new`].
    pub digest: String,
    /// Whether a description is stored beside it.
    pub has_description: bool,
    /// Whether a payload is stored beside it.
    pub has_payload: bool,
    /// Long text; stored as a blob.
    #[serde(skip)]
    pub description: Option<String>,
    /// JSON text; stored as a blob.
    #[serde(skip)]
    pub payload: Option<String>,
}

impl NewTask {
    /// A task with a title and defaults for all else.
    #[must_use]
    pub fn titled(title: impl Into<String>) -> Self {
        Self {
            id: Id::random(),
            title: title.into(),
            priority: limits::PRIORITY,
            tags: Vec::new(),
            requires: Vec::new(),
            max_attempts: limits::MAX_ATTEMPTS,
            lease: None,
            backoff: None,
            not_before: None,
            depends_on: Vec::new(),
            key: None,
            digest: String::new(),
            has_description: false,
            has_payload: false,
            description: None,
            payload: None,
        }
    }

    /// Sorts the word lists and fills the derived fields; [`CreateTasks::new`] calls it.
    #[must_use]
    fn seal(mut self) -> Self {
        for id in &mut self.depends_on {
            if let Ok(digits) = IdPrefix::parse("depends_on", id) {
                digits.as_str().clone_into(id);
            }
        }
        for list in [&mut self.tags, &mut self.requires, &mut self.depends_on] {
            list.sort();
            list.dedup();
        }
        self.has_description = self.description.is_some();
        self.has_payload = self.payload.is_some();
        let content = format!(
            "{:?}",
            (
                &self.title,
                self.priority,
                &self.tags,
                &self.requires,
                self.max_attempts,
                self.lease,
                self.backoff,
                &self.depends_on,
                &self.description,
                &self.payload
            )
        );
        self.digest = crate::op::sha256(content.as_bytes())[..16].to_owned();
        self
    }

    fn validate(&self) -> Result<()> {
        check::line("title", &self.title, limits::TITLE_BYTES)?;
        check::range("priority", self.priority.into(), 1, 5)?;
        check::names("tags", &self.tags, limits::TAGS)?;
        sorted("tags", &self.tags)?;
        check::names("requires", &self.requires, limits::TAGS)?;
        sorted("requires", &self.requires)?;
        check::range("max_attempts", self.max_attempts.into(), 1, 1_000)?;
        check::duration("lease", self.lease)?;
        if let Some(backoff) = &self.backoff {
            backoff.validate()?;
        }
        check::range("not_before", self.not_before.unwrap_or(0), 0, NEVER)?;
        for id in &self.depends_on {
            IdPrefix::parse("depends_on", id)?;
        }
        if let Some(key) = &self.key {
            check::line("key", key, limits::KEY_BYTES)?;
        }
        check::blob("description", self.description.as_deref().map(str::as_bytes))?;
        check::blob("payload", self.payload.as_deref().map(str::as_bytes))
    }
}

/// Creates up to 100 tasks in one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTasks {
    /// The tasks, in order.
    pub tasks: Vec<NewTask>,
}

impl CreateTasks {
    /// Tasks to create, sealed.
    #[must_use]
    pub fn new(tasks: Vec<NewTask>) -> Self {
        Self { tasks: tasks.into_iter().map(NewTask::seal).collect() }
    }

    /// How many of these go into one request: not too many, and with no more dependencies than are looked up before the
    /// answer, unless the first alone has more.
    #[must_use]
    pub fn chunk<'a>(tasks: impl Iterator<Item = &'a NewTask>) -> usize {
        let mut dependencies = 0;
        let fit = tasks.take(limits::CREATE_CHUNK).take_while(|task| {
            dependencies += task.depends_on.len();
            dependencies <= limits::WORK_PER_STEP
        });
        fit.count().max(1)
    }
}

impl Verb for CreateTasks {
    const NAME: &'static str = "task/create";
    type Reply = Created;

    fn validate(&self) -> Result<()> {
        check::range("tasks", self.tasks.len() as u64, 1, limits::CREATE_CHUNK as u64)?;
        let dependencies: usize = self.tasks.iter().map(|task| task.depends_on.len()).sum();
        if dependencies > limits::DEPENDENCIES {
            let allowed = format!("at most {} in one request", limits::DEPENDENCIES);
            return Err(Error::invalid("depends_on", format!("{dependencies} of them"), allowed));
        }
        self.tasks.iter().try_for_each(NewTask::validate)
    }

    fn blobs(&self) -> Vec<Blob> {
        let mut blobs = Vec::new();
        for task in &self.tasks {
            if let Some(text) = &task.description {
                blobs.push(Blob::new("task", &task.id, "description", text.as_bytes()));
            }
            if let Some(text) = &task.payload {
                blobs.push(Blob::new("task", &task.id, "payload", text.as_bytes()));
            }
        }
        blobs
    }
}

/// The outcome of a create, one item a task, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// The tasks.
    pub items: Vec<CreatedTask>,
}

/// One created task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedTask {
    /// Its short id.
    pub key: String,
    /// True when the idempotency key named a task that exists already; `key` is that task.
    pub duplicate: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_what_one_request_looks_up() {
        let with =
            |dependencies: usize| NewTask { depends_on: vec![String::new(); dependencies], ..NewTask::titled("x") };
        let chunk = |tasks: &[NewTask]| CreateTasks::chunk(tasks.iter());
        assert_eq!(chunk(&vec![with(0); 250]), 100);
        assert_eq!(chunk(&vec![with(3); 100]), 21);
        assert_eq!(chunk(&[with(9_000), with(0)]), 1);
        assert_eq!(chunk(&[with(64), with(0), with(1)]), 2);
    }
}
