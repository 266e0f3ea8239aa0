//! The demo's summary: one screen.

use serde::Serialize;

use super::chaos::Outages;
use super::proof::Check;
use crate::exit::Exit;
use crate::output::{Page, Render, Tone};

/// What was done, what was proved, and how to look around.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    pub(super) engine: &'static str,
    pub(super) repository: String,
    pub(super) agents: usize,
    pub(super) tasks: usize,
    pub(super) completed: usize,
    pub(super) refused: usize,
    pub(super) commits: usize,
    pub(super) seconds: f64,
    pub(super) tasks_per_second: f64,
    pub(super) longest_lock_wait_ms: u64,
    pub(super) longest_lock_wait_for: String,
    pub(super) messages: u64,
    pub(super) audit_entries: u64,
    pub(super) approval: Approval,
    pub(super) killed: Option<String>,
    pub(super) outages: Option<Outages>,
    pub(super) checks: Vec<Check>,
    pub(super) directory: String,
    pub(super) look: Vec<String>,
    pub(super) remove: String,
}

/// What Redis went through, in words.
fn ordeal(outages: Outages) -> String {
    let Outages { killed, emptied, stopped } = outages;
    format!("killed {killed} times and revived, {emptied} times without its data, stopped {stopped} times")
}

/// The approval.
#[derive(Debug, Default, Serialize)]
pub(super) struct Approval {
    pub(super) id: Option<String>,
    pub(super) status: Option<&'static str>,
    pub(super) decided_by: Option<String>,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        let approval = match (&self.approval.status, &self.approval.decided_by) {
            (Some(status), Some(by)) => Some(format!("{status} by {by}")),
            (status, _) => status.map(str::to_owned),
        };
        let refused = if self.refused > 0 { format!(", {} refused by a person", self.refused) } else { String::new() };
        let wait = format!("{} ms, for {}", self.longest_lock_wait_ms, self.longest_lock_wait_for);
        let speed = format!("{:.1} s, {:.0} tasks a second", self.seconds, self.tasks_per_second);
        page.fields([
            ("engine", Some(self.engine.to_owned())),
            ("repository", Some(self.repository.clone())),
            ("agents", Some(format!("{} processes", self.agents))),
            ("killed", self.killed.as_ref().map(|name| format!("{name}, with kill -9 in the middle of its work"))),
            ("redis", self.outages.map(ordeal)),
            ("tasks", Some(format!("{} of {} completed{refused}", self.completed, self.tasks))),
            ("took", Some(speed)),
            ("longest wait", (self.longest_lock_wait_ms > 0).then_some(wait)),
            ("commits", Some(self.commits.to_string())),
            ("approval", approval),
            ("board", Some(format!("{} messages", self.messages))),
            ("audit log", Some(format!("{} entries", self.audit_entries))),
        ]);
        page.gap();
        for check in &self.checks {
            match &check.found {
                None => page.line(format!("proved  {}", check.what)),
                Some(found) => page.toned(Tone::Bad, format!("FAILED  {}: {found}", check.what)),
            }
        }
        page.gap();
        page.line("look around in what it left:");
        for command in &self.look {
            page.line(format!("  {command}"));
        }
        page.line("remove it:");
        page.line(format!("  {}", self.remove));
    }

    fn ids(&self) -> Vec<String> {
        vec![self.directory.clone()]
    }

    fn exit(&self) -> Exit {
        if self.checks.iter().all(|check| check.ok) { Exit::Done } else { Exit::CheckFailed }
    }
}
