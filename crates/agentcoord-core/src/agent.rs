//! Agents and their sessions: requests, outcomes, and the contract.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::{Error, Result};
use crate::ids::{Id, IdPrefix};
use crate::limits;
use crate::op::{Op, Verb};
use crate::time::WallMs;

/// What a session's life is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    /// A process that sends heartbeats.
    Process,
    /// A shell agent: it lives a time past its last call.
    Shell,
}

/// A process as the kernel of one boot knows it; equal in all parts means the same process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Process id.
    pub pid: u32,
    /// Start time of the process in clock ticks since boot.
    pub started: u64,
    /// Boot id of the machine.
    pub boot_id: String,
    /// Inode of the pid namespace.
    pub pid_namespace: u64,
}

/// Registers an agent, or a new session of a known one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// Id for the agent if it is new.
    pub agent: Id,
    /// Id for the session.
    pub session: Id,
    /// The configured name.
    pub name: String,
    /// Tells apart shell agents of one name; empty for processes. See [`Register::resume`].
    pub key: String,
    /// What it does, as in "Engineer".
    pub role: String,
    /// What it works on now.
    pub working_on: Option<String>,
    /// What it can do; matched against `requires` of tasks.
    pub capabilities: Vec<String>,
    /// The machine's name.
    pub host: String,
    /// The process that the session is bound to.
    pub process: Option<ProcessIdentity>,
    /// What the session's life is bound to.
    pub kind: SessionKind,
    /// Time to live after the last sign of life, in milliseconds.
    pub ttl: u64,
    /// The session that this one is a child of.
    pub parent: Option<Id>,
    /// True: if an agent of this name and key has a live session, continue it (shell agents).
    /// False: it becomes an agent of its own under `name-2`, `name-3` ... (processes).
    pub resume: bool,
    /// Free-form facts, as a JSON object.
    pub metadata: Option<String>,
}

impl Verb for Register {
    const NAME: &'static str = "agent/register";
    type Reply = Registered;

    fn validate(&self) -> Result<()> {
        check::name("name", &self.name)?;
        check::name("role", &self.role)?;
        check::note("key", &self.key, limits::KEY_BYTES)?;
        check::note_opt("working_on", self.working_on.as_deref(), limits::NOTE_BYTES)?;
        check::names("capabilities", &self.capabilities, limits::CLAIM_TAGS)?;
        check::note("host", &self.host, limits::TITLE_BYTES)?;
        check::duration("ttl", Some(self.ttl))?;
        check::note_opt("metadata", self.metadata.as_deref(), limits::NOTE_BYTES)
    }
}

/// The outcome of a registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The agent's key (short id).
    pub agent: String,
    /// The session.
    pub session: Id,
    /// The name it goes by: the configured one, or with a number when that was taken.
    pub name: String,
    /// True when a live session was continued.
    pub resumed: bool,
}

/// A sign of life. The only mutation without an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// True when the caller also made progress; a background thread sends false.
    pub progress: bool,
}

impl Verb for Heartbeat {
    const NAME: &'static str = "agent/heartbeat";
    type Reply = Beat;

    fn validate(&self) -> Result<()> {
        Ok(())
    }
}

/// The outcome of a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Milliseconds until the session ends without another one.
    pub ttl: u64,
}

/// Says what the agent does now. Counts as progress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateAgent {
    /// New free-form status.
    pub status: Option<String>,
    /// New work description.
    pub working_on: Option<String>,
    /// Declares a long job: not stuck for this many milliseconds from now. 0 ends the declaration.
    pub busy_for: Option<u64>,
}

impl Verb for UpdateAgent {
    const NAME: &'static str = "agent/update";
    type Reply = Beat;

    fn validate(&self) -> Result<()> {
        check::note_opt("status", self.status.as_deref(), limits::NOTE_BYTES)?;
        check::note_opt("working_on", self.working_on.as_deref(), limits::NOTE_BYTES)?;
        check::range("busy_for", self.busy_for.unwrap_or(0), 0, limits::DURATION)
    }
}

/// Ends the acting session: its locks pass on, its tasks return to the queue, its waits are cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deregister {
    /// Why, for the log.
    pub reason: Option<String>,
}

