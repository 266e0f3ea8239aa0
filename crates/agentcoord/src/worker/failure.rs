//! Why a handler could not do its task, and what is to become of the task.

use std::any::Any;
use std::fmt::Display;

use agentcoord_core::limits;

/// What is to become of a task that was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Retry,
    Fatal,
    PutBack,
}

/// A task was not done.
///
/// Any error becomes one by `?`: a failure that another attempt may mend. It is not an error itself, so that this works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    reason: String,
    pub(super) fate: Fate,
}

impl Failure {
    fn new(reason: impl Display, fate: Fate) -> Self {
        Self { reason: line(&reason.to_string()), fate }
    }

    /// Another attempt may help: the task is tried again while it has attempts left.
    pub fn retry(reason: impl Display) -> Self {
        Self::new(reason, Fate::Retry)
    }

    /// No attempt will help: the task has failed.
    pub fn fatal(reason: impl Display) -> Self {
        Self::new(reason, Fate::Fatal)
    }

    /// It was not the task's fault: it goes back to its place in the queue, and the attempt does not count. The reason is
    /// logged, and the record does not keep it.
    ///
    /// The next to claim it may be this worker again.
    pub fn put_back(reason: impl Display) -> Self {
        Self::new(reason, Fate::PutBack)
    }

    /// A handler that has panicked.
    pub(super) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::retry(format!("panicked: {}", said.unwrap_or("no message")))
    }

    /// Why, in a form that the task's record takes.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !reason.contains(&text) {
                reason = format!("{reason}: {text}");
            }
            source = cause.source();
        }
        Self::retry(reason)
    }
}

/// Text that a record accepts as a reason: not empty, not too long.
fn line(text: &str) -> String {
    let clean = text.replace('\0', " ");
    let clean = clean.trim();
    if clean.is_empty() {
        return "no reason was given".to_owned();
    }
    let end = (0..=clean.len().min(limits::NOTE_BYTES)).rev().find(|at| clean.is_char_boundary(*at));
    clean[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_reason_that_a_record_accepts() {
        assert_eq!(Failure::retry(" \0 ").reason(), "no reason was given");
        assert_eq!(Failure::fatal("a\0b\n").reason(), "a b");
        let long = "é".repeat(limits::NOTE_BYTES);
        let reason = Failure::retry(&long).reason().len();
        assert!(reason <= limits::NOTE_BYTES && reason > limits::NOTE_BYTES - 2);
    }

    #[test]
    fn error_becomes_a_failure_with_its_causes() {
        let cause = std::io::Error::other("disk on fire");
        let error = agentcoord_core::Error::backend("the file", cause);
        let failure = Failure::from(error);
        assert!(failure.reason().ends_with("disk on fire"), "{}", failure.reason());
        assert_eq!(failure.fate, Fate::Retry);
    }
}
