//! What the demo proves at its end, from the repository and the store themselves, not from what agents remember.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use agentcoord::Store;
use agentcoord::audit::Entry;
use agentcoord::core::audit::AuditLog;
use agentcoord::core::board::Board;
use agentcoord::core::ids::{Csn, IdPrefix};
use agentcoord::core::store::Backend;
use agentcoord::core::table::Table;
use agentcoord::core::task::{Page, TaskFilter, TaskStatus};
use serde::Serialize;

use super::job::{DECISION, Job, Outcome, TAG};
use super::scratch::Scratch;
use crate::error::CliError;

/// Records read at once.
const PAGE: usize = 1_000;

/// A promise, and whether it was kept.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Check {
    /// The promise.
    pub(super) what: String,
    /// Whether it was kept.
    pub(super) ok: bool,
    /// What was found instead.
    pub(super) found: Option<String>,
}

impl Check {
    /// A promise that was kept when nothing is wrong.
    pub(super) fn of(what: impl Into<String>, wrong: &[String]) -> Self {
        let found = match wrong {
            [] => None,
            [only] => Some(only.clone()),
            [first, ..] => Some(format!("{first}, and {} more", wrong.len() - 1)),
        };
        Self { what: what.into(), ok: wrong.is_empty(), found }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// The checks.
    pub(super) checks: Vec<Check>,
    /// Tasks that were completed.
    pub(super) completed: usize,
    /// Tasks that a person refused.
    pub(super) refused: usize,
    /// Commits.
    pub(super) commits: usize,
    /// Longest wait for a lock, in milliseconds, and for what.
    pub(super) longest_wait: (u64, String),
    /// Messages on the board.
    pub(super) messages: u64,
    /// Entries in the audit log.
    pub(super) audit_entries: u64,
}

/// A task of the demo as the store has it in the end.
struct Finished {
    key: String,
    job: Job,
    status: TaskStatus,
    outcome: Option<Outcome>,
}

/// Looks at everything. `killed` says that an agent was killed on purpose.
///
/// # Errors
/// When the store or the repository cannot be read.
pub(super) async fn gather(
    store: &Store,
    scratch: &Scratch,
    jobs: usize,
    thread: &str,
    killed: bool,
) -> Result<Evidence, CliError> {
    let tasks = finished(store).await?;
    let mut evidence = Evidence {
        completed: tasks.iter().filter(|t| t.status == TaskStatus::Completed).count(),
        refused: tasks.iter().filter(|t| t.status == TaskStatus::Failed && t.job.ask).count(),
        ..Evidence::default()
    };
    for outcome in tasks.iter().filter_map(|t| t.outcome.as_ref()) {
        if outcome.waited_ms > evidence.longest_wait.0 {
            evidence.longest_wait = (outcome.waited_ms, outcome.waited_for.clone());
        }
    }
    evidence.checks.push(completed_once(store, &tasks, jobs).await?);
    evidence.checks.push(edits_present(scratch, &tasks)?);
    let history = scratch.git.lines(&["rev-list", "--parents", "--reverse", &format!("{}..HEAD", scratch.base)])?;
    evidence.commits = history.len();
    evidence.checks.push(commits_kept(&history, &tasks));
    evidence.checks.push(linear(&scratch.base, &history));
    evidence.checks.push(clean(scratch)?);
    if !killed {
        let wrong: Vec<String> =
            tasks.iter().filter(|t| t.outcome.as_ref().is_some_and(|o| o.leftover)).map(name).collect();
        evidence.checks.push(Check::of("nobody met another's half-done work", &wrong));
    }
    evidence.checks.push(reported(store, &tasks, thread, &mut evidence.messages).await?);
    evidence.checks.push(logged(store, &tasks, &mut evidence.audit_entries).await?);
    let locks = store.locks().list().await?;
    let held: Vec<String> = locks.iter().map(|(path, _)| path.to_string()).collect();
    evidence.checks.push(Check::of("no lock is left", &held));
    Ok(evidence)
}

fn name(task: &Finished) -> String {
    format!("no. {}", task.job.number)
}

async fn finished(store: &Store) -> Result<Vec<Finished>, CliError> {
    let mut filter = TaskFilter { tags: vec![TAG.to_owned()], limit: PAGE, ..TaskFilter::default() };
    let mut tasks = Vec::new();
    loop {
        let Page { items, cursor } = store.tasks().list(&filter).await?;
        for task in items {
            let detail = store.tasks().show(&IdPrefix::from(&task.id)).await?;
            let job = serde_json::from_str(detail.payload.as_deref().unwrap_or_default());
            let outcome = detail.result.as_deref().and_then(|text| serde_json::from_str(text).ok());
            let job = job.map_err(|e| CliError::internal("a task's payload", e))?;
            tasks.push(Finished { key: task.key, job, status: task.status, outcome });
        }
        match cursor {
            Some(cursor) => filter.cursor = Some(cursor),
            None => return Ok(tasks),
        }
    }
}

/// The event log is the witness: each task has exactly one event that completes it.
async fn completed_once(store: &Store, tasks: &[Finished], jobs: usize) -> Result<Check, CliError> {
    let mut completions: HashMap<String, usize> = HashMap::new();
    let mut after = Csn(0);
    loop {
        let events = store.events(after, PAGE).await?;
        let Some(last) = events.last() else { break };
        after = last.csn;
        for event in events.iter().filter(|event| event.verb == "task/complete") {
            for image in event.images.iter().filter(|image| image.table == Table::Task) {
                *completions.entry(image.key.clone()).or_default() += 1;
            }
        }
    }
    let mut wrong: Vec<String> = Vec::new();
    if tasks.len() != jobs {
        wrong.push(format!("{} tasks instead of {jobs}", tasks.len()));
    }
    for task in tasks {
        let times = completions.get(&task.key).copied().unwrap_or(0);
        let expected = usize::from(task.status == TaskStatus::Completed);
        let refused = task.status == TaskStatus::Failed && task.job.ask;
        if times != expected || !(expected == 1 || refused) {
            wrong.push(format!("{} is {} and was completed {times} times", name(task), task.status.word()));
        }
    }
    Ok(Check::of("every task was completed exactly once", &wrong))
}

/// Each file is what it was, plus each of its lines exactly once, and nothing else.
fn edits_present(scratch: &Scratch, tasks: &[Finished]) -> Result<Check, CliError> {
    let mut by_path: BTreeMap<&str, Vec<&Finished>> = BTreeMap::new();
    for task in tasks {
        by_path.entry(&task.job.path).or_default().push(task);
    }
    let mut wrong = Vec::new();
    for (path, tasks) in by_path {
        let before = scratch.git.file(&scratch.base, path)?;
        let after = scratch.git.file("HEAD", path)?;
        let wanted: BTreeSet<Vec<u8>> =
            tasks.iter().filter(|t| t.status == TaskStatus::Completed).map(|t| t.job.line().into_bytes()).collect();
        let lines = |bytes: &[u8]| bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
        let (mut old, mut new) = (lines(&before), lines(&after));
        // The end of a last line is not a line.
        old.pop_if(|last| last.is_empty());
        new.pop_if(|last| last.is_empty());
        let added: Vec<Vec<u8>> = new.split_off(old.len().min(new.len()));
        let distinct: BTreeSet<Vec<u8>> = added.iter().cloned().collect();
        if new != old || added.len() != wanted.len() || distinct != wanted {
            wrong.push(format!("{path} has {} new lines instead of {}", added.len(), wanted.len()));
        }
    }
    Ok(Check::of("every edit is in its file, once, and nothing else changed there", &wrong))
}

/// Each completed task names a commit; they are the commits of the history, one to one.
fn commits_kept(history: &[String], tasks: &[Finished]) -> Check {
    let in_history: BTreeSet<&str> = history.iter().filter_map(|line| line.split(' ').next()).collect();
    let completed = tasks.iter().filter(|t| t.status == TaskStatus::Completed);
    let mut reported: BTreeSet<&str> = BTreeSet::new();
    let mut wrong = Vec::new();
    for task in completed {
        match &task.outcome {
            Some(outcome) if in_history.contains(outcome.commit.as_str()) => {
                if !reported.insert(&outcome.commit) {
                    wrong.push(format!("{} shares commit {}", name(task), outcome.commit));
                }
            }
            Some(outcome) => wrong.push(format!("commit {} of {} is not in the history", outcome.commit, name(task))),
            None => wrong.push(format!("{} has no result", name(task))),
        }
    }
    wrong.extend(in_history.difference(&reported).map(|commit| format!("commit {commit} is of no task")));
    Check::of("no commit was lost, and each task has its own", &wrong)
}

fn linear(base: &str, history: &[String]) -> Check {
    let mut previous = base;
    let mut wrong = Vec::new();
    for line in history {
        let (commit, parents) = line.split_once(' ').unwrap_or((line, ""));
        if parents != previous {
            wrong.push(format!("{commit} does not follow {previous}"));
        }
        previous = commit;
    }
    Check::of("the history is linear", &wrong)
}

fn clean(scratch: &Scratch) -> Result<Check, CliError> {
    // A git that was killed may have left an index older than its commit; the files are what counts.
    scratch.git.run(&["reset", "--quiet"])?;
    let changed = scratch.git.lines(&["status", "--porcelain", "--ignore-submodules"])?;
    Ok(Check::of("the work tree is as committed", &changed))
}

async fn reported(store: &Store, tasks: &[Finished], thread: &str, count: &mut u64) -> Result<Check, CliError> {
    let thread = Board::find(store, &IdPrefix::parse("thread", thread)?).await?;
    let most = usize::try_from(thread.count).unwrap_or(usize::MAX);
    let messages = store.messages(&thread, 0, most).await?;
    *count = thread.count;
    let mut wrong: Vec<String> = Vec::new();
    if messages.len() as u64 != thread.count {
        wrong.push(format!("{} messages instead of {}", messages.len(), thread.count));
    }
    let numbers: BTreeSet<&str> = messages.iter().filter_map(|m| m.content.split_once(':')).map(|(n, _)| n).collect();
    let completed = tasks.iter().filter(|t| t.status == TaskStatus::Completed);
    wrong.extend(completed.map(name).filter(|n| !numbers.contains(n.as_str())).map(|n| format!("{n} is missing")));
    Ok(Check::of("every edit is on the board", &wrong))
}

async fn logged(store: &Store, tasks: &[Finished], count: &mut u64) -> Result<Check, CliError> {
    let mut numbers: BTreeSet<String> = BTreeSet::new();
    let mut approvals = 0;
    let mut after = 0;
    loop {
        let page = AuditLog::read(store, after, PAGE).await?;
        let Some(last) = page.items.last() else { break };
        after = last.seq;
        for stored in &page.items {
            let entry = Entry::decode(&stored.entry)?;
            if entry.decision_type == DECISION {
                numbers.extend(entry.context.split_once(':').map(|(n, _)| n.to_owned()));
            } else if entry.agent.starts_with("human:") {
                approvals += 1;
            }
        }
    }
    *count = after;
    let completed = tasks.iter().filter(|t| t.status == TaskStatus::Completed);
    let asked = completed.clone().filter(|t| t.job.ask).count();
    let mut wrong: Vec<String> = Vec::new();
    if approvals < asked {
        wrong.push("a person's vote is missing".to_owned());
    }
    wrong.extend(completed.map(name).filter(|n| !numbers.contains(n)).map(|n| format!("{n} is missing")));
    Ok(Check::of("every edit and every vote is in the audit log", &wrong))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::git::Git;

    struct Place(Scratch);

    impl Place {
        fn git(&self) -> &Git {
            &self.0.git
        }

        fn write(&self, path: &str, content: &[u8]) {
            std::fs::write(self.git().dir().join(path), content).unwrap();
        }

        fn commit(&self) -> String {
            let words = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "-qam", "x"];
            self.git().run(&words).unwrap();
            self.git().line(&["rev-parse", "HEAD"]).unwrap()
        }
    }

