//! The place of a demo: a scratch clone of a real repository, or of one that is made here. The original is only read.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::CliError;
use crate::git::Git;
use crate::output::text::shell;

/// The branch that the agents commit to.
const BRANCH: &str = "agentcoord-demo";
/// Files of the repository that is made.
const FILES: usize = 40;
/// Longest file that is edited.
const FILE_BYTES: u64 = 256 * 1024;

/// The place. It is removed on drop, unless it is kept.
#[derive(Debug)]
pub(super) struct Scratch {
    temporary: TempDir,
    /// The directory around it all.
    pub(super) dir: PathBuf,
    /// The clone.
    pub(super) git: Git,
    /// What was cloned, for people.
    pub(super) source: String,
    /// The commit that the agents start from.
    pub(super) base: String,
}

impl Scratch {
    /// Makes the place.
    ///
    /// # Errors
    /// `INVALID` when `repository` is no git repository or has no commit.
    pub(super) fn new(repository: Option<&Path>) -> Result<Self, CliError> {
        let failed = |e| CliError::internal("the scratch directory", e);
        let temporary = tempfile::Builder::new().prefix("agentcoord-demo-").tempdir().map_err(failed)?;
        let dir = temporary.path().canonicalize().map_err(failed)?;
        let (source, shown) = match repository {
            Some(path) => (path.canonicalize().map_err(|e| no_repository(path, &e.to_string()))?, None),
            None => (make(&dir.join("origin"))?, Some("a repository made for it".to_owned())),
        };
        if let Err(error) = Git::at(&source).run_as_user(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]) {
            let said = error.message.lines().last().unwrap_or_default();
            return Err(no_repository(&source, &format!("no git repository with a commit; {said}")));
        }
        let clone = dir.join("clone");
        let (from, to) = (source.display().to_string(), clone.display().to_string());
        let quiet = ["clone", "--quiet", "--no-tags", "--no-checkout", "--template=", "--", &from, &to];
        Git::at(&dir).run_as_user(&quiet)?;
        let git = Git::at(&clone);
        let settings = [
            ("core.hooksPath", "/dev/null"),
            ("core.autocrlf", "false"),
            ("core.fsmonitor", "false"),
            ("commit.gpgsign", "false"),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
        ];
        for (key, value) in settings {
            git.run(&["config", key, value])?;
        }
        // Bytes in the work tree are the bytes in the repository, whatever its attributes say.
        let info = clone.join(".git/info");
        std::fs::create_dir_all(&info).map_err(failed)?;
        let attributes = "* -text -eol -filter -ident !working-tree-encoding\n";
        std::fs::write(info.join("attributes"), attributes).map_err(failed)?;
        git.run(&["checkout", "--quiet", "-B", BRANCH])?;
        let base = git.line(&["rev-parse", "HEAD"])?;
        let source = shown.unwrap_or_else(|| source.display().to_string());
        Ok(Self { temporary, dir, git, source, base })
    }

    /// Text files to edit, at most so many, spread over the whole tree.
    ///
    /// # Errors
    /// `INVALID` when there is none.
    pub(super) fn files(&self, most: usize) -> Result<Vec<String>, CliError> {
        let root = self.git.dir();
        let listing = self.git.run(&["ls-files", "--stage", "-z"])?;
        let mut files: Vec<String> = Vec::new();
        for entry in listing.split(|byte| *byte == 0) {
            let Ok(entry) = std::str::from_utf8(entry) else { continue };
            let Some((facts, path)) = entry.split_once('\t') else { continue };
            let regular = facts.starts_with("100644");
            if regular && agentcoord::lock_path(root, root, path).is_ok() && is_text(&root.join(path)) {
                files.push(path.to_owned());
            }
        }
        if files.is_empty() {
            return Err(CliError::invalid(format!("{} has no text file to edit", self.source)));
        }
        let step = files.len().div_ceil(most.max(1)).max(1);
        Ok(files.into_iter().step_by(step).collect())
    }

    /// The directory of the state.
    pub(super) fn state_dir(&self) -> PathBuf {
        self.git.dir().join(".git/agentcoord")
    }

    /// The directory of the agents' logs.
    pub(super) fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// Leaves it for people to look at.
    pub(super) fn keep(self) {
        drop(self.temporary.keep());
    }

    /// The command that removes everything.
    pub(super) fn removal(&self) -> String {
        format!("rm -rf {}", shell(&self.dir.display().to_string()))
    }
}

fn no_repository(path: &Path, why: &str) -> CliError {
    CliError::invalid(format!("--repo {}: {why}", path.display()))
}

fn is_text(path: &Path) -> bool {
    let small = std::fs::symlink_metadata(path).is_ok_and(|m| m.is_file() && m.len() <= FILE_BYTES);
    small && std::fs::read(path).is_ok_and(|bytes| !bytes.contains(&0) && std::str::from_utf8(&bytes).is_ok())
}

/// Makes a small repository.
fn make(dir: &Path) -> Result<PathBuf, CliError> {
    let failed = |e| CliError::internal("the demo's repository", e);
    for number in 0..FILES {
        let folder = dir.join("services").join(["billing", "catalog", "search", "users"][number % 4]);
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let mut text = format!("# Part {number:02}\n\n");
        for line in 1..=20 {
            text.push_str(&format!("step {line}: what part {number:02} does in its turn\n"));
        }
        std::fs::write(folder.join(format!("part_{number:02}.txt")), text).map_err(failed)?;
    }
    let git = Git::at(dir);
    git.run(&["init", "--quiet", "--template="])?;
    git.run(&["add", "--all"])?;
    git.run(&["-c", "user.name=demo", "-c", "user.email=demo@example.invalid", "commit", "--quiet", "-m", "Start"])?;
    Ok(dir.to_owned())
}
