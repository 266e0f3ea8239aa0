//! A task as answers show it.

use agentcoord::core::ids::Token;
use agentcoord::core::task::{Dependency, Setback, Task, TaskDetail, TaskStatus};
use serde::Serialize;
use serde_json::Value;

use crate::exit::Exit;
use crate::input;
use crate::output::{Grid, Page, Render, Stamp, Tone, ago};

/// Dependencies and lost attempts that a table lists.
const LISTED: usize = 20;

/// A task.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TaskView {
    /// Short id.
    pub(crate) id: String,
    /// One line.
    pub(crate) title: String,
    /// Its state.
    pub(crate) status: TaskStatus,
    priority: u8,
    tags: Vec<String>,
    requires: Vec<String>,
    waits_for: u32,
    lost: u32,
    not_before: Option<Stamp>,
    retry_at: Option<Stamp>,
    attempt: u32,
    max_attempts: u32,
    crashes: u32,
    claimed_by: Option<String>,
    claimed_at: Option<Stamp>,
    deadline: Option<Stamp>,
    /// The fencing token of the claim.
    pub(crate) token: Option<Token>,
    created_by: String,
    created_at: Stamp,
    completed_at: Option<Stamp>,
    error: Option<String>,
    note: Option<String>,
    percent: Option<u8>,
    /// No live agent can do all that it requires.
    stranded: bool,
    #[serde(flatten)]
    long: Option<Long>,
}

/// What listings leave out.
#[derive(Clone, Debug, Serialize)]
struct Long {
    depends_on: Vec<String>,
    dependencies: Vec<DependencyView>,
    setbacks: Vec<SetbackView>,
    description: Option<String>,
    payload: Option<Value>,
    result: Option<Value>,
}

/// A task that this one depends on. Without a status it is not there any more.
#[derive(Clone, Debug, Serialize)]
struct DependencyView {
    id: String,
    status: Option<TaskStatus>,
}

/// An attempt that came to nothing.
#[derive(Clone, Debug, Serialize)]
struct SetbackView {
    attempt: u32,
    crashed: bool,
    reason: String,
    at: Stamp,
    by: Option<String>,
}

impl From<Setback> for SetbackView {
    fn from(setback: Setback) -> Self {
        Self {
            attempt: setback.attempt,
            crashed: setback.crashed,
            reason: setback.reason,
            at: Stamp(setback.at),
            by: setback.name,
        }
    }
}

impl From<Task> for TaskView {
    fn from(task: Task) -> Self {
        Self {
            id: task.key,
            title: task.title,
            status: task.status,
            priority: task.priority,
            tags: task.tags,
            requires: task.requires,
            waits_for: task.waits_for,
            lost: task.lost,
            not_before: task.not_before.map(Stamp),
            retry_at: task.retry_at.map(Stamp),
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            crashes: task.crashes,
            claimed_by: task.claimed_by,
            claimed_at: task.claimed_at.map(Stamp),
            deadline: task.deadline_at.map(Stamp),
            token: task.token,
            created_by: task.created_by,
            created_at: Stamp(task.created_at),
            completed_at: task.completed_at.map(Stamp),
            error: task.error,
            note: task.note,
            percent: task.percent,
            stranded: task.stranded,
            long: None,
        }
    }
}

impl From<TaskDetail> for TaskView {
    fn from(detail: TaskDetail) -> Self {
        let dependency = |d: Dependency| DependencyView { id: d.key, status: d.status };
        let long = Long {
            depends_on: detail.depends_on.iter().map(|d| d.key.clone()).collect(),
            dependencies: detail.depends_on.into_iter().map(dependency).collect(),
            setbacks: detail.setbacks.into_iter().map(SetbackView::from).collect(),
            description: detail.description,
            payload: detail.payload.map(input::value),
            result: detail.result.map(input::value),
        };
        Self { long: Some(long), ..Self::from(detail.task) }
    }
}

fn tone(status: TaskStatus) -> Tone {
    match status {
        TaskStatus::Failed | TaskStatus::Dead => Tone::Bad,
        TaskStatus::Blocked => Tone::Warn,
        TaskStatus::Completed | TaskStatus::Cancelled => Tone::Faint,
        TaskStatus::Scheduled | TaskStatus::Pending | TaskStatus::Claimed | TaskStatus::InProgress => Tone::Plain,
    }
}

fn words(status: TaskStatus) -> String {
    status.word().replace('_', " ")
}

/// The state of a task, and of a blocked one whether it will stay so.
fn standing(task: &TaskView) -> String {
    match task.lost {
        0 => words(task.status),
        n => format!("{}, {n} lost", words(task.status)),
    }
}

/// Tasks as a table.
pub(crate) fn grid(items: &[TaskView]) -> Grid {
    let mut grid = Grid::new(["ID", "STATUS", "PRIO", "TITLE", "TAGS", "CLAIMED BY", "AGE", "DONE"]);
    for task in items {
        let progress = task.percent.map(|p| format!("{p}%")).unwrap_or_default();
        let cells = [
            task.id.clone(),
            standing(task),
            task.priority.to_string(),
            task.title.clone(),
            task.tags.join(", "),
            task.claimed_by.clone().unwrap_or_default(),
            ago(task.created_at),
            task.completed_at.map_or(progress, ago),
        ];
        let tone = match task {
            TaskView { lost: 1.., .. } => Tone::Bad,
            TaskView { stranded: true, .. } => Tone::Warn,
            _ => tone(task.status),
        };
        grid.row(tone, cells);
    }
    grid
}

