//! `demo-agent`, hidden: one agent of the demo, as a process of its own.
//!
//! It claims a task, locks the file, edits, locks the index, commits, tells the board and the audit log, and completes
//! the task. An earlier attempt may have died anywhere in between: what it left uncommitted is thrown away, what it
//! committed is kept. It ends when its stdin does, so no agent outlives the demo.

use std::io::Read;
use std::time::{Duration, Instant};

use agentcoord::core::error::Noun;
use agentcoord::{Connection, CoordinationClient, Decision, Error, FileLock, Style, Task};
use tokio::sync::oneshot;

use super::super::run::View;
use super::job::{DECISION, INDEX, Job, Outcome, TAG};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::git::Git;

/// Sessions that an agent opens before it gives up: it may be stopped for longer than one lives.
const SESSIONS: usize = 5;
/// What git leaves behind when it is killed. Only the holder of [`INDEX`] may remove it.
const GIT_LOCKS: [&str; 3] = ["index.lock", "HEAD.lock", "refs/heads/agentcoord-demo.lock"];

/// Who it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name
    #[arg(long)]
    name: String,
    /// The thread for its reports
    #[arg(long)]
    thread: String,
    /// How long its session lives without a heartbeat
    #[arg(long, value_parser = crate::duration::parse_positive)]
    session_ttl: Duration,
}

/// Works until stdin ends.
///
/// # Errors
/// What the agent could not get over.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let mut stop = stdin_ends();
    for _ in 0..SESSIONS {
        let mut config = context.settings().connection();
        config.session_ttl = args.session_ttl;
        let connection = Connection::open(config, Style::LongRunning).await?;
        let session = CoordinationClient::session("Demo agent", &args.name).working_on("the demo's edits");
        let client = session.dir(&context.settings().cwd).on(connection).await?;
        let agent = Agent { client: &client, git: Git::at(&context.settings().root), args: &args };
        let outcome = tokio::select! {
            error = agent.work() => Some(error),
            _ = &mut stop => None,
        };
        let closed = client.close().await;
        match outcome {
            // It was away for too long and others went on in its place: it begins anew.
            Some(Failure::Lost) => {}
            Some(Failure::Other(error)) => return Err(error),
            None => {
                closed?;
                return Ok(View::ended(Exit::Done));
            }
        }
    }
    Err(CliError::internal("the demo's agent", "it lost its session again and again"))
}

/// Why an agent stops.
enum Failure {
    /// Its session, its claim or its lock is over.
    Lost,
    /// Anything else.
    Other(CliError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Stale { noun: Noun::Session | Noun::Task | Noun::Lock, .. } => Self::Lost,
            error => Self::Other(error.into()),
        }
    }
}

impl From<CliError> for Failure {
    fn from(error: CliError) -> Self {
        Self::Other(error)
    }
}

/// One session of the agent.
struct Agent<'a> {
    client: &'a CoordinationClient,
    git: Git,
    args: &'a Args,
}

/// The longest wait for a lock.
#[derive(Default)]
struct Waits {
    longest: Duration,
    what: String,
}

impl Waits {
    fn note(&mut self, began: Instant, what: &str) {
        let waited = began.elapsed();
        if waited > self.longest {
            self.longest = waited;
            what.clone_into(&mut self.what);
        }
    }
}

