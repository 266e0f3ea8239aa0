//! Locks as answers show them, and the error when somebody else holds one.

use std::collections::BTreeMap;

use agentcoord::Error;
use agentcoord::core::agent::Agent;
use agentcoord::core::lock::{Acquire, Conflict, Grant, Lock, LockMode, LockPath, PathState, Waiter, Waits};
use agentcoord::core::store::Backend;
use serde::Serialize;
use serde_json::json;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::text::shell;
use crate::output::{Page, Stamp, ago};

/// Roles of agents, by key.
pub(super) type Roles = BTreeMap<String, String>;

/// The roles of some agents.
pub(super) fn roles(agents: Vec<Agent>) -> Roles {
    agents.into_iter().map(|agent| (agent.key, agent.role)).collect()
}

/// An agent that holds or waits.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Who {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) role: Option<String>,
}

impl Who {
    fn new(id: String, name: String, roles: &Roles) -> Self {
        Self { role: roles.get(&id).cloned(), id, name }
    }
}

/// One holder of a path, with those who wait for it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LockView {
    pub(super) path: String,
    pub(super) mode: LockMode,
    /// None when nobody holds the path at this moment and some wait.
    pub(super) token: Option<u64>,
    pub(super) holder: Option<Who>,
    pub(super) intent: Option<String>,
    pub(super) since: Option<Stamp>,
    pub(super) deadline: Option<Stamp>,
    pub(super) waiters: Vec<WaiterView>,
}

/// One who waits.
#[derive(Clone, Debug, Serialize)]
pub(super) struct WaiterView {
    /// False when it only waits until the path is free.
    pub(super) takes: bool,
    pub(super) agent: Who,
    pub(super) intent: Option<String>,
    pub(super) since: Stamp,
}

impl WaiterView {
    fn new(waiter: Waiter, roles: &Roles) -> Self {
        let agent = Who::new(waiter.agent, waiter.name, roles);
        Self { takes: waiter.takes, agent, intent: waiter.intent, since: Stamp(waiter.since) }
    }
}

impl LockView {
    /// Everything that stands at a path: one entry for each holder, and the waiters with the first.
    pub(super) fn of(path: &LockPath, state: PathState, roles: &Roles) -> Vec<Self> {
        let mut waiters: Vec<_> = state.waiters.into_iter().map(|w| WaiterView::new(w, roles)).collect();
        let mut views: Vec<Self> =
            state.holders.into_iter().map(|lock| Self::held(path, lock, std::mem::take(&mut waiters), roles)).collect();
        if views.is_empty() && !waiters.is_empty() {
            views.push(Self {
                path: path.to_string(),
                mode: LockMode::Exclusive,
                token: None,
                holder: None,
                intent: None,
                since: None,
                deadline: None,
                waiters,
            });
        }
        views
    }

    fn held(path: &LockPath, lock: Lock, waiters: Vec<WaiterView>, roles: &Roles) -> Self {
        Self {
            path: path.to_string(),
            mode: lock.mode,
            token: Some(lock.token.0),
            holder: Some(Who::new(lock.agent, lock.name, roles)),
            intent: lock.intent,
            since: Some(Stamp(lock.since)),
            deadline: lock.deadline_at.map(Stamp),
            waiters,
        }
    }
}

/// A grant, as `acquire` and `renew` answer it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct GrantView {
    pub(super) locks: Vec<GrantedPath>,
    pub(super) token: u64,
    /// What `release --handle` takes.
    pub(super) handle: String,
    pub(super) reacquired: bool,
}

/// One path of a grant.
#[derive(Clone, Debug, Serialize)]
pub(super) struct GrantedPath {
    pub(super) path: String,
    pub(super) mode: LockMode,
    pub(super) deadline: Option<Stamp>,
}

