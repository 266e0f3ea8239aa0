//! Under which conditions is measured: the machine, who sits on which core, a private server, scratch directories, and
//! the programs as they are released.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::options::Options;
use super::peers;
use super::rows::{How, Row};
use crate::{command, report, setup};

/// The measured program and the command line, as cargo names them.
const MEASURE: &str = "measure";
const COMMAND: &str = "agentcoord";

/// The core of the server, and of the client where the two differ.
const CORES: [&str; 2] = ["0", "1"];

/// Who sits where: it decides more about one client's latency than anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pin {
    /// Server and client on a core each.
    Across,
    /// Both on one core.
    One,
    /// Wherever the scheduler puts them.
    None,
}

impl Pin {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Across => "across cores",
            Self::One => "one core",
            Self::None => "",
        }
    }

    fn on(core: &str, program: &Path) -> Command {
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", core]).arg(program);
        pinned
    }

    fn server(self, program: &Path) -> Command {
        if self == Self::None { Command::new(program) } else { Self::on(CORES[0], program) }
    }

    /// A client program in its place.
    pub(super) fn client(self, program: &Path) -> Command {
        match self {
            Self::Across => Self::on(CORES[1], program),
            Self::One => Self::on(CORES[0], program),
            Self::None => Command::new(program),
        }
    }
}

/// Whether both pinnings are possible here.
pub(super) fn can_pin() -> bool {
    command::installed("taskset") && std::thread::available_parallelism().is_ok_and(|cores| cores.get() >= CORES.len())
}

/// A private redis-server, which ends with this.
pub(super) struct Server {
    port: u16,
    child: Child,
}

impl Server {
    pub(super) fn start(scratch: &Path, pin: Pin, append_only: bool) -> Result<Self> {
        let directory = scratch.join("redis");
        fs::create_dir_all(&directory)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let child = pin
            .server(Path::new(setup::SERVER))
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"])
            .args(["--appendonly", if append_only { "yes" } else { "no" }, "--appendfsync", "everysec"])
            .arg("--dir")
            .arg(&directory)
            .stdout(File::create(directory.join("server.log"))?)
            .spawn()
            .context("cannot start redis-server")?;
        let server = Self { port, child };
        let patience = Instant::now() + Duration::from_secs(10);
        while !server.answers() {
            if Instant::now() > patience {
                bail!("the private redis-server does not answer");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    fn answers(&self) -> bool {
        let ping = ["-h", "127.0.0.1", "-p", &self.port.to_string(), "ping"];
        command::output(Command::new("redis-cli").args(ping)).is_ok_and(|answer| answer.trim() == "PONG")
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The programs to measure, built as they are released, and a place for scratch directories.
pub(super) struct Workshop {
    measure: Option<PathBuf>,
    agentcoord: Option<PathBuf>,
    scratch: PathBuf,
}

impl Workshop {
    pub(super) fn build(rows: &[Row]) -> Result<Self> {
        let needs_program = rows.iter().any(|row| matches!(row.how, How::Program(..)));
        let needs_cli = rows.iter().any(|row| matches!(row.how, How::Cold(_)));
        report::stage("build");
        let mut targets = Vec::new();
        if needs_program {
            targets.extend(["--package", "agentcoord", "--bench", MEASURE]);
        }
        if needs_cli {
            targets.extend(["--package", "agentcoord-cli", "--bin", COMMAND]);
        }
        // In one go: linking a release is the longest part, and goes on side by side.
        let programs = executables(&targets)?;
        let (measure, agentcoord) = (programs.get(MEASURE).cloned(), programs.get(COMMAND).cloned());
        Ok(Self { measure, agentcoord, scratch: command::root().join("target/bench") })
    }

    pub(super) fn measure(&self) -> &Path {
        self.measure.as_deref().unwrap_or(Path::new(MEASURE))
    }

    pub(super) fn agentcoord(&self) -> &Path {
        self.agentcoord.as_deref().unwrap_or(Path::new(COMMAND))
    }

    /// An empty directory for a row, on the disk that the repository lies on.
    pub(super) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let directory = self.scratch.join(name);
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        Ok(directory)
    }
}

/// Builds programs in release and returns where cargo put them, by name.
fn executables(targets: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let mut build = command::cargo(&["build", "--release", "--quiet", "--message-format", "json"]);
    let messages = command::output(build.args(targets).stderr(Stdio::inherit()))?;
    let made = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let program =
        |message: Value| Some((message["target"]["name"].as_str()?.to_owned(), message["executable"].as_str()?.into()));
    Ok(made.filter_map(program).collect())
}

/// What a reader must know of the machine, and how busy it was.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) words: Vec<String>,
    /// Programs that wanted to run when the measuring began, over the last minute.
    pub(super) load: f64,
}

impl Machine {
    pub(super) fn look(options: &Options) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
        let version = |program: &str, argument: &str| command::output(Command::new(program).arg(argument));
        let mut words = vec![
            format!("{cores} cores, {}, {}", cpu.unwrap_or("unknown"), std::env::consts::OS),
            version("rustc", "--version")?.trim().to_owned(),
        ];
        if let Ok(redis) = version(setup::SERVER, "--version") {
            let short: Vec<&str> = redis.split_whitespace().take(3).collect();
            let kept = if options.append_only { "append-only on, everysec" } else { "append-only off" };
            words.push(format!("{} ({kept})", short.join(" ")));
        }
        // Without node their rows say why they are missing.
        if options.peers
            && let Ok(peers) = peers::words()
        {
            words.push(peers);
        }
        words.push(format!("{} rounds after a warm-up", options.rounds()));
        words.push(format!("{} records where there are many", options.records()));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0);
        Ok(Self { words, load })
    }
}
