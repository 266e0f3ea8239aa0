//! One task's command: its input, its signals, and what its end says about the task.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentcoord::core::limits;
use agentcoord::core::task::TaskDetail;
use agentcoord::{Failure, Task};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::commands::tasks::view::TaskView;
use crate::context::{FENCE, FENCE_NAMESPACE, TASK_ID};
use crate::exit::Exit;
use crate::output;
use crate::process::{self, Signals, exit_of};

/// Largest task that the environment carries whole; the system takes no variable of more than 128 KiB.
const VARIABLE_BYTES: usize = 100 * 1024;
/// What a command that was told to end has before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the pipes of an ended command have to run dry: a process that has left its group may hold them open.
const DRAIN: Duration = Duration::from_secs(1);

/// What the worker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    Work,
    /// Finish what runs, claim no more.
    Finish,
    /// The commands were told to end.
    End,
    /// Put back whatever still runs.
    Release,
}

impl Order {
    /// Resolves when this order, or a stronger one, was given.
    pub(super) async fn given(self, mut orders: watch::Receiver<Self>) {
        if orders.wait_for(|order| *order >= self).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The commands that run now.
#[derive(Debug, Default)]
struct Running {
    groups: Vec<Pid>,
    /// Why the worker ends, if not by itself.
    exit: Option<Exit>,
}

/// What all commands of a worker share.
#[derive(Debug)]
pub(super) struct Crew {
    words: Vec<String>,
    directory: PathBuf,
    environment: Vec<(&'static str, String)>,
    keeps_result: bool,
    fatal: u8,
    orders: watch::Sender<Order>,
    // A std mutex: never held across an await.
    running: Mutex<Running>,
}

impl Crew {
    pub(super) fn new(
        words: Vec<String>,
        directory: PathBuf,
        environment: Vec<(&'static str, String)>,
        keeps_result: bool,
        fatal: u8,
    ) -> (Self, watch::Receiver<Order>) {
        let (orders, given) = watch::channel(Order::Work);
        (Self { words, directory, environment, keeps_result, fatal, orders, running: Mutex::default() }, given)
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the worker has ended, if not by itself.
    pub(super) fn exit(&self) -> Option<Exit> {
        self.running().exit
    }

    fn order(&self, order: Order) {
        self.orders.send_if_modified(|given| {
            let is_stronger = *given < order;
            *given = (*given).max(order);
            is_stronger
        });
    }

    /// Turns signals into orders; never ends.
    pub(super) async fn listen(self: Arc<Self>, mut signals: Signals) {
        let first = signals.wait().await;
        self.running().exit = Some(Exit::Signal(u8::try_from(first.as_raw()).unwrap_or(0)));
        self.order(Order::Finish);
        let second = signals.wait().await;
        self.order(Order::End);
        for group in &self.running().groups {
            // It may have ended meanwhile; then there is nobody to tell.
            kill_process_group(*group, second).unwrap_or_default();
        }
        tokio::select! {
            _ = signals.wait() => {}
            () = tokio::time::sleep(PATIENCE) => {}
        }
        self.order(Order::Release);
        std::future::pending::<()>().await;
    }

    /// Runs the command for a task.
    pub(super) async fn perform(self: Arc<Self>, task: Arc<Task>) -> Result<Option<Value>, Failure> {
        let whole = serde_json::to_string(&TaskView::from(task.detail().clone()))?;
        let mut command = self.command(&task, &whole)?;
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Err(self.cannot_start(&error)),
        };
        let Ended { status, result, last_words } = self.accompany(child, whole).await?;
        let why = |what: String| if last_words.is_empty() { what } else { format!("{what}: {last_words}") };
        match exit_of(status) {
            Exit::Code(0) => result,
            _ if *self.orders.borrow() >= Order::End => Err(Failure::put_back("the worker was told to end")),
            Exit::Code(code) if code == self.fatal => Err(Failure::fatal(why(format!("exit code {code}")))),
            Exit::Code(code) => Err(Failure::retry(why(format!("exit code {code}")))),
            Exit::Signal(signal) => Err(Failure::retry(why(format!("ended by signal {signal}")))),
            _ => Err(Failure::retry(why("ended for no known reason".to_owned()))),
        }
    }

    fn command(&self, task: &Task, whole: &str) -> Result<Command, Failure> {
        let mut command = process::command(&self.words);
        command.current_dir(&self.directory).envs(self.environment.iter().map(|(name, value)| (name, value)));
        if whole.len() > VARIABLE_BYTES {
            let brief = TaskDetail { description: None, payload: None, result: None, ..task.detail().clone() };
            command.env("AGENTCOORD_TASK", serde_json::to_string(&TaskView::from(brief))?);
        } else {
            command.env("AGENTCOORD_TASK", whole);
        }
        command.env(TASK_ID, task.id());
        // A token with the namespace of a lock around the worker would count as that lock's.
        command.env(FENCE, task.token().to_string()).env_remove(FENCE_NAMESPACE);
        command.process_group(0).stdin(Stdio::piped()).stderr(Stdio::piped());
        if self.keeps_result {
            command.stdout(Stdio::piped());
        }
        Ok(command)
    }

    /// No task is to blame: the worker ends.
    fn cannot_start(&self, error: &std::io::Error) -> Failure {
        let program = output::text::line(self.words.first().map_or("", String::as_str));
        let exit = Exit::Code(if error.kind() == ErrorKind::NotFound { 127 } else { 126 });
        if self.running().exit.replace(exit).is_none() {
            output::complain(&format!("error: {program} cannot be started: {error}\n"));
        }
        self.order(Order::Finish);
        Failure::put_back("the command cannot be started")
    }

    /// Feeds the command and hears it out until it has ended.
    async fn accompany(self: &Arc<Self>, mut child: Child, input: String) -> Result<Ended, Failure> {
        let group = Group::of(self, &child);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A command need not read its task.
                drop(stdin.write_all(input.as_bytes()).await);
            }
            std::future::pending::<()>().await;
        };
        let (mut said, mut result) = (LastWords::default(), Vec::new());
        let status = {
            let hear = async {
                let (stderr, stdout) =
                    (listen(stderr, |bytes| said.hear(bytes)), listen(stdout, |bytes| keep(&mut result, bytes)));
                tokio::join!(stderr, stdout);
            };
            let wait = child.wait();
            tokio::pin!(feed, hear, wait);
            let mut is_silent = false;
            let status = loop {
                tokio::select! {
                    status = &mut wait => break status,
                    () = &mut hear, if !is_silent => is_silent = true,
                    () = &mut feed => {}
                }
            };
            drop(group);
            if !is_silent {
                drop(tokio::time::timeout(DRAIN, &mut hear).await);
            }
            status
        };
        let last_words = said.line();
        Ok(Ended { status: status?, result: result_of(result), last_words })
    }
}

/// How a command has ended.
struct Ended {
    status: ExitStatus,
    result: Result<Option<Value>, Failure>,
    last_words: String,
}

/// The process group of a command, which is killed when this is dropped.
struct Group {
    crew: Arc<Crew>,
    id: Option<Pid>,
}

impl Group {
    fn of(crew: &Arc<Crew>, child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        crew.running().groups.extend(id);
        Self { crew: Arc::clone(crew), id }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        // None of it may be left.
        kill_process_group(id, Signal::KILL).unwrap_or_default();
        self.crew.running().groups.retain(|group| *group != id);
    }
}

async fn listen(source: Option<impl AsyncRead + Unpin>, mut hear: impl FnMut(&[u8])) {
    let Some(mut source) = source else { return };
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(count @ 1..) = source.read(&mut buffer).await {
        hear(&buffer[..count]);
    }
}

/// The end of what a command says on stderr, which is passed on.
#[derive(Default)]
struct LastWords {
    tail: Vec<u8>,
}

impl LastWords {
    fn hear(&mut self, bytes: &[u8]) {
        output::relay(bytes);
        self.tail.extend_from_slice(bytes);
        let surplus = self.tail.len().saturating_sub(limits::NOTE_BYTES);
        self.tail.drain(..surplus);
    }

    /// The last line that says something.
    fn line(&self) -> String {
        let text = String::from_utf8_lossy(&self.tail);
        text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default().to_owned()
    }
}

/// Keeps what a result may have, and one byte more, which tells that it is too much.
fn keep(result: &mut Vec<u8>, bytes: &[u8]) {
    let room = (limits::BLOB_BYTES + 1).saturating_sub(result.len());
    result.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// What a command wrote, as a task's result.
fn result_of(bytes: Vec<u8>) -> Result<Option<Value>, Failure> {
    if bytes.len() > limits::BLOB_BYTES {
        return Err(Failure::fatal(format!("the result has more than {} bytes", limits::BLOB_BYTES)));
    }
    let text = String::from_utf8(bytes).map_err(|_| Failure::fatal("the result is not UTF-8"))?;
    let text = text.trim();
    let value = || serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    Ok((!text.is_empty()).then(value))
}
