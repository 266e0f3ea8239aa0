//! A person's signature on a vote. `ssh-keygen` makes it: it knows key files, passphrases, agents and security keys.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agentcoord::{Roll, SIGNATURE_NAMESPACE};
use tempfile::NamedTempFile;

use crate::config::{Settings, variable};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::text::shell;
use crate::output::{Stamp, is_watched};

/// Keys that people have when nothing is said, in the order in which `ssh` tries them.
const USUAL: &[&str] = &["id_ed25519", "id_ed25519_sk", "id_ecdsa", "id_ecdsa_sk", "id_rsa"];

/// The key that signs, and in whose name.
#[derive(Debug)]
pub(crate) struct Signer {
    key: PathBuf,
    /// The public key of an agent's key, which has no other file.
    _public: Option<NamedTempFile>,
    /// The voter.
    pub(crate) name: String,
}

/// A key that might sign.
struct Candidate {
    /// The public key as a line, when it can be read.
    line: Option<String>,
    key: PathBuf,
    public: Option<NamedTempFile>,
}

impl Signer {
    /// The key of `--key`, else of the setting `signing_key`, else the first of the agent's keys and of the usual files
    /// that belongs to an approver. The name is `by`, else the login name, else the one that the key is listed under.
    ///
    /// # Errors
    /// `NO_KEY` when nothing is named and no key will do; `INVALID` for a key file that is not there.
    pub(crate) fn find(
        settings: &Settings,
        named: Option<&Path>,
        roll: Option<&Roll>,
        by: Option<&str>,
        login: &str,
    ) -> Result<Self, CliError> {
        let named = match named {
            Some(path) => Some(settings.cwd.join(path)),
            None => settings.path("signing_key"),
        };
        let now = Stamp::now().0;
        let wanted = by.unwrap_or(login);
        if let Some(path) = named {
            let candidate = Candidate::file(path)?;
            let listed = candidate.line.as_deref().zip(roll).and_then(|(line, roll)| roll.voter(line, &[wanted], now));
            // Who names a name means it, and is told when the key is not that person's.
            let name = listed.filter(|_| by.is_none()).unwrap_or_else(|| wanted.to_owned());
            return Ok(candidate.of(name));
        }
        let candidates = Candidate::of_agent().into_iter().chain(Candidate::usual());
        let Some(roll) = roll else {
            return candidates.map(|c| c.of(wanted.to_owned())).next().ok_or_else(|| no_key("you have no SSH key"));
        };
        for candidate in candidates {
            let name = candidate.line.as_deref().and_then(|line| roll.voter(line, &[wanted], now));
            if let Some(name) = name.filter(|name| by.is_none_or(|by| by == name)) {
                return Ok(candidate.of(name));
            }
        }
        let whose = by.map_or_else(|| "an approver's".to_owned(), |by| format!("one of the approver {by}"));
        Err(no_key(&format!("none of your SSH keys is {whose}")))
    }

    /// Signs a text.
    ///
    /// # Errors
    /// `NOT_SIGNED` with what `ssh-keygen` says.
    pub(crate) fn sign(&self, text: &str) -> Result<String, CliError> {
        // It asks for a touch there; without a terminal what it says becomes our error.
        let watched = is_watched();
        let failed = |why: String| {
            let message = format!("{} did not sign: {why}", self.key.display());
            CliError::new(Exit::Failed, "NOT_SIGNED", message)
        };
        let mut child = Command::new("ssh-keygen")
            .args(["-q", "-Y", "sign", "-n", SIGNATURE_NAMESPACE, "-f"])
            .arg(&self.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if watched { Stdio::inherit() } else { Stdio::piped() })
            .spawn()
            .map_err(|e| failed(format!("ssh-keygen cannot be started ({e}); it comes with the OpenSSH client")))?;
        if let Some(mut stdin) = child.stdin.take() {
            // It may end before it has read everything; why, it says itself.
            drop(stdin.write_all(text.as_bytes()));
        }
        let output = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
        let signature = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() && !signature.is_empty() {
            return Ok(signature);
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        Err(failed(if said.is_empty() { output.status.to_string() } else { said }))
    }
}

impl Candidate {
    fn of(self, name: String) -> Signer {
        Signer { key: self.key, _public: self.public, name }
    }

    /// A key file, private or public; of a public one `ssh-keygen` finds the other half itself, in the agent or beside
    /// it.
    fn file(key: PathBuf) -> Result<Self, CliError> {
        if !key.is_file() {
            return Err(CliError::invalid(format!("there is no key file {}", key.display())));
        }
        let line = std::fs::read_to_string(public_of(&key)).ok();
        Ok(Self { line, key, public: None })
    }

    fn usual() -> impl Iterator<Item = Self> {
        let home = variable("HOME").map(PathBuf::from);
        let paths = home.into_iter().flat_map(|home| USUAL.iter().map(move |name| home.join(".ssh").join(name)));
        paths.filter_map(|key| Self::file(key).ok())
    }

    /// The keys that the SSH agent holds.
    fn of_agent() -> Vec<Self> {
        if variable("SSH_AUTH_SOCK").is_none() {
            return Vec::new();
        }
        let Ok(output) = Command::new("ssh-add").arg("-L").stderr(Stdio::null()).output() else { return Vec::new() };
        if !output.status.success() {
            return Vec::new();
        }
        String::from_utf8_lossy(&output.stdout).lines().filter_map(Self::in_agent).collect()
    }

    fn in_agent(line: &str) -> Option<Self> {
        let mut file = NamedTempFile::with_suffix(".pub").ok()?;
        writeln!(file, "{line}").ok()?;
        Some(Self { line: Some(line.to_owned()), key: file.path().to_owned(), public: Some(file) })
    }
}

fn public_of(key: &Path) -> PathBuf {
    if key.extension().is_some_and(|e| e == "pub") {
        return key.to_owned();
    }
    let mut name = key.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn no_key(message: &str) -> CliError {
    CliError::new(Exit::Refused, "NO_KEY", message)
        .next("name one", "agentcoord approve ID --key FILE")
        .next("or always", format!("export AGENTCOORD_SIGNING_KEY={}", shell("~/.ssh/id_ed25519")))
        .next("who may vote", "agentcoord config show")
}