    fn done(number: usize, path: &str, commit: &str) -> Finished {
        let job = Job { number, run: "run".to_owned(), path: path.to_owned(), ask: false };
        let outcome = Outcome { commit: commit.to_owned(), waited_ms: 0, waited_for: String::new(), leftover: false };
        Finished { key: number.to_string(), job, status: TaskStatus::Completed, outcome: Some(outcome) }
    }

    #[test]
    fn edit_that_is_lost_doubled_or_not_alone_is_found() {
        let place = Place(Scratch::new(None).unwrap());
        let path = place.0.files(1).unwrap().remove(0);
        let tasks = [done(1, &path, ""), done(2, &path, "")];
        let base = place.git().file("HEAD", &path).unwrap();
        let both = tasks[1].job.apply(tasks[0].job.apply(base.clone()));
        let cases = [
            (both.clone(), true),
            (tasks[0].job.apply(base.clone()), false),
            (tasks[1].job.apply(both.clone()), false),
            ([b"first\n", &both[..]].concat(), false),
            (both[8..].to_vec(), false),
        ];
        for (content, ok) in cases {
            place.write(&path, &content);
            place.commit();
            assert_eq!(edits_present(&place.0, &tasks).unwrap().ok, ok, "{}", String::from_utf8_lossy(&content));
        }
        assert!(clean(&place.0).unwrap().ok);
        place.write(&path, b"not committed");
        assert!(!clean(&place.0).unwrap().ok);
    }

    #[test]
    fn commit_that_is_lost_shared_or_of_nobody_is_found() {
        let history = ["a base".to_owned(), "b a".to_owned()];
        assert!(commits_kept(&history, &[done(1, "f", "a"), done(2, "f", "b")]).ok);
        assert!(!commits_kept(&history, &[done(1, "f", "a"), done(2, "f", "c")]).ok, "lost");
        assert!(!commits_kept(&history, &[done(1, "f", "a"), done(2, "f", "a")]).ok, "shared");
        assert!(!commits_kept(&history, &[done(1, "f", "a")]).ok, "of nobody");
    }

    #[test]
    fn history_with_a_merge_or_a_gap_is_not_linear() {
        let history = |lines: [&str; 2]| lines.map(str::to_owned);
        assert!(linear("base", &history(["a base", "b a"])).ok);
        assert!(!linear("base", &history(["a base", "b a base"])).ok);
        assert!(!linear("base", &history(["a base", "b base"])).ok);
    }
}
