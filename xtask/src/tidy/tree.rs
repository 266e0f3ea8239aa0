//! The text files of the repository: those that git tracks, and new ones that it does not ignore.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::command;

/// A text file.
#[derive(Debug)]
pub(crate) struct File {
    /// Its path from the root, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

impl File {
    /// Whether it is Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it is a test or an example, which may do what libraries may not.
    pub(crate) fn is_test(&self) -> bool {
        ["tests/", "examples/", "benches/"]
            .iter()
            .any(|f| self.path.contains(&format!("/{f}")) || self.path.starts_with(f))
    }

    /// Lines of code with their numbers from 1: without comment lines, and without a test module at the end.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod ").unwrap_or(self.text.len());
        self.text[..end].lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with("//")).map(|(n, l)| (n + 1, l))
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Tree(Vec<File>);

impl Tree {
    /// Reads the repository.
    pub(crate) fn read() -> Result<Self> {
        let root = command::root();
        let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let list = command::output(Command::new("git").args(list).current_dir(&root))?;
        let mut files = Vec::new();
        for path in list.split('\0').filter(|path| !path.is_empty()) {
            // What is deleted but still in the index, or is no text, is nobody's concern here.
            if let Ok(text) = fs::read_to_string(root.join(path)) {
                files.push(File { path: path.to_owned(), text });
            }
        }
        Ok(Self(files))
    }

    /// The files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.0.iter()
    }

    /// The Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files().filter(|f| f.is_rust())
    }

    /// A made-up tree.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() }).collect())
    }
}

/// The places where a file's code contains any of some words, as `path:line: word`.
pub(crate) fn uses(file: &File, words: &[&str]) -> Vec<String> {
    let hits = file.code().flat_map(|(number, line)| {
        words.iter().filter(|word| line.contains(**word)).map(move |word| format!("{}:{number}: {word}", file.path))
    });
    hits.collect()
}