impl From<Grant> for GrantView {
    fn from(grant: Grant) -> Self {
        let deadline = grant.deadline_at.map(Stamp);
        let path = |path: &LockPath| GrantedPath { path: path.to_string(), mode: grant.mode, deadline };
        Self {
            locks: grant.paths.iter().map(path).collect(),
            token: grant.token.0,
            handle: grant.token.to_string(),
            reacquired: grant.reacquired,
        }
    }
}

impl GrantView {
    /// One line for each path.
    pub(super) fn table(&self, verb: &str, page: &mut Page) {
        for lock in &self.locks {
            let until = lock.deadline.map(|at| format!(", ends {}", at.ahead())).unwrap_or_default();
            page.line(format!("{verb} {} (token {}{until})", lock.path, self.token));
        }
    }
}

/// The grant of an acquire, or the error that says who is in the way. `paths` are the user's own words: what the error
/// proposes is typed in the same directory.
pub(super) async fn granted(context: &Context, outcome: Acquire, paths: &[String]) -> Result<GrantView, CliError> {
    match outcome {
        Acquire::Granted(grant) => Ok(grant.into()),
        Acquire::Contended { conflicts } => {
            let agents = context.store().await?.agents().list(false).await?;
            Err(contended(&conflicts, paths, &roles(agents)))
        }
        Acquire::Deadlock { cycle } => Err(deadlock(&cycle, paths)),
        Acquire::Queued { .. } | Acquire::Lapsed { .. } | Acquire::Free => {
            let message = format!("{} could not be had within the time to wait", paths.join(", "));
            let error = CliError::new(Exit::Held, "LOCK_HELD", message).retryable();
            let details = json!({"conflicts": [], "paths": paths});
            Err(error.details(details).next("who has it", show(paths)).next("wait longer", queue(paths)))
        }
    }
}

/// Waiting would never end: what to give up first is for the caller to say.
fn deadlock(cycle: &[Waits], paths: &[String]) -> CliError {
    let message = Error::Deadlock { cycle: cycle.to_vec() }.to_string();
    CliError::new(Exit::Held, "DEADLOCK", message)
        .details(json!({"cycle": cycle}))
        .next("give something back first", "agentcoord locks release PATH")
        .next("who has it", show(paths))
}

fn contended(conflicts: &[Conflict], paths: &[String], roles: &Roles) -> CliError {
    let lines: Vec<String> = conflicts.iter().map(sentence).collect();
    let details: Vec<_> = conflicts
        .iter()
        .map(|c| {
            json!({
                "path": c.path,
                "holder": Who::new(c.agent.clone(), c.name.clone(), roles),
                "waiting": c.waiting,
                "intent": c.intent,
                "since": Stamp(c.since),
                "deadline": c.deadline_at.map(Stamp),
            })
        })
        .collect();
    CliError::new(Exit::Held, "LOCK_HELD", lines.join("; "))
        .retryable()
        .details(json!({"conflicts": details}))
        .next("wait for it", wait(paths))
        .next("queue for it", queue(paths))
        .next("who has it", show(paths))
}

fn sentence(conflict: &Conflict) -> String {
    let Conflict { path, name, agent, .. } = conflict;
    let intent = conflict.intent.as_ref().map(|why| format!(", \"{why}\"")).unwrap_or_default();
    let since = ago(Stamp(conflict.since));
    if conflict.waiting {
        return format!("{path} is waited for by {name} ({agent}{intent}), who asked {since}");
    }
    let until = conflict.deadline_at.map(|at| format!(", ends {}", Stamp(at).ahead())).unwrap_or_default();
    format!("{path} is locked by {name} ({agent}{intent}), taken {since}{until}")
}

fn words(paths: &[String]) -> String {
    paths.iter().map(|path| shell(path)).collect::<Vec<_>>().join(" ")
}

fn wait(paths: &[String]) -> String {
    format!("agentcoord locks wait {} --timeout 10m", words(paths))
}

fn queue(paths: &[String]) -> String {
    format!("agentcoord locks acquire {} --wait 10m", words(paths))
}

fn show(paths: &[String]) -> String {
    format!("agentcoord locks show {}", words(paths.get(..1).unwrap_or_default()))
}
