//! Where anchors are kept: files, and git notes. Both are text, one anchor a line, among whatever else is there.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use agentcoord::audit::{Anchor, MARK};
use agentcoord::core::audit::verify::Witness;

use crate::error::CliError;
use crate::git::Git;

/// The ref of the notes.
pub(super) const NOTES: &str = "refs/notes/agentcoord-audit";

/// Appends an anchor to a file, and answers its name.
///
/// # Errors
/// `INVALID` when the file cannot be written.
pub(super) fn append(file: &Path, line: &str) -> Result<String, CliError> {
    let written = OpenOptions::new().append(true).create(true).open(file).and_then(|mut out| {
        out.write_all(format!("{line}\n").as_bytes())?;
        out.sync_all()
    });
    written.map_err(|e| CliError::invalid(format!("{} cannot be written: {e}", file.display())))?;
    Ok(file.display().to_string())
}

/// Appends an anchor to the note of the current commit, and answers where that is.
///
/// # Errors
/// `GIT` where there is no repository or no commit.
pub(super) fn note(root: &Path, line: &str) -> Result<String, CliError> {
    let git = Git::at(root);
    let commit = git.run_as_user(&["rev-parse", "--verify", "HEAD"])?;
    let notes = format!("--ref={NOTES}");
    // A note is a commit of its own; it must not fail where nobody has told git a name.
    let author = ["-c", "user.name=agentcoord", "-c", "user.email=agentcoord@localhost"];
    git.run_as_user(&[&author[..], &["notes", &notes, "append", "-m", line, "HEAD"]].concat())?;
    Ok(format!("{NOTES} on {}", String::from_utf8_lossy(&commit).trim()))
}

/// The anchors of a namespace in a file.
///
/// # Errors
/// `INVALID` when the file cannot be read, or holds no anchor of this namespace.
pub(super) fn of_file(file: &Path, namespace: &str) -> Result<Vec<Witness>, CliError> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|e| CliError::invalid(format!("the anchors in {name} cannot be read: {e}")))?;
    let found = of_text(&text, namespace, &name.to_string())?;
    if found.is_empty() {
        return Err(CliError::invalid(format!("{name} holds no anchor of namespace {namespace}")));
    }
    Ok(found)
}

/// The anchors of a namespace in the repository's notes; none where there is no repository.
///
/// # Errors
/// `INVALID` for a note that begins as an anchor and is none.
pub(super) fn of_notes(root: &Path, namespace: &str) -> Result<Vec<Witness>, CliError> {
    // Fails when there is no such ref, no such line, no repository or no git: then nothing is anchored there.
    let found = Git::at(root).run_as_user(&["grep", "-h", &format!("^{MARK} "), NOTES]);
    of_text(&String::from_utf8_lossy(&found.unwrap_or_default()), namespace, "the git notes")
}

fn of_text(text: &str, namespace: &str, kept: &str) -> Result<Vec<Witness>, CliError> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| line.starts_with(MARK)) {
        let anchor: Anchor = line.parse()?;
        if anchor.namespace == namespace {
            found.push(Witness { head: anchor.head, kept: format!("{kept} ({})", anchor.time) });
        }
    }
    Ok(found)
}
