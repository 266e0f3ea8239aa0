//! Where a workspace is: its worktree root, its state directory, and the canonical form of paths in it.

use std::path::{Component, Path, PathBuf};

use agentcoord_core::lock::LockPath;
use agentcoord_core::{Error, Result};

/// Name of the directory that holds the state, inside git's common directory or the user's state home.
const STATE: &str = "agentcoord";

/// A place in the file system where agents work together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// The worktree root, canonical.
    pub root: PathBuf,
    /// The state directory: shared by all worktrees of one repository.
    pub state_dir: PathBuf,
}

impl Workspace {
    /// Finds the workspace that a directory belongs to.
    ///
    /// Inside a git worktree the root is the worktree's and the state lies in the repository's common directory, so
    /// that all worktrees share it. Elsewhere the directory itself is the root and the state lies in `state_home`,
    /// under a hash of the directory.
    ///
    /// # Errors
    /// `Invalid` when the directory does not exist, or is no git worktree and no `state_home` was given.
    pub fn discover(dir: &Path, state_home: Option<&Path>) -> Result<Self> {
        let start = dir
            .canonicalize()
            .map_err(|e| Error::invalid("dir", dir.display().to_string(), format!("a directory that exists ({e})")))?;
        for root in start.ancestors() {
            if let Some(git) = git_common_dir(&root.join(".git")) {
                return Ok(Self { root: root.to_owned(), state_dir: git.join(STATE) });
            }
        }
        let Some(home) = state_home else {
            return Err(Error::invalid("state-dir", "none", "a state directory, because this is no git worktree"));
        };
        let hash = agentcoord_core::op::sha256(start.as_os_str().as_encoded_bytes());
        Ok(Self { root: start, state_dir: home.join(STATE).join(&hash[..16]) })
    }
}

/// The common directory of the repository that a `.git` entry belongs to.
fn git_common_dir(dot_git: &Path) -> Option<PathBuf> {
    if dot_git.is_dir() {
        return Some(dot_git.to_owned());
    }
    // A linked worktree: `.git` is a file that names its private directory, which names the common one.
    let link = std::fs::read_to_string(dot_git).ok()?;
    let private = dot_git.parent()?.join(link.strip_prefix("gitdir:")?.trim());
    let common = std::fs::read_to_string(private.join("commondir")).map_or(private.clone(), |c| private.join(c.trim()));
    common.canonicalize().ok()
}

/// The canonical lock path of what a user named: relative to `cwd`, inside `root`, symbolic links of parents resolved.
///
/// The file itself may not exist yet. `@names` are taken as they are.
///
/// # Errors
/// `Invalid` for paths outside the root and for everything that [`LockPath::parse`] refuses.
pub fn lock_path(root: &Path, cwd: &Path, named: &str) -> Result<LockPath> {
    if named.starts_with('@') || named.is_empty() || named.contains('\0') {
        return LockPath::parse(named);
    }
    let joined = cwd.join(named);
    let outside = || Error::invalid("path", named, format!("a path inside {}", root.display()));
    let real = resolve(&joined).ok_or_else(outside)?;
    let relative = real.strip_prefix(root).map_err(|_| outside())?;
    let text = relative.to_str().ok_or_else(|| Error::invalid("path", named, "a path in UTF-8"))?;
    // A directory with everything below it keeps its slash.
    let subtree = matches!(named.rsplit('/').next(), Some("" | "." | ".."));
    LockPath::parse(&if subtree { format!("{text}/") } else { text.to_owned() })
}

/// The path with `.` and `..` taken out and the links of its parents resolved; the last part stays as it is, because a
/// lock on a link protects the link.
fn resolve(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean = clean.canonicalize().unwrap_or(clean);
                if !clean.pop() {
                    return None;
                }
            }
            part => clean.push(part),
        }
    }
    let name = clean.file_name()?.to_owned();
    let mut parent = clean.parent()?.to_owned();
    let mut missing = Vec::new();
    loop {
        if let Ok(real) = parent.canonicalize() {
            let mut real = real;
            real.extend(missing.iter().rev());
            return Some(real.join(name));
        }
        missing.push(parent.file_name()?.to_owned());
        parent = parent.parent()?.to_owned();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn worktrees_of_one_repository_share_their_state() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("main");
        let linked = dir.path().join("linked");
        std::fs::create_dir_all(main.join(".git/worktrees/linked")).unwrap();
        std::fs::create_dir_all(linked.join("src")).unwrap();
        std::fs::write(main.join(".git/worktrees/linked/commondir"), "../..\n").unwrap();
        let gitdir = format!("gitdir: {}\n", main.join(".git/worktrees/linked").display());
        std::fs::write(linked.join(".git"), gitdir).unwrap();
        let one = Workspace::discover(&main, None).unwrap();
        let two = Workspace::discover(&linked.join("src"), None).unwrap();
        assert_eq!(one.state_dir, two.state_dir);
        assert_eq!(two.root, linked.canonicalize().unwrap());
    }

    #[test]
    fn spellings_of_one_file_are_one_lock_path() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("src/deep")).unwrap();
        std::os::unix::fs::symlink(root.join("src"), root.join("link")).unwrap();
        let absolute = root.join("src/a.rs").display().to_string();
        for named in ["src/a.rs", "./src/a.rs", "src/deep/../a.rs", "link/a.rs", "link/deep/../a.rs", &absolute] {
            assert_eq!(lock_path(&root, &root, named).unwrap().as_str(), "src/a.rs", "{named}");
        }
        for named in ["src/deep/", "link/deep/", "src/deep/x/..", &format!("{}/", root.join("src/deep").display())] {
            assert_eq!(lock_path(&root, &root, named).unwrap().as_str(), "src/deep/", "{named}");
        }
        assert_eq!(lock_path(&root, &root.join("src"), "a.rs").unwrap().as_str(), "src/a.rs");
        assert_eq!(lock_path(&root, &root, "new/dir/a.rs").unwrap().as_str(), "new/dir/a.rs");
    }

    #[test]
    fn paths_that_lead_out_of_the_root_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let root = root.canonicalize().unwrap();
        std::os::unix::fs::symlink(dir.path(), root.join("out")).unwrap();
        for named in ["../x", "/etc/passwd", "out/x", "", "a\0b", "."] {
            assert!(lock_path(&root, &root, named).is_err(), "{named:?}");
        }
    }
}
