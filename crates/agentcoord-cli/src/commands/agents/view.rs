//! An agent as answers show it.

use agentcoord::core::agent::{Agent, AgentState};
use serde::Serialize;

use crate::output::{Grid, Page, Stamp, Tone, ago};

/// An agent.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AgentView {
    /// Short id.
    pub(crate) id: String,
    /// Name.
    pub(crate) name: String,
    /// Role.
    pub(crate) role: String,
    /// What it says about itself.
    pub(crate) status: Option<String>,
    /// What the system says about it.
    pub(crate) state: AgentState,
    /// What it works on.
    pub(crate) working_on: Option<String>,
    /// Its newest session.
    pub(crate) session: String,
    /// Last sign of life.
    pub(crate) last_heartbeat: Stamp,
    /// Last progress.
    pub(crate) last_progress: Stamp,
    /// When the session began.
    pub(crate) started_at: Stamp,
    /// The machine.
    pub(crate) host: String,
    /// The process.
    pub(crate) pid: Option<u32>,
    /// Paths it holds.
    pub(crate) locks: u64,
    /// Tasks it has claimed.
    pub(crate) tasks: u64,
    /// What it waits for.
    pub(crate) waiting_for: Option<String>,
    /// What it can do.
    pub(crate) capabilities: Vec<String>,
    /// Seconds that remain of a declared long job.
    pub(crate) busy_for_s: Option<u64>,
    /// When the session ended.
    pub(crate) ended_at: Option<Stamp>,
    /// Why.
    pub(crate) ended_because: Option<String>,
}

impl From<Agent> for AgentView {
    fn from(agent: Agent) -> Self {
        let (ended_at, ended_because) = agent.ended.map(|(at, why)| (Stamp(at), why)).unzip();
        Self {
            id: agent.key,
            name: agent.name,
            role: agent.role,
            status: agent.status,
            state: agent.state,
            working_on: agent.working_on,
            session: agent.session.to_string(),
            last_heartbeat: Stamp(agent.last_heartbeat),
            last_progress: Stamp(agent.last_progress),
            started_at: Stamp(agent.started_at),
            host: agent.host,
            pid: agent.process.map(|p| p.pid),
            locks: agent.locks,
            tasks: agent.tasks,
            waiting_for: agent.waiting_for,
            capabilities: agent.capabilities,
            busy_for_s: agent.busy_for.map(|ms| ms / 1_000),
            ended_at,
            ended_because,
        }
    }
}

/// A derived state as a word.
pub(crate) fn word(state: AgentState) -> &'static str {
    match state {
        AgentState::Active => "active",
        AgentState::Idle => "idle",
        AgentState::Waiting => "waiting",
        AgentState::Busy => "busy",
        AgentState::Stuck => "stuck",
        AgentState::Silent => "silent",
        AgentState::Gone => "gone",
    }
}

fn tone(state: AgentState) -> Tone {
    match state {
        AgentState::Stuck | AgentState::Silent => Tone::Bad,
        AgentState::Waiting => Tone::Warn,
        AgentState::Gone => Tone::Faint,
        AgentState::Active | AgentState::Idle | AgentState::Busy => Tone::Plain,
    }
}

fn count(number: u64) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

/// Agents as a table.
pub(crate) fn grid(agents: &[AgentView]) -> Grid {
    let header = ["NAME", "ROLE", "STATE", "LOCKS", "TASKS", "SEEN", "WORKING ON", "WAITS FOR"];
    let mut grid = Grid::new(header).prose(["WORKING ON", "WAITS FOR"]);
    for agent in agents {
        let doing = agent.working_on.clone().or_else(|| agent.status.clone()).unwrap_or_default();
        grid.row(
            tone(agent.state),
            [
                agent.name.clone(),
                agent.role.clone(),
                word(agent.state).to_owned(),
                count(agent.locks),
                count(agent.tasks),
                ago(agent.last_heartbeat),
                doing,
                agent.waiting_for.clone().unwrap_or_default(),
            ],
        );
    }
    grid
}

/// One agent, field by field.
pub(crate) fn fields(agent: &AgentView, page: &mut Page) {
    let capabilities = (!agent.capabilities.is_empty()).then(|| agent.capabilities.join(", "));
    page.fields([
        ("name", Some(agent.name.clone())),
        ("id", Some(agent.id.clone())),
        ("role", Some(agent.role.clone())),
        ("state", Some(word(agent.state).to_owned())),
        ("status", agent.status.clone()),
        ("working on", agent.working_on.clone()),
        ("waits for", agent.waiting_for.clone()),
        ("can", capabilities),
        ("locks", Some(agent.locks.to_string())),
        ("tasks", Some(agent.tasks.to_string())),
        ("heartbeat", Some(ago(agent.last_heartbeat))),
        ("progress", Some(ago(agent.last_progress))),
        ("since", Some(ago(agent.started_at))),
        ("host", Some(agent.host.clone())),
        ("pid", agent.pid.map(|pid| pid.to_string())),
        ("session", Some(agent.session.clone())),
        (
            "ended",
            agent.ended_at.map(|at| format!("{}: {}", ago(at), agent.ended_because.as_deref().unwrap_or_default())),
        ),
    ]);
}
