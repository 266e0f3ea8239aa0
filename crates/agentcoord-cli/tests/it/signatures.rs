//! People sign their votes with their SSH keys: from a file, from a real agent, or elsewhere with `ssh-keygen`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::json;

use crate::terminal::{PATIENCE, Repository, Terminal};

/// A project with approvers, and people with keys in homes of their own.
struct Project {
    repository: Repository,
    terminal: Terminal,
}

impl Project {
    fn new() -> Self {
        let repository = Repository::new();
        let terminal = repository.terminal().variable("AGENTCOORD_APPROVERS", "allowed_signers");
        std::fs::write(repository.root().join("allowed_signers"), "# nobody yet\n").unwrap();
        Self { repository, terminal }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.repository.root().join(name)
    }

    fn home(&self, name: &str) -> String {
        self.path(&format!("homes/{name}")).display().to_string()
    }

    /// The terminal of a person whose key lies where `ssh-keygen` puts it, and who is an approver.
    fn person(&self, name: &str) -> Terminal {
        let ssh = self.path(&format!("homes/{name}/.ssh"));
        std::fs::create_dir_all(&ssh).unwrap();
        keygen(&["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", text(&ssh.join("id_ed25519"))]);
        self.admit(name, &ssh.join("id_ed25519.pub"));
        self.stranger(name)
    }

    /// The terminal of a person without keys.
    fn stranger(&self, name: &str) -> Terminal {
        self.terminal.clone().variable("HOME", &self.home(name)).variable("LOGNAME", name)
    }

    fn admit(&self, name: &str, public: &Path) {
        let key = std::fs::read_to_string(public).unwrap();
        let list = self.path("allowed_signers");
        let lines = std::fs::read_to_string(&list).unwrap();
        std::fs::write(list, format!("{lines}{name} {key}")).unwrap();
    }

    fn ask(&self, words: &[&str]) -> String {
        let words: Vec<&str> =
            ["-o", "id", "approvals", "request", "deploy", "v2"].iter().chain(words).copied().collect();
        let said = self.terminal.agent("ann").run(&words);
        assert_eq!(said.exit, 6, "{}", said.stderr);
        said.stdout.trim().to_owned()
    }

