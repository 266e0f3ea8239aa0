//! A terminal in a scratch repository: runs the binary with a clean environment and tells everything it said.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The longest that anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A scratch git repository.
pub(crate) struct Repository {
    dir: TempDir,
}

/// What a command said.
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) exit: i32,
}

/// A terminal: flags and variables that every call has.
#[derive(Clone)]
pub(crate) struct Terminal {
    cwd: PathBuf,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Repository {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("repo/.git")).unwrap();
        std::fs::create_dir_all(dir.path().join("repo/src")).unwrap();
        std::fs::create_dir_all(dir.path().join("home")).unwrap();
        Self { dir }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("repo")
    }

    /// A terminal on the embedded engine.
    pub(crate) fn terminal(&self) -> Terminal {
        self.bare().variable("AGENTCOORD_BACKEND", "files")
    }

    /// A terminal without any flags.
    pub(crate) fn bare(&self) -> Terminal {
        let home = self.dir.path().join("home").display().to_string();
        Terminal { cwd: self.root(), flags: Vec::new(), variables: Vec::new() }
            .variable("HOME", &home)
            .variable("PATH", &std::env::var("PATH").unwrap())
            .variable("COLUMNS", "100")
    }
}

impl Terminal {
    pub(crate) fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same terminal of an agent.
    pub(crate) fn agent(&self, name: &str) -> Self {
        self.clone().variable("AGENTCOORD_AGENT", name)
    }

    pub(crate) fn directory(mut self, below: impl AsRef<Path>) -> Self {
        self.cwd = self.cwd.join(below);
        self
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agentcoord"));
        command.args(&self.flags).args(words).current_dir(&self.cwd).env_clear().stdin(Stdio::null());
        command.envs(self.variables.iter().map(|(k, v)| (k, v)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Said {
        Running(self.command(words).spawn().unwrap()).finish()
    }

    /// Starts a command.
    pub(crate) fn start(&self, words: &[&str]) -> Running {
        Running(self.command(words).spawn().unwrap())
    }

    /// Runs a command that must succeed, and answers its JSON data.
    pub(crate) fn data(&self, words: &[&str]) -> Value {
        let words: Vec<&str> = ["--json"].iter().chain(words).copied().collect();
        let said = self.run(&words);
        assert_eq!(said.exit, 0, "{words:?}: {}", said.stderr);
        serde_json::from_str::<Value>(&said.stdout).unwrap()["data"].take()
    }

    /// Asks until the data of a command fulfil a condition. The command line has no way yet to be told of a change.
    pub(crate) fn until(&self, words: &[&str], condition: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let data = self.data(words);
            if condition(&data) {
                return data;
            }
            assert!(Instant::now() < deadline, "{words:?} never came true: {data}");
        }
    }
}

/// A command under way; killed when the test gives up on it.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    pub(crate) fn finish(mut self) -> Said {
        let read = |stream: Option<Box<dyn Read + Send>>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                if let Some(mut stream) = stream {
                    stream.read_to_end(&mut bytes).unwrap();
                }
                String::from_utf8(bytes).unwrap()
            })
        };
        let stdout = read(self.0.stdout.take().map(|s| Box::new(s) as Box<dyn Read + Send>));
        let stderr = read(self.0.stderr.take().map(|s| Box::new(s) as Box<dyn Read + Send>));
        let status = self.0.wait().unwrap();
        Said { stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap(), exit: code(status) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.try_wait().unwrap().is_none() {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| panic!("ended by signal {:?}", status.signal()))
}

/// Calls and answers in the form of a snapshot.
pub(crate) struct Transcript {
    text: String,
    root: String,
}

impl Transcript {
    pub(crate) fn new(repository: &Repository) -> Self {
        Self { text: String::new(), root: repository.root().display().to_string() }
    }

    /// Runs a command and writes down the call, its answer and its exit code.
    pub(crate) fn run(&mut self, who: &str, terminal: &Terminal, words: &[&str]) -> Said {
        let said = terminal.run(words);
        self.note(who, words, &said);
        said
    }

    pub(crate) fn note(&mut self, who: &str, words: &[&str], said: &Said) {
        let words: Vec<String> = words
            .iter()
            .map(|w| if w.contains([' ', '"']) || w.is_empty() { format!("'{w}'") } else { (*w).to_owned() })
            .collect();
        self.text.push_str(&format!("{who}$ agentcoord {}\n{}", words.join(" "), said.stdout));
        for line in said.stderr.lines() {
            self.text.push_str(&format!("! {line}\n"));
        }
        self.text.push_str(&format!("= {}\n\n", said.exit));
    }

    /// Compares with the stored snapshot; what differs from run to run is masked, at the same width.
    pub(crate) fn check(self, name: &str) {
        let mut settings = insta::Settings::clone_current();
        settings.add_filter(&regex_escape(&self.root), "[repo]");
        settings.add_filter(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "[time]");
        settings.add_filter(r"\b[0-9a-f]{32}\b", "[session]");
        settings.add_filter(r#""namespace":"[0-9a-f]+""#, r#""namespace":"[namespace]""#);
        settings.add_filter(r#""host":"[^"]*""#, r#""host":"[host]""#);
        settings.add_filter(r"\b\d{16}\b", "[--- token --]");
        settings.add_filter(r"\b[0-9a-f]{8}\b", "[ id   ]");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, self.text));
    }
}

fn regex_escape(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_alphanumeric() || c == '/' { vec![c] } else { vec!['\\', c] }).collect()
}
