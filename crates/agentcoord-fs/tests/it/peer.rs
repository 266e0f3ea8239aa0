//! Other processes: this very test binary, started with a role.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::{processes, wakes};

const ROLE: &str = "AGENTCOORD_FS_PEER";
const DIR: &str = "AGENTCOORD_FS_PEER_DIR";
/// Tells a peer's lines from those of the test harness.
const MARK: &str = "peer: ";

/// A running peer; it is killed (SIGKILL) on drop.
pub(crate) struct Peer {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    pub(crate) fn start(role: &str, dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "peer::peer_without_a_known_role_fails", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(DIR, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, lines: BufReader::new(output).lines() }
    }

    /// The next thing it says; none when it has ended.
    pub(crate) fn hear(&mut self) -> Option<String> {
        // The harness prints the test's name without a line end before the first line.
        self.lines.by_ref().map_while(Result::ok).find_map(|l| l.split_once(MARK).map(|(_, said)| said.to_owned()))
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it still says before it is killed by `kill -9`.
    pub(crate) fn kill(&mut self) -> Vec<String> {
        self.child.kill().unwrap();
        let said = std::iter::from_fn(|| self.hear()).collect();
        let _status = self.child.wait().unwrap();
        said
    }

    /// Waits for a good end and returns all that it said.
    pub(crate) fn finish(mut self) -> Vec<String> {
        let said = std::iter::from_fn(|| self.hear()).collect();
        let status = self.child.wait().unwrap();
        let mut errors = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _read = std::io::Read::read_to_string(&mut stderr, &mut errors);
        }
        assert!(status.success(), "{errors}");
        said
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

/// What a peer says to the test that started it.
#[allow(clippy::print_stdout, reason = "the pipe to the parent process")]
pub(crate) fn say(text: &str) {
    println!("{MARK}{text}");
    std::io::stdout().flush().unwrap();
}

/// A line from the test that started this peer.
pub(crate) fn listen() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    line.trim().to_owned()
}

/// With a role in the environment this is the peer itself.
#[test]
fn peer_without_a_known_role_fails() {
    let Ok(role) = std::env::var(ROLE) else {
        let mut peer = Peer::start("none", Path::new("/"));
        assert_eq!(peer.hear(), None);
        assert!(!peer.child.wait().unwrap().success());
        return;
    };
    let dir = std::env::var(DIR).unwrap();
    let dir = Path::new(&dir);
    match role.as_str() {
        "counter" => processes::count(dir),
        "worker" => processes::work(dir),
        "creator" => processes::create(dir),
        "founder" => processes::found(dir),
        "releaser" => wakes::release_on_command(dir),
        _ => panic!("no role {role}"),
    }
}
