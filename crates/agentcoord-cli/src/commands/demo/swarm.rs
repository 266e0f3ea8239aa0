//! The processes of the demo: agents, and the `approve` that a person would type.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use agentcoord::BackendChoice;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::chaos;
use super::scratch::Scratch;
use crate::error::CliError;
use crate::fence;
use crate::output::text::shell;

/// How long agents have to leave.
const FAREWELL: Duration = Duration::from_secs(10);

/// Where the demo's processes work: flags and variables of every call.
#[derive(Debug)]
pub(super) struct Place {
    program: PathBuf,
    flags: Vec<OsString>,
    redis_url: Option<String>,
    /// Redis goes and comes back: its times are short.
    hurried: bool,
    /// What a person types before the command.
    shown: String,
}

impl Place {
    /// The place of a scratch clone. `shown_url` is the Redis URL without its secrets.
    ///
    /// # Errors
    /// When this program cannot be found.
    pub(super) fn new(
        scratch: &Scratch,
        namespace: &str,
        backend: BackendChoice,
        redis_url: Option<String>,
        shown_url: Option<&str>,
    ) -> Result<Self, CliError> {
        let program = std::env::current_exe().map_err(|e| CliError::internal("this program", e))?;
        let hurried = backend == BackendChoice::Auto;
        let backend = backend.word();
        let clone = scratch.git.dir().display().to_string();
        let state_dir = scratch.state_dir();
        let flags = ["-C", &clone, "--namespace", namespace, "--backend", backend, "--state-dir"];
        let mut flags: Vec<OsString> = flags.into_iter().map(OsString::from).collect();
        flags.push(state_dir.clone().into());
        let mut shown = format!("agentcoord -C {}", shell(&clone));
        // A server of the demo's own ends with it.
        if let Some(url) = shown_url.filter(|_| redis_url.is_some() && !hurried) {
            shown = format!("{shown} --redis-url {}", shell(url));
        }
        // A project's own settings would lead away from the demo's state.
        if scratch.git.dir().join(".agentcoord").exists() {
            let state_dir = shell(&state_dir.display().to_string());
            shown = format!("{shown} --namespace {namespace} --backend {backend} --state-dir {state_dir}");
        }
        Ok(Self { program, flags, redis_url, hurried, shown })
    }

    /// What a person types.
    pub(super) fn shown(&self, words: &str) -> String {
        format!("{} {words}", self.shown)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let ours = |name: &str| name.starts_with("AGENTCOORD_") || name == "REDIS_URL";
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(ours)) {
            command.env_remove(name);
        }
        if let Some(url) = &self.redis_url {
            command.env("AGENTCOORD_REDIS_URL", url);
        }
        if self.hurried {
            command.env("AGENTCOORD_DETECTION", format!("{}ms", chaos::DETECTION.as_millis()));
            command.env("AGENTCOORD_RETURN_AFTER", format!("{}ms", chaos::RETURN_AFTER.as_millis()));
        }
        command.args(&self.flags).kill_on_drop(true);
        command
    }

    /// Approves as a person: the marks of an agent's shell are taken off.
    ///
    /// # Errors
    /// With what the command said.
    pub(super) async fn approve(&self, id: &str, by: &str) -> Result<(), CliError> {
        let mut command = self.command();
        for marker in fence::MARKERS {
            command.env_remove(marker);
        }
        command.args(["approve", id, "--by", by, "-m", "granted by the demo itself"]).stdin(Stdio::null());
        let output = command.output().await.map_err(|e| CliError::internal("approve", e))?;
        if output.status.success() {
            return Ok(());
        }
        Err(CliError::internal("approve", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// An agent's process.
#[derive(Debug)]
pub(super) struct Member {
    /// Its name.
    pub(super) name: String,
    child: Child,
    ended: bool,
    killed: bool,
}

/// All agents.
#[derive(Debug)]
pub(super) struct Swarm {
    /// The agents.
    pub(super) members: Vec<Member>,
}

impl Swarm {
    /// Starts the agents.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub(super) fn start(
        place: &Place,
        scratch: &Scratch,
        agents: usize,
        thread: &str,
        session_ttl: Duration,
    ) -> Result<Self, CliError> {
        let failed = |e| CliError::internal("an agent cannot be started", e);
        std::fs::create_dir_all(scratch.logs()).map_err(failed)?;
        let mut members = Vec::with_capacity(agents);
        for number in 1..=agents {
            let name = format!("agent-{number}");
            let log = std::fs::File::create(scratch.logs().join(format!("{name}.log"))).map_err(failed)?;
            let ttl = format!("{}ms", session_ttl.as_millis());
            let mut command = place.command();
            command.args(["demo-agent", "--name", &name, "--thread", thread, "--session-ttl", &ttl]);
            // A group of its own: a kill takes the git below it along, and a terminal's ^C reaches only the demo.
            command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
            members.push(Member { name, child: command.spawn().map_err(failed)?, ended: false, killed: false });
        }
        Ok(Self { members })
    }

    /// Kills an agent with everything below it, as a crash would.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn kill(&mut self, number: usize) -> Result<(), CliError> {
        let Some(member) = self.members.get_mut(number) else { return Ok(()) };
        let pid = member.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process_group(pid, Signal::KILL).map_err(|e| CliError::internal("an agent cannot be killed", e))?;
            member.killed = true;
        }
        Ok(())
    }

    /// Agents that have ended although nobody told or forced them to.
    pub(super) fn deserters(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        for member in self.members.iter_mut().filter(|m| !m.ended && !m.killed) {
            if let Ok(Some(status)) = member.child.try_wait() {
                member.ended = true;
                names.push(format!("{} ended with {status}", member.name));
            }
        }
        names
    }

    /// True while an agent works.
    pub(super) fn works(&self) -> bool {
        self.members.iter().any(|m| !m.ended && !m.killed)
    }

    /// Tells all agents to leave; answers what went wrong.
    pub(super) async fn dismiss(self) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut leaving = self.members;
        // All are told first: they leave at the same time.
        for member in &mut leaving {
            drop(member.child.stdin.take());
        }
        for mut member in leaving.into_iter().filter(|m| !m.ended) {
            let end = tokio::time::timeout(FAREWELL, member.child.wait()).await;
            match end {
                _ if member.killed => {}
                Ok(Ok(status)) if ExitStatus::success(&status) => {}
                Ok(Ok(status)) => complaints.push(format!("{} ended with {status}", member.name)),
                Ok(Err(error)) => complaints.push(format!("{}: {error}", member.name)),
                Err(_) => complaints.push(format!("{} did not leave in time", member.name)),
            }
        }
        complaints
    }
}
