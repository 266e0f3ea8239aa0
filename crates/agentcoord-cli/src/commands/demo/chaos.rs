//! `demo --chaos`: a real Redis that is killed and revived again and again under the agents' hands, with its data, without
//! them, or stopped in its tracks.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use agentcoord::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::CliError;

/// Servers that will do, the first that there is.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];
/// Redis that does not answer is gone after this: sooner than usual, so that much happens in a few seconds.
pub(super) const DETECTION: Duration = Duration::from_millis(400);
/// Redis that is healthy for so long gets everything back.
pub(super) const RETURN_AFTER: Duration = Duration::from_millis(400);
/// How long Redis serves, and how long it is away, in between.
const PAUSE: Duration = Duration::from_millis(700);
/// How long to wait for a server to start, or for a switch.
const PATIENCE: Duration = Duration::from_secs(30);

/// What can happen, in turn.
const FAULTS: [Fault; 3] = [Fault::Killed, Fault::Emptied, Fault::Stopped];

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// kill -9, and started again.
    Killed,
    /// kill -9, its data deleted, and started again.
    Emptied,
    /// Stopped, and let go on.
    Stopped,
}

/// What Redis went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Outages {
    /// kill -9 and back with its data.
    pub(super) killed: usize,
    /// kill -9 and back empty.
    pub(super) emptied: usize,
    /// Stopped and let go on.
    pub(super) stopped: usize,
}

impl Outages {
    pub(super) fn total(self) -> usize {
        self.killed + self.emptied + self.stopped
    }
}

/// A private server. It ends with the demo.
#[derive(Debug)]
pub(super) struct Server {
    program: &'static str,
    port: u16,
    dir: PathBuf,
    child: Child,
}

impl Server {
    /// Starts one in a directory of its own.
    ///
    /// # Errors
    /// `REDIS_MISSING` when no server program is installed.
    pub(super) async fn start(dir: PathBuf) -> Result<Self, CliError> {
        let failed = |e| CliError::internal("a port for Redis", e);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        drop(listener);
        std::fs::create_dir_all(&dir).map_err(|e| CliError::internal("a directory for Redis", e))?;
        for program in PROGRAMS {
            match spawn(program, port, &dir) {
                Ok(child) => {
                    let mut server = Self { program, port, dir, child };
                    server.answers().await?;
                    return Ok(server);
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(CliError::internal(program, e)),
            }
        }
        let message = "demo --chaos needs a redis-server to kill, and none is installed";
        let error = CliError::new(crate::exit::Exit::Unavailable, "REDIS_MISSING", message);
        Err(error
            .next("on Debian or Ubuntu", "sudo apt-get install redis-server")
            .next("without it", "agentcoord demo"))
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Lets Redis go and come back, as long as `over` is false; ends with Redis up.
    pub(super) fn torment(mut self, connection: Connection, over: watch::Receiver<bool>) -> Torment {
        Torment {
            task: tokio::spawn(async move {
                let mut outages = Outages::default();
                for fault in FAULTS.into_iter().cycle() {
                    if !served_by(&connection, "redis", &over).await {
                        break;
                    }
                    tokio::time::sleep(PAUSE).await;
                    if *over.borrow() {
                        break;
                    }
                    self.suffer(fault, &connection, &over).await?;
                    match fault {
                        Fault::Killed => outages.killed += 1,
                        Fault::Emptied => outages.emptied += 1,
                        Fault::Stopped => outages.stopped += 1,
                    }
                }
                Ok((self, outages))
            }),
        }
    }

    async fn suffer(
        &mut self,
        fault: Fault,
        connection: &Connection,
        over: &watch::Receiver<bool>,
    ) -> Result<(), CliError> {
        if let Fault::Stopped = fault {
            self.signal(Signal::STOP);
            served_by(connection, "files", over).await;
            tokio::time::sleep(PAUSE).await;
            self.signal(Signal::CONT);
            return Ok(());
        }
        let failed = |e| CliError::internal("Redis cannot be killed", e);
        self.child.kill().await.map_err(failed)?;
        if let Fault::Emptied = fault {
            // It may have written nothing yet.
            drop(std::fs::remove_dir_all(self.dir.join("appendonlydir")));
        }
        served_by(connection, "files", over).await;
        tokio::time::sleep(PAUSE).await;
        self.child =
            spawn(self.program, self.port, &self.dir).map_err(|e| CliError::internal("Redis cannot be revived", e))?;
        self.answers().await
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It has ended by itself: the next look at it says so.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits until it takes connections.
    async fn answers(&mut self) -> Result<(), CliError> {
        let give_up = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_err() {
            let ended = matches!(self.child.try_wait(), Ok(Some(_)));
            if ended || Instant::now() > give_up {
                let log = self.dir.join("server.log").display().to_string();
                return Err(CliError::internal(self.program, format!("it does not start; see {log}")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

fn spawn(program: &str, port: u16, dir: &std::path::Path) -> std::io::Result<Child> {
    Command::new(program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
        .arg(dir)
        .arg("--logfile")
        .arg(dir.join("server.log"))
        .args(["--save", "", "--appendonly", "yes", "--daemonize", "no"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        // A terminal's ^C reaches the demo only.
        .process_group(0)
        .spawn()
}

/// Waits until an engine serves; false when it is over before, or does not come about.
async fn served_by(connection: &Connection, engine: &str, over: &watch::Receiver<bool>) -> bool {
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up && !*over.borrow() {
        let now = connection.condition().await.ok().flatten();
        if now.is_some_and(|now| now.engine == engine && now.phase == "serving") {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

/// Outages under way.
#[derive(Debug)]
pub(super) struct Torment {
    task: JoinHandle<Result<(Server, Outages), CliError>>,
}

impl Torment {
    /// Waits until Redis is left in peace; it is up then. What it went through.
    ///
    /// # Errors
    /// When it could not be revived.
    pub(super) async fn end(self) -> Result<(Server, Outages), CliError> {
        self.task.await.map_err(|e| CliError::internal("the outages", e))?
    }
}
