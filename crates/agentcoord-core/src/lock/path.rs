//! What a lock protects: files, subtrees and names, in one canonical form.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::limits;

/// What a lock protects: a path relative to the worktree root with `/` between its parts, or an `@name`.
///
/// Canonical by construction: `./a`, `x/../a` and `a` are the same path. Symbolic links are resolved by whoever
/// knows the file system (the client library), before a path comes here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LockPath(String);

impl LockPath {
    /// Checks a path and brings it to its canonical form.
    ///
    /// A trailing `/` means the subtree: `src/` is everything below `src`, and `src` itself.
    ///
    /// # Errors
    /// `Invalid` when it is empty, absolute, leads out of the root, is the root, contains control characters, or is
    /// longer than 4,096 bytes or 64 parts.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |allowed: &str| Err(Error::invalid("path", text, allowed));
        if text.is_empty() {
            return refuse("a path relative to the worktree root, or @name");
        }
        if text.len() > limits::PATH_BYTES {
            return refuse("at most 4096 bytes");
        }
        if text.chars().any(char::is_control) {
            return refuse("a path without NUL and other control characters");
        }
        if let Some(name) = text.strip_prefix('@') {
            if name.is_empty() || name.starts_with('/') || name.contains("//") || name.ends_with('/') {
                return refuse("@name, as in @git/index");
            }
            return Ok(Self(text.to_owned()));
        }
        if text.starts_with('/') {
            return refuse("a path relative to the worktree root");
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    if parts.pop().is_none() {
                        return refuse("a path inside the worktree root");
                    }
                }
                part => parts.push(part),
            }
        }
        if parts.is_empty() {
            return refuse("a file or directory below the worktree root");
        }
        if parts.len() > limits::PATH_DEPTH {
            return refuse("at most 64 parts");
        }
        let subtree = matches!(text.rsplit('/').next(), Some("" | "." | ".."));
        Ok(Self(parts.join("/") + if subtree { "/" } else { "" }))
    }

    /// True for a directory with everything below it.
    #[must_use]
    pub fn is_subtree(&self) -> bool {
        self.0.ends_with('/')
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The paths whose lock covers this one: the subtrees that it lies in, from the outermost on, and itself.
    #[must_use]
    pub fn covering(&self) -> Vec<Self> {
        if self.0.starts_with('@') {
            return vec![self.clone()];
        }
        let file = self.0.trim_end_matches('/');
        let mut covering: Vec<Self> = file.match_indices('/').map(|(at, _)| Self(file[..=at].to_owned())).collect();
        if !self.is_subtree() {
            covering.push(self.clone());
        }
        covering.push(Self(format!("{file}/")));
        covering
    }
}

impl std::fmt::Display for LockPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_path_are_one_lock() {
        for text in ["a", "./a", "x/../a", ".//a"] {
            assert_eq!(LockPath::parse(text).expect(text).as_str(), "a");
        }
    }

    #[test]
    fn a_trailing_slash_is_the_subtree() {
        for text in ["a/", "./a//", "a/b/..", "a/."] {
            assert_eq!(LockPath::parse(text).expect(text).as_str(), "a/");
        }
    }

    #[test]
    fn paths_that_cannot_be_locked_are_refused() {
        let (long, deep) = ("x".repeat(4_097), "x/".repeat(65));
        for text in
            ["", ".", "./", "..", "a/..", deep.as_str(), "a/../..", "/etc/passwd", "a\0b", "a\nb", "@", long.as_str()]
        {
            assert!(matches!(LockPath::parse(text), Err(Error::Invalid { field: "path", .. })), "{text:?}");
        }
    }

    #[test]
    fn subtrees_cover_what_lies_in_them() {
        let covering = |text: &str| -> Vec<String> {
            let path = LockPath::parse(text).expect(text);
            path.covering().iter().map(ToString::to_string).collect()
        };
        assert_eq!(covering("a"), ["a", "a/"]);
        assert_eq!(covering("a/b/c"), ["a/", "a/b/", "a/b/c", "a/b/c/"]);
        assert_eq!(covering("a/b/"), ["a/", "a/b/"]);
        assert_eq!(covering("@git/index"), ["@git/index"]);
    }

    #[test]
    fn names_are_kept_as_they_are() {
        assert_eq!(LockPath::parse("@git/index").expect("a name").as_str(), "@git/index");
    }
}
