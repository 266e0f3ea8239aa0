//! All that the automation prints; no other module of it writes to the terminal.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is the module that prints")]

/// A line of the answer.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// The beginning of a stage.
pub(crate) fn stage(name: &str) {
    eprintln!("==> {name}");
}

/// Something a reader must know although nothing has failed.
pub(crate) fn note(text: &str) {
    eprintln!("note: {text}");
}

/// Why the command failed.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