impl Verb for Deregister {
    const NAME: &'static str = "agent/deregister";
    type Reply = Deregistered;

    fn validate(&self) -> Result<()> {
        check::note_opt("reason", self.reason.as_deref(), limits::NOTE_BYTES)
    }
}

/// The outcome of a deregistration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deregistered {
    /// Holdings that were settled in this step; the rest follows in further steps.
    pub settled: u64,
}

/// Ends sessions from outside, as their time to live would: locks pass on, tasks return to the queue, late writes are
/// stale. A person does it to an agent that hangs, AgentCoord itself to one whose process has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvictAgent {
    /// One session; its agent's other sessions go on.
    pub session: Option<Id>,
    /// All live sessions of an agent, by what was typed for it.
    pub agent: Option<String>,
    /// Why, for the log and for whoever was evicted.
    pub reason: String,
    /// The audit entry, as the client encoded it.
    pub audit: String,
}

impl Verb for EvictAgent {
    const NAME: &'static str = "agent/evict";
    type Reply = Evicted;

    fn validate(&self) -> Result<()> {
        match (&self.session, &self.agent) {
            (Some(_), None) => {}
            (None, Some(agent)) => IdPrefix::parse("agent", agent).map(drop)?,
            _ => return Err(Error::invalid("agent", "both or none", "either a session or an agent")),
        }
        if self.reason.trim().is_empty() {
            return Err(Error::invalid("reason", "nothing", "why it is evicted"));
        }
        check::note("reason", &self.reason, limits::NOTE_BYTES)?;
        check::note("audit", &self.audit, limits::BLOB_BYTES)
    }
}

/// The outcome of an eviction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evicted {
    /// The agent's key (short id).
    pub agent: String,
    /// Sessions that were ended.
    pub sessions: u64,
    /// Holdings that were settled in this step; the rest follows in further steps.
    pub settled: u64,
}

/// Settles due items without any other work: expired sessions, deadlines, offers, waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// At most this many, 1 to 64.
    pub most: u64,
}

impl Verb for Tick {
    const NAME: &'static str = "agent/tick";
    type Reply = Ticked;

    fn validate(&self) -> Result<()> {
        check::range("most", self.most, 1, limits::WORK_PER_STEP as u64)
    }
}

/// The outcome of a tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticked {
    /// Items settled.
    pub settled: u64,
    /// Milliseconds until the next item is due; none when nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_in: Option<u64>,
}

/// The derived state of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// It makes progress and holds or works on something.
    Active,
    /// It is alive and holds nothing.
    Idle,
    /// It waits for a lock, an approval or work.
    Waiting,
    /// It declared a long job.
    Busy,
    /// It is alive but has made no progress for longer than the hung threshold.
    Stuck,
    /// Its heartbeats have stopped.
    Silent,
    /// Its session has ended.
    Gone,
}

/// An agent and its newest session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// The agent's id.
    pub id: Id,
    /// Its short id.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: String,
    /// Free-form status.
    pub status: Option<String>,
    /// Derived state.
    pub state: AgentState,
    /// What it works on.
    pub working_on: Option<String>,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// Its newest session.
    pub session: Id,
    /// What that session is bound to.
    pub kind: SessionKind,
    /// The machine's name.
    pub host: String,
    /// The process.
    pub process: Option<ProcessIdentity>,
    /// Milliseconds since the last sign of life.
    pub heartbeat_age: u64,
    /// Milliseconds since the last progress.
    pub progress_age: u64,
    /// Last sign of life.
    pub last_heartbeat: WallMs,
    /// Last progress.
    pub last_progress: WallMs,
    /// Milliseconds that remain of a declared long job.
    pub busy_for: Option<u64>,
    /// When the session began.
    pub started_at: WallMs,
    /// When and why the session ended.
    pub ended: Option<(WallMs, String)>,
    /// Locks held by the agent's sessions.
    pub locks: u64,
    /// Tasks claimed by the agent's sessions.
    pub tasks: u64,
    /// What it waits for, in words.
    pub waiting_for: Option<String>,
}

/// Who an agent is, without what it holds and does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its short id.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Its newest session.
    pub session: Id,
    /// Its role.
    pub role: String,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// Whether that session lives.
    pub is_live: bool,
}

