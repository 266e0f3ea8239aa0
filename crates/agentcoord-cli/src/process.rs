//! The command that `run`, `locks run` and `tasks work` start: its environment, its signals, its exit code.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal as Number, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CliError;
use crate::exit::Exit;

/// Signals that arrive at this process.
#[derive(Debug)]
pub(crate) struct Signals {
    all: Vec<(Number, Signal)>,
}

impl Signals {
    fn of(numbers: &[Number]) -> Result<Self, CliError> {
        let mut all = Vec::new();
        for number in numbers {
            let kind = SignalKind::from_raw(number.as_raw());
            let stream = signal(kind).map_err(|e| CliError::internal("a signal cannot be caught", e))?;
            all.push((*number, stream));
        }
        Ok(Self { all })
    }

    /// Signals that ask a process to end.
    ///
    /// # Errors
    /// When the system refuses to catch one.
    pub(crate) fn of_ending() -> Result<Self, CliError> {
        Self::of(&[Number::INT, Number::TERM, Number::HUP])
    }

    /// Signals that are passed on to a command.
    ///
    /// # Errors
    /// When the system refuses to catch one.
    pub(crate) fn of_forwarding() -> Result<Self, CliError> {
        Self::of(&[Number::INT, Number::TERM, Number::HUP, Number::QUIT, Number::USR1, Number::USR2])
    }

    /// The number of the next signal.
    pub(crate) async fn next(&mut self) -> u8 {
        u8::try_from(self.wait().await.as_raw()).unwrap_or(0)
    }

    /// The next signal.
    pub(crate) async fn wait(&mut self) -> Number {
        std::future::poll_fn(|cx| {
            for (number, stream) in &mut self.all {
                if stream.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// A command line that must not be empty; clap sees to that.
pub(crate) fn command(words: &[String]) -> Command {
    let (program, arguments) = words.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// The last part of a command's program, as a name.
pub(crate) fn name_of(words: &[String]) -> String {
    let program = words.first().map_or("", String::as_str);
    let name = program.rsplit('/').next().unwrap_or_default();
    let clean: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    if clean.trim().is_empty() { "command".to_owned() } else { clean.trim().to_owned() }
}

/// Starts a command and waits for its end; passes signals on meanwhile. The answer is the exit code of a shell.
///
/// `signals` were caught before whatever must be undone was done, so that none is lost in between.
pub(crate) async fn supervise(mut command: Command, signals: &mut Signals) -> Exit {
    match command.spawn() {
        Ok(child) => wait(child, signals).await,
        Err(error) => {
            let program = command.as_std().get_program().to_string_lossy().into_owned();
            let program = crate::output::text::line(&program);
            crate::output::complain(&format!("error: {program} cannot be started: {error}\n"));
            Exit::Code(if error.kind() == ErrorKind::NotFound { 127 } else { 126 })
        }
    }
}

async fn wait(mut child: Child, signals: &mut Signals) -> Exit {
    loop {
        tokio::select! {
            status = child.wait() => return status.map_or(Exit::Failed, exit_of),
            number = signals.wait() => {
                let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
                if let Some(pid) = pid.filter(|_| !terminal_sends(number)) {
                    // It may have ended meanwhile; then there is nobody to tell.
                    kill_process(pid, number).unwrap_or_default();
                }
            }
        }
    }
}

/// True when the terminal has sent this signal to the command as well, because it is in our process group.
fn terminal_sends(number: Number) -> bool {
    let from_keys = matches!(number, Number::INT | Number::QUIT);
    from_keys && tcgetpgrp(std::io::stdin()).is_ok_and(|foreground| foreground == getpgrp())
}

/// The exit code of a shell for how a command has ended.
pub(crate) fn exit_of(status: ExitStatus) -> Exit {
    let byte = |n: i32| u8::try_from(n).unwrap_or(1);
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(byte(code)),
        (None, Some(signal)) => Exit::Signal(byte(signal)),
        (None, None) => Exit::Failed,
    }
}