/// A task in full.
fn fields(task: &TaskView, page: &mut Page) {
    let list = |words: &[String]| (!words.is_empty()).then(|| words.join(", "));
    let progress = match (&task.note, task.percent) {
        (Some(note), Some(percent)) => Some(format!("{percent}%  {note}")),
        (None, Some(percent)) => Some(format!("{percent}%")),
        (note, None) => note.clone(),
    };
    let attempt = match task.crashes {
        0 => format!("{} of {}", task.attempt, task.max_attempts),
        n => format!("{} of {}, and {n} lost with their worker", task.attempt, task.max_attempts),
    };
    let waits_for = match (task.waits_for, task.lost) {
        (0, _) => None,
        (1, 0) => Some("1 task".to_owned()),
        (1, _) => Some("1 task, which ended without being completed".to_owned()),
        (n, 0) => Some(format!("{n} tasks")),
        (n, lost) => Some(format!("{n} tasks, {lost} of which ended without being completed")),
    };
    let start = task.not_before.filter(|_| !task.status.is_final());
    page.fields([
        ("id", Some(task.id.clone())),
        ("title", Some(task.title.clone())),
        ("status", Some(words(task.status))),
        ("priority", Some(task.priority.to_string())),
        ("tags", list(&task.tags)),
        ("requires", list(&task.requires)),
        ("waits for", waits_for),
        ("not before", start.map(|at| format!("{} ({})", at.rfc3339(), at.ahead()))),
        ("next try", task.retry_at.map(Stamp::ahead)),
        ("stranded", task.stranded.then(|| "no live agent can do all that it requires".to_owned())),
        ("claimed by", task.claimed_by.clone()),
        ("claimed", task.claimed_at.map(ago)),
        ("deadline", task.deadline.map(Stamp::ahead)),
        ("token", task.token.map(|t| t.to_string())),
        ("attempt", Some(attempt)),
        ("progress", progress),
        ("error", task.error.clone()),
        ("created", Some(format!("{} by {}", ago(task.created_at), task.created_by))),
        ("ended", task.completed_at.map(ago)),
    ]);
    let Some(long) = &task.long else { return };
    dependencies(&long.dependencies, page);
    setbacks(&long.setbacks, page);
    let json = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
    let texts = [
        ("description", long.description.clone()),
        ("payload", long.payload.as_ref().map(json)),
        ("result", long.result.as_ref().map(json)),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            page.gap();
            page.line(name);
            page.block(&text, 2);
        }
    }
}

/// What a task depends on: first what is not completed.
fn dependencies(all: &[DependencyView], page: &mut Page) {
    if all.is_empty() {
        return;
    }
    page.gap();
    page.line("depends on");
    let is_done = |d: &DependencyView| d.status == Some(TaskStatus::Completed);
    let (done, open): (Vec<_>, Vec<_>) = all.iter().partition(|d| is_done(d));
    for dependency in open.into_iter().chain(done).take(LISTED) {
        let status = dependency.status.map_or_else(|| "not there".to_owned(), words);
        page.block(&format!("{}  {status}", dependency.id), 2);
    }
    if all.len() > LISTED {
        page.block(&format!("and {} more", all.len() - LISTED), 2);
    }
}

/// The attempts that came to nothing: the newest ones.
fn setbacks(all: &[SetbackView], page: &mut Page) {
    if all.is_empty() {
        return;
    }
    page.gap();
    page.line("attempts that came to nothing");
    for setback in &all[all.len().saturating_sub(LISTED)..] {
        let by = setback.by.as_deref().unwrap_or("nobody");
        let end = if setback.crashed { "lost" } else { "failed" };
        page.block(&format!("{}  {end} {} by {by}: {}", setback.attempt, ago(setback.at), setback.reason), 2);
    }
}

/// One task: in full, or in a line that says what has become of it.
#[derive(Debug, Serialize)]
pub(crate) struct OneTask {
    task: TaskView,
    #[serde(skip)]
    full: bool,
}

impl OneTask {
    /// The whole task.
    pub(crate) fn full(detail: TaskDetail) -> Self {
        Self { task: detail.into(), full: true }
    }

    /// A line about it.
    pub(crate) fn brief(detail: TaskDetail) -> Self {
        Self { task: detail.into(), full: false }
    }
}

impl Render for OneTask {
    fn table(&self, page: &mut Page) {
        let task = &self.task;
        if self.full {
            fields(task, page);
        } else {
            page.line(format!("{}  {}  {}", task.id, words(task.status), task.title));
        }
    }

    fn ids(&self) -> Vec<String> {
        vec![self.task.id.clone()]
    }
}

/// A claim's outcome.
#[derive(Debug, Serialize)]
pub(crate) struct MaybeTask {
    task: Option<TaskView>,
    #[serde(skip)]
    waited: bool,
}

impl MaybeTask {
    /// A claimed task.
    pub(crate) fn claimed(detail: TaskDetail) -> Self {
        Self { task: Some(detail.into()), waited: false }
    }

    /// There was nothing to claim.
    pub(crate) fn nothing(waited: bool) -> Self {
        Self { task: None, waited }
    }
}

impl Render for MaybeTask {
    fn table(&self, page: &mut Page) {
        match &self.task {
            Some(task) => fields(task, page),
            None if self.waited => page.line("nothing to claim in time"),
            None => page.line("nothing to claim now   (--wait 30s waits for the next task)"),
        }
    }

    fn ids(&self) -> Vec<String> {
        self.task.iter().map(|task| task.id.clone()).collect()
    }

    fn exit(&self) -> Exit {
        if self.task.is_some() { Exit::Done } else { Exit::Nothing }
    }
}