/// Why an agent is suspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suspicion {
    /// No heartbeat.
    Silent,
    /// Heartbeat, but no progress.
    Stuck,
}

/// A suspect with its evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// The agent.
    pub agent: Agent,
    /// Silent or stuck.
    pub verdict: Suspicion,
    /// The evidence in a sentence.
    pub evidence: String,
}

impl Suspect {
    /// Whether an agent without heartbeat or without progress for `threshold` milliseconds is to be suspected, and why.
    #[must_use]
    pub fn of(agent: &Agent, threshold: u64) -> Option<Self> {
        let suspect = |verdict, evidence| Some(Self { agent: agent.clone(), verdict, evidence });
        let seconds = |ms: u64| format!("{} s", ms / 1_000);
        let process = agent.kind == SessionKind::Process;
        let quiet = matches!(agent.state, AgentState::Silent | AgentState::Gone) || agent.heartbeat_age >= threshold;
        if process && quiet {
            return suspect(Suspicion::Silent, format!("no heartbeat for {}", seconds(agent.heartbeat_age)));
        }
        // Between its calls a shell agent is nowhere: without anything in its hands there is nothing it could hang on.
        let nowhere = !process && agent.locks + agent.tasks == 0;
        let excused = nowhere || agent.waiting_for.is_some() || agent.busy_for.is_some();
        if excused || agent.progress_age < threshold {
            return None;
        }
        let still = seconds(agent.progress_age);
        let evidence = if process {
            let beat = seconds(agent.heartbeat_age);
            format!("heartbeat {beat} ago, but no operation, update or declared job for {still}")
        } else {
            format!("no call for {still}")
        };
        suspect(Suspicion::Stuck, evidence)
    }
}

/// The agent registry.
#[async_trait]
pub trait AgentRegistry: Send + Sync {
    /// Registers an agent.
    ///
    /// # Behavior
    /// - `same_name_is_two_agents`: two processes of one name are two sessions and never share ownership.
    /// - `shell_agent_continues_its_session`: with `resume` the same name and key are the same session.
    async fn register(&self, op: Op<Register>) -> Result<Registered>;

    /// Keeps the session and everything it holds alive.
    ///
    /// # Behavior
    /// - `session_ends_without_heartbeat`: after the time to live its holdings pass on.
    /// - `heartbeat_is_not_progress`: a beat alone never moves the progress clock.
    async fn heartbeat(&self, op: Op<Heartbeat>) -> Result<Beat>;

    /// Says what the agent does.
    async fn update(&self, op: Op<UpdateAgent>) -> Result<Beat>;

    /// Ends the session.
    ///
    /// # Behavior
    /// - `deregister_passes_holdings_on`: locks go to waiters, tasks back to the front of their queue.
    /// - `late_writes_of_an_ended_session_are_stale`.
    async fn deregister(&self, op: Op<Deregister>) -> Result<Deregistered>;

    /// Ends sessions from outside; an audit entry in the same step says who did it and why.
    ///
    /// # Behavior
    /// - `eviction_ends_every_session_of_an_agent`; `evicting_a_session_leaves_its_agents_others`.
    /// - `agents_never_evict`: people do, and AgentCoord itself when a process has ended.
    async fn evict(&self, op: Op<EvictAgent>) -> Result<Evicted>;

    /// Settles due items.
    ///
    /// # Behavior
    /// - `many_that_fall_silent_at_once_are_spared_once`: with 8 or more live sessions, when more than half would end
    ///   at once or the store was away, each gets one more time to live.
    /// - `one_dead_among_many_ends_at_its_time`.
    async fn tick(&self, op: Op<Tick>) -> Result<Ticked>;

    /// Live agents, and with `all` those whose sessions have ended, by name.
    async fn list(&self, all: bool) -> Result<Vec<Agent>>;

    /// An agent by exact name, id, or unique id prefix.
    async fn find(&self, who: &str) -> Result<Agent>;

    /// Agents without heartbeat or without progress for `threshold` milliseconds, with evidence.
    ///
    /// # Behavior
    /// - `hung_tells_silent_from_stuck`; `waiting_and_busy_are_never_stuck`.
    async fn hung(&self, threshold: u64) -> Result<Vec<Suspect>>;
}
