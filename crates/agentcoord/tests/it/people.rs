//! People with SSH keys, made and used by the real `ssh-keygen`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agentcoord::{Approvers, SIGNATURE_NAMESPACE};

/// A directory with keys and the files that say whose they are.
pub(crate) struct People {
    dir: tempfile::TempDir,
}

impl People {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a key pair of a kind, as `["-t", "ed25519"]`.
    pub(crate) fn make(&self, name: &str, kind: &[&str]) {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-N", "", "-C", name, "-f"]).arg(self.key(name)).args(kind);
        assert!(command.status().unwrap().success(), "ssh-keygen makes {kind:?}");
    }

    pub(crate) fn public(&self, name: &str) -> String {
        let public = std::fs::read_to_string(self.key(name).with_extension("pub")).unwrap();
        public.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes the allowed signers, each line as `names and options` and the name of a key, and the revoked keys.
    pub(crate) fn approvers(&self, lines: &[(&str, &str)], revoked: &[&str]) -> Approvers {
        let lines: String = lines.iter().map(|(who, key)| format!("{who} {}\n", self.public(key))).collect();
        let revoked: String = revoked.iter().map(|key| format!("{}\n", self.public(key))).collect();
        Approvers {
            allowed_signers: self.file("allowed_signers", &lines),
            revoked_keys: Some(self.file("revoked_keys", &revoked)),
        }
    }

    /// What `ssh-keygen -Y sign` makes of a text.
    pub(crate) fn sign(&self, key: &str, text: &str) -> String {
        self.sign_for(SIGNATURE_NAMESPACE, key, text)
    }

    pub(crate) fn sign_for(&self, namespace: &str, key: &str, text: &str) -> String {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(self.key(key));
        let (made, signature) = speak(&mut command, text);
        assert!(made, "ssh-keygen signs with {key}");
        signature
    }

    /// Whether `ssh-keygen -Y verify` accepts a signature.
    pub(crate) fn accepts(&self, approvers: &Approvers, name: &str, text: &str, signature: &str) -> bool {
        let mut command = Command::new("ssh-keygen");
        command
            .args(["-q", "-Y", "verify", "-n", SIGNATURE_NAMESPACE, "-I", name, "-f"])
            .arg(&approvers.allowed_signers);
        command.arg("-s").arg(self.file("signature", signature));
        if let Some(revoked) = approvers.revoked_keys.as_deref().filter(|path| !is_empty(path)) {
            command.arg("-r").arg(revoked);
        }
        speak(&mut command, text).0
    }
}

fn is_empty(path: &Path) -> bool {
    std::fs::metadata(path).unwrap().len() == 0
}

fn speak(command: &mut Command, text: &str) -> (bool, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}
