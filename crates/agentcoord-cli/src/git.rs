//! git, by process, in a clean environment: the caller's variables do not reach it, and its configuration only where the
//! repository is the user's.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::CliError;
use crate::exit::Exit;

/// A repository.
#[derive(Clone, Debug)]
pub(crate) struct Git {
    dir: PathBuf,
}

impl Git {
    /// The repository of a directory.
    pub(crate) fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"GIT_")) {
            command.env_remove(name);
        }
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        command.arg("-C").arg(&self.dir).args(words).stdin(Stdio::null());
        command
    }

    /// Runs git and answers its output.
    ///
    /// # Errors
    /// `GIT` with what git said.
    pub(crate) fn run(&self, words: &[&str]) -> Result<Vec<u8>, CliError> {
        let mut command = self.command(words);
        // Hooks, signatures and line ends of the user's configuration are none of ours.
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        finish(&mut command, words)
    }

    /// As [`Git::run`], with the user's configuration: for a repository that is the user's.
    ///
    /// # Errors
    /// `GIT` with what git said.
    pub(crate) fn run_as_user(&self, words: &[&str]) -> Result<Vec<u8>, CliError> {
        finish(&mut self.command(words), words)
    }

    /// The lines of git's output.
    ///
    /// # Errors
    /// As [`Git::run`].
    pub(crate) fn lines(&self, words: &[&str]) -> Result<Vec<String>, CliError> {
        Ok(String::from_utf8_lossy(&self.run(words)?).lines().map(str::to_owned).collect())
    }

    /// The only line of git's output.
    ///
    /// # Errors
    /// As [`Git::run`].
    pub(crate) fn line(&self, words: &[&str]) -> Result<String, CliError> {
        Ok(self.lines(words)?.into_iter().next().unwrap_or_default())
    }

    /// A file as a commit has it.
    ///
    /// # Errors
    /// As [`Git::run`].
    pub(crate) fn file(&self, commit: &str, path: &str) -> Result<Vec<u8>, CliError> {
        self.run(&["cat-file", "blob", &format!("{commit}:{path}")])
    }
}

fn finish(command: &mut Command, words: &[&str]) -> Result<Vec<u8>, CliError> {
    let fail = |message: String| CliError::new(Exit::Failed, "GIT", message);
    let output = command.output().map_err(|e| fail(format!("git cannot be started: {e}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let verb = words.iter().find(|word| !word.starts_with('-') && !word.contains('=')).copied().unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(fail(format!("git {verb} failed ({}): {said}", output.status)))
}
