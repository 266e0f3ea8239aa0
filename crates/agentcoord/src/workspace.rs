//! Where a workspace is: its worktree root, its state directory, and the canonical form of paths in it.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use agentcoord_core::limits::PATHS;
use agentcoord_core::lock::LockPath;
use agentcoord_core::{Error, Result};
use glob::{MatchOptions, Pattern};
use walkdir::WalkDir;

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

/// The canonical lock paths of what a user named, in order, each once; with `*`, `?` and `**` standing for the files that
/// are there now.
///
/// `**` is any number of directories. Brackets and braces mean themselves, and so does a name that exists as it is
/// written. A pattern that ends with `/` stands for directories with everything below them, any other one for files.
/// Names that begin with a dot are found only where the pattern has the dot. Links to directories are not followed.
///
/// # Errors
/// As [`lock_path`]; `Invalid` for a pattern that nothing matches, or that more files match than one request may name.
pub fn lock_paths<S: AsRef<str>>(root: &Path, cwd: &Path, named: &[S]) -> Result<Vec<LockPath>> {
    let mut paths = BTreeSet::new();
    for word in named.iter().map(AsRef::as_ref) {
        let is_pattern = word.contains(['*', '?']) && !word.starts_with('@') && !word.contains('\0');
        if is_pattern && cwd.join(word).symlink_metadata().is_err() {
            paths.extend(matches(root, cwd, word)?);
        } else {
            paths.insert(lock_path(root, cwd, word)?);
        }
    }
    Ok(paths.into_iter().collect())
}

/// What a pattern stands for.
fn matches(root: &Path, cwd: &Path, word: &str) -> Result<BTreeSet<LockPath>> {
    let refuse = |allowed: String| Error::invalid("path", word, allowed);
    let subtrees = word.ends_with('/');
    let (fixed, rest): (Vec<&str>, Vec<&str>) = {
        let parts: Vec<&str> = word.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let first = parts.iter().position(|part| part.contains(['*', '?'])).unwrap_or(parts.len());
        (parts[..first].to_vec(), parts[first..].to_vec())
    };
    if rest.contains(&"..") {
        return Err(refuse("`..` only before the first `*` or `?`".to_owned()));
    }
    let from = if word.starts_with('/') { Path::new("/") } else { cwd };
    let base = from.join(fixed.join("/"));
    let base = base.canonicalize().map_err(|e| refuse(format!("a pattern in a directory that is there ({e})")))?;
    if !base.starts_with(root) {
        return Err(refuse(format!("a path inside {}", root.display())));
    }
    let literal = |c: char| if matches!(c, '*' | '?') { c.to_string() } else { Pattern::escape(&c.to_string()) };
    let pattern = Pattern::new(&rest.join("/").chars().map(literal).collect::<String>())
        .map_err(|e| refuse(format!("`*` and `?` within a name, `**` for whole directories ({})", e.msg)))?;
    let options =
        MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let hidden = rest.iter().any(|part| part.starts_with('.'));
    let depth = if rest.contains(&"**") { usize::MAX } else { rest.len() };
    let walk = WalkDir::new(&base).min_depth(1).max_depth(depth).sort_by_file_name().into_iter();
    let mut found = BTreeSet::new();
    for entry in walk.filter_entry(|e| hidden || e.depth() == 0 || !e.file_name().as_encoded_bytes().starts_with(b"."))
    {
        let entry = entry.map_err(|e| refuse(format!("a pattern over directories that can be read ({e})")))?;
        let relative = entry.path().strip_prefix(&base).unwrap_or(entry.path());
        if entry.file_type().is_dir() != subtrees || !pattern.matches_path_with(relative, options) {
            continue;
        }
        let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let path = path.to_str().ok_or_else(|| Error::invalid("path", path.to_string_lossy(), "a path in UTF-8"))?;
        found.insert(LockPath::parse(&if subtrees { format!("{path}/") } else { path.to_owned() })?);
        if found.len() > PATHS {
            return Err(refuse(format!(
                "a pattern of at most {PATHS} files; or a directory with everything in it, as `src/`"
            )));
        }
    }
    if found.is_empty() {
        return Err(refuse("a pattern that some file matches".to_owned()));
    }
    Ok(found)
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

    fn lines(root: &Path, cwd: &Path, named: &[&str]) -> String {
        lock_paths(root, cwd, named).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn patterns_stand_for_the_files_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for file in ["src/a.rs", "src/b.rs", "src/deep/c.rs", "src/.hidden.rs", ".git/d.rs", "pages/[id].tsx", "e.rs"] {
            std::fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            std::fs::write(root.join(file), "").unwrap();
        }
        std::os::unix::fs::symlink(&root, root.join("src/circle")).unwrap();
        std::os::unix::fs::symlink(root.join("src"), root.join("link")).unwrap();
        assert_eq!(lines(&root, &root, &["src/*.rs"]), "src/a.rs src/b.rs");
        assert_eq!(lines(&root, &root, &["./src/?.rs", "src/a.rs", "new.rs"]), "new.rs src/a.rs src/b.rs");
        assert_eq!(lines(&root, &root, &["**/*.rs"]), "e.rs src/a.rs src/b.rs src/deep/c.rs");
        assert_eq!(lines(&root, &root.join("src/deep"), &["../*.rs"]), "src/a.rs src/b.rs");
        assert_eq!(lines(&root, &root, &["link/**/c.*"]), "src/deep/c.rs");
        assert_eq!(lines(&root, &root, &["src/.*.rs"]), "src/.hidden.rs");
        assert_eq!(lines(&root, &root, &["*/"]), "pages/ src/");
        assert_eq!(lines(&root, &root, &["pages/[*].tsx", "pages/[new].tsx"]), "pages/[id].tsx pages/[new].tsx");
        std::fs::write(root.join("src/*.rs"), "").unwrap();
        assert_eq!(lines(&root, &root, &["src/*.rs"]), "src/*.rs", "it is there as it is written");
    }

    #[test]
    fn patterns_that_cannot_be_locked_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        let root = dir.path().join("root").canonicalize().unwrap();
        std::fs::write(dir.path().join("outside"), "").unwrap();
        for number in 0..=PATHS {
            std::fs::write(root.join(format!("{number}.many")), "").unwrap();
        }
        for named in ["*.none", "gone/*", "../*", "/etc/*", "*/../*", "a**b", "*.many"] {
            let refused = lock_paths(&root, &root, &[named]);
            assert!(matches!(refused, Err(Error::Invalid { field: "path", .. })), "{named}: {refused:?}");
        }
        let Err(error) = lock_paths(&root, &root, &["*.many"]) else { panic!("too many") };
        assert!(error.to_string().contains("at most 64 files"), "{error}");
    }
}