impl Agent<'_> {
    async fn work(&self) -> Failure {
        loop {
            let done = match self.client.claim_task([TAG]).await {
                Ok(Some(task)) => self.attempt(task).await,
                Ok(None) => Ok(()),
                Err(error) => Err(error.into()),
            };
            if let Err(failure) = done {
                return failure;
            }
        }
    }

    async fn attempt(&self, task: Task) -> Result<(), Failure> {
        let payload = task.detail().payload.clone().unwrap_or_default();
        let job: Job = serde_json::from_str(&payload).map_err(|e| CliError::internal("the task's payload", e))?;
        task.start().await?;
        if job.ask && !self.granted(&task, &job).await? {
            task.fail("no person said yes", false).await?;
            return Ok(());
        }
        let mut waits = Waits::default();
        let file = self.lock(&job.path, &job, &mut waits).await?;
        let again = task.detail().task.crashes > 0 || task.attempt() > 1;
        let earlier = if again { self.earlier(&job)? } else { None };
        let (commit, leftover) = match earlier {
            Some(commit) => (commit, false),
            None => {
                let leftover = self.edit(&job)?;
                let index = self.lock(INDEX, &job, &mut waits).await?;
                let commit = self.commit(&job)?;
                index.release().await?;
                (commit, leftover)
            }
        };
        file.release().await?;
        let (name, number) = (self.client.name(), job.number);
        self.client
            .reply(self.args.thread.as_str(), format!("no. {number}: {} is edited, commit {commit}", job.path))
            .await?;
        let reason = format!("{name} claimed task {} and held the file", task.id());
        self.client.log_decision(DECISION, format!("no. {number}: {}", job.path), reason).await?;
        let waited_ms = crate::duration::millis(waits.longest);
        let outcome = Outcome { commit, waited_ms, waited_for: waits.what, leftover };
        let result = serde_json::to_string(&outcome).map_err(|e| CliError::internal("the task's result", e))?;
        task.complete(Some(result)).await?;
        Ok(())
    }

    async fn granted(&self, task: &Task, job: &Job) -> Result<bool, Failure> {
        let what = format!("{}: the demo asks once, to show how it looks", job.title());
        // The key attaches another attempt to the same approval, also when a first attempt took the yes up and died.
        let key = format!("demo/{}", task.detail().task.id);
        let approval = self.client.request_approval("edit", what).diff(job.diff()).key(key).await?;
        Ok(matches!(approval.decision().await?, Decision::Approved | Decision::ConsumedBefore))
    }

    async fn lock(&self, path: &str, job: &Job, waits: &mut Waits) -> Result<FileLock, Failure> {
        let began = Instant::now();
        let lock = self.client.lock_file(path).intent(job.title()).await?;
        waits.note(began, path);
        Ok(lock)
    }

    /// The commit that an earlier attempt of this task has made.
    fn earlier(&self, job: &Job) -> Result<Option<String>, CliError> {
        let marker = format!("--grep=^{}$", job.subject());
        Ok(self.git.lines(&["log", "--format=%H", "-1", &marker])?.pop())
    }

    /// Adds the line. True when the file was not as committed: somebody died over it.
    fn edit(&self, job: &Job) -> Result<bool, CliError> {
        let failed = |e| CliError::internal(&job.path, e);
        let path = self.git.dir().join(&job.path);
        let committed = self.git.file("HEAD", &job.path)?;
        // A read and a write apart from each other: without the lock, other agents' lines would be lost in between.
        let leftover = std::fs::read(&path).map_err(failed)? != committed;
        std::fs::write(&path, job.apply(committed)).map_err(failed)?;
        Ok(leftover)
    }

    fn commit(&self, job: &Job) -> Result<String, CliError> {
        let name = format!("user.name={}", self.client.name());
        let subject = job.subject();
        let words = [
            "-c",
            &name,
            "-c",
            "user.email=agent@example.invalid",
            "commit",
            "--quiet",
            "-m",
            &subject,
            "--",
            &job.path,
        ];
        if self.git.run(&words).is_err() {
            // Whoever held the index before may have been killed in the middle of git.
            for left in GIT_LOCKS {
                drop(std::fs::remove_file(self.git.dir().join(".git").join(left)));
            }
            self.git.run(&words)?;
        }
        self.git.line(&["rev-parse", "HEAD"])
    }
}

/// Resolves when stdin ends: the demo is over, or gone.
fn stdin_ends() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut sink = [0; 64];
        while std::io::stdin().lock().read(&mut sink).is_ok_and(|n| n > 0) {}
        drop(ended);
    });
    end
}