    fn decided(&self, id: &str) -> i32 {
        self.terminal.agent("ann").run(&["approvals", "wait", id, "--timeout", "0"]).exit
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn keygen(words: &[&str]) {
    let made = Command::new("ssh-keygen").args(words).stdout(Stdio::null()).status().unwrap();
    assert!(made.success(), "ssh-keygen {words:?}");
}

/// A real ssh-agent; it ends with the test.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(socket: PathBuf) -> Self {
        let mut command = Command::new("ssh-agent");
        command.args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).stderr(Stdio::null());
        let agent = Self { child: command.spawn().unwrap(), socket };
        let deadline = Instant::now() + PATIENCE;
        while !agent.socket.exists() {
            assert!(Instant::now() < deadline, "ssh-agent listens");
            std::thread::yield_now();
        }
        agent
    }

    fn add(&self, key: &Path) {
        let mut command = Command::new("ssh-add");
        command.arg("-q").arg(key).env("SSH_AUTH_SOCK", &self.socket).stdin(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "ssh-add");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn key_file_signs_and_two_of_three_people_decide() {
    let project = Project::new();
    let (ada, bob, eve) = (project.person("ada"), project.person("bob"), project.person("eve"));
    let id = project.ask(&["--quorum", "2"]);
    let first = ada.data(&["approve", &id]);
    assert_eq!(first["items"][0]["votes"][0]["by"], "human:ada");
    assert_eq!(
        (&first["items"][0]["votes"][0]["signed"], &first["items"][0]["status"]),
        (&json!(true), &json!("pending"))
    );
    assert_eq!(project.decided(&id), 6);
    assert_eq!(ada.run(&["approve", &id]).exit, 5, "ada has voted");
    let shown = eve.run(&["approvals", "show", &id]).stdout;
    assert!(shown.contains("1 of 2") && shown.contains("yes from human:ada, just now, signed"), "{shown}");
    bob.data(&["approve", &id]);
    assert_eq!(project.decided(&id), 0);
    assert_eq!(project.decided(&id), 5, "one yes is for one action");
    let other = project.ask(&[]);
    eve.data(&["reject", &other, "-m", "not on a Friday"]);
    assert_eq!(project.decided(&other), 5);
}

#[test]
fn agent_signs_and_the_key_file_is_not_needed() {
    let project = Project::new();
    let ada = project.person("ada");
    let key = PathBuf::from(project.home("ada")).join(".ssh/id_ed25519");
    let agent = Agent::start(project.path("agent.sock"));
    agent.add(&key);
    std::fs::remove_file(&key).unwrap();
    std::fs::remove_file(key.with_extension("pub")).unwrap();
    let id = project.ask(&[]);
    let without = ada.run(&["approve", &id]);
    assert_eq!((without.exit, without.stderr.contains("none of your SSH keys")), (5, true), "{}", without.stderr);
    ada.clone().variable("SSH_AUTH_SOCK", text(&agent.socket)).data(&["approve", &id]);
    assert_eq!(project.decided(&id), 0);
}

#[test]
fn key_that_is_listed_under_one_name_votes_under_that_name() {
    let project = Project::new();
    project.person("ada@example.com");
    let key = PathBuf::from(project.home("ada@example.com")).join(".ssh/id_ed25519");
    let ada = project.stranger("ada").variable("AGENTCOORD_SIGNING_KEY", text(&key));
    let id = project.ask(&[]);
    let cast = ada.data(&["approve", &id]);
    assert_eq!(cast["items"][0]["votes"][0]["by"], "human:ada@example.com");
}

#[test]
fn signature_is_made_elsewhere_and_is_what_openssh_says_it_is() {
    let project = Project::new();
    let ada = project.person("ada");
    let id = project.ask(&[]);
    let statement = ada.run(&["approvals", "statement", &id]);
    std::fs::write(project.path("vote"), &statement.stdout).unwrap();
    let key = PathBuf::from(project.home("ada")).join(".ssh/id_ed25519");
    keygen(&["-q", "-Y", "sign", "-n", "agentcoord-approval", "-f", text(&key), text(&project.path("vote"))]);
    // No fence for a person who proves to be one, wherever the command is typed.
    let shell = project.stranger("ada").agent("ann");
    assert_eq!(shell.run(&["approve", &id]).exit, 5, "the fence stands");
    shell.data(&["approve", &id, "--by", "ada", "--signature", "vote.sig"]);
    assert_eq!(project.decided(&id), 0);

    // And what `approve` has signed, ssh-keygen verifies.
    let id = project.ask(&[]);
    ada.data(&["approve", &id]);
    let statement = ada.data(&["approvals", "statement", &id])["statement"].as_str().unwrap().to_owned();
    let entry = ada.data(&["audit"])["items"].as_array().unwrap().last().unwrap()["details"].clone();
    std::fs::write(project.path("signature"), entry["signature"].as_str().unwrap()).unwrap();
    std::fs::write(project.path("statement"), statement).unwrap();
    let verified = Command::new("ssh-keygen")
        .args(["-q", "-Y", "verify", "-n", "agentcoord-approval", "-I", "ada"])
        .args(["-f", text(&project.path("allowed_signers")), "-s", text(&project.path("signature"))])
        .stdin(std::fs::File::open(project.path("statement")).unwrap())
        .status()
        .unwrap();
    assert!(verified.success());
}

#[test]
fn vote_that_does_not_count_is_refused_shown_and_audited() {
    let project = Project::new();
    let ada = project.person("ada");
    let key = project.path("mallory");
    keygen(&["-q", "-t", "ed25519", "-N", "", "-f", text(&key)]);
    let id = project.ask(&[]);
    let mallory = project.stranger("mallory");
    let none = mallory.run(&["approve", &id]);
    assert!(none.exit == 5 && none.stderr.contains("none of your SSH keys is an approver's"), "{}", none.stderr);
    for words in [&["approve", &id, "--key", text(&key)][..], &["approve", &id, "--by", "ada", "--key", text(&key)]] {
        let refused = mallory.run(words);
        assert!(refused.exit == 5 && refused.stderr.contains("is no approver's"), "{}", refused.stderr);
    }
    let told = ada.data(&["audit", "--type", "vote_refused"]);
    assert_eq!(told["items"].as_array().unwrap().len(), 2);

    // An agent that brings its own list of approvers, or none, can put a vote into the store, and no further.
    let forger = mallory.clone().variable("AGENTCOORD_APPROVERS", "");
    forger.data(&["approve", &id, "--by", "ada", "--key", text(&key)]);
    let shown = ada.run(&["approvals", "show", &id]).stdout;
    assert!(shown.contains("0 of 1") && shown.contains("does not count: its key SHA256:"), "{shown}");
    let waited = project.terminal.agent("ann").run(&["approvals", "wait", &id]);
    assert_eq!(waited.exit, 5, "{}", waited.stderr);
    assert!(waited.stderr.contains("only 0 of 1 votes") && waited.stderr.contains("human:ada"), "{}", waited.stderr);
    assert_eq!(ada.data(&["audit", "--type", "vote_refused"])["items"].as_array().unwrap().len(), 3);
}

#[test]
fn vote_is_refused_when_the_action_is_not_the_one_that_was_seen() {
    let project = Project::new();
    let ada = project.person("ada");
    let id = project.ask(&[]);
    let refused = ada.run(&["approve", &id, "--digest", "0000"]);
    assert!(refused.exit == 5 && refused.stderr.contains("look at it again"), "{}", refused.stderr);
    let digest = ada.data(&["approvals", "show", &id])["approval"]["digest"].as_str().unwrap().to_owned();
    ada.data(&["approve", &id, "--digest", &digest[..12]]);
    assert_eq!(project.decided(&id), 0);
}

#[test]
fn every_marker_of_an_agents_shell_stops_a_vote_and_names_the_way_out() {
    let project = Project::new();
    let ada = project.person("ada");
    let id = project.ask(&[]);
    for marker in
        ["CLAUDE_CODE_CHILD_SESSION", "CODEX_THREAD_ID", "GEMINI_CLI", "CURSOR_AGENT", "COPILOT_AGENT", "AI_AGENT"]
    {
        let refused = ada.clone().variable(marker, "1").run(&["approve", &id]);
        let way_out = format!("if you are a person   env -u {marker} agentcoord approve {id}");
        assert!(refused.exit == 5 && refused.stderr.contains(&way_out), "{}", refused.stderr);
    }
    ada.clone().variable("CLAUDECODE", "1").data(&["approve", &id]);
}
