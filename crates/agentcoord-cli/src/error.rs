//! What went wrong, for a person and for a program: the message, what to do next, and the exit code.
//!
//! Commands attach the next steps, because only they know what the caller wanted.

use std::error::Error as _;

use agentcoord::{Error, Noun};
use serde_json::{Value, json};

use crate::exit::Exit;

/// A failure as it is shown.
#[derive(Debug)]
pub(crate) struct CliError {
    /// A word for programs, `UPPER_SNAKE`.
    pub(crate) code: &'static str,
    /// What failed and why, in a sentence.
    pub(crate) message: String,
    /// True when the same call may succeed later.
    pub(crate) retryable: bool,
    /// Facts for programs.
    pub(crate) details: Value,
    /// More about it for people, line by line; programs find it in the details.
    pub(crate) notes: Box<[String]>,
    /// What to do next.
    pub(crate) next: Vec<Next>,
    /// How the process ends.
    pub(crate) exit: Exit,
}

/// A way on: what for, and the exact command.
#[derive(Debug)]
pub(crate) struct Next {
    /// What it is for, in two or three words.
    pub(crate) purpose: String,
    /// The command.
    pub(crate) command: String,
}

impl CliError {
    /// A failure with a code of its own.
    pub(crate) fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retryable: false,
            details: json!({}),
            notes: Box::default(),
            next: Vec::new(),
            exit,
        }
    }

    /// Input that is refused.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Exit::Invalid, "INVALID", message)
    }

    /// A fault of the machine or of ours.
    pub(crate) fn internal(what: &str, cause: impl std::fmt::Display) -> Self {
        Self::new(Exit::Failed, "FAILED", format!("{what}: {cause}"))
    }

    /// The command line could not be understood.
    pub(crate) fn usage(error: &clap::Error) -> Self {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        Self::new(Exit::Invalid, "USAGE", first.strip_prefix("error: ").unwrap_or(first))
    }

    /// Adds facts for programs.
    pub(crate) fn details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// Says that asking again later may help.
    pub(crate) fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// Adds lines for people.
    pub(crate) fn notes(mut self, lines: Vec<String>) -> Self {
        self.notes = lines.into();
        self
    }

    /// Adds a way on.
    pub(crate) fn next(mut self, purpose: impl Into<String>, command: impl Into<String>) -> Self {
        self.next.push(Next { purpose: purpose.into(), command: command.into() });
        self
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> Self {
        let (exit, code) = Exit::of(&error);
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        let retryable = matches!(error, Error::Unavailable { .. } | Error::Held { .. });
        let failure = Self { retryable, ..Self::new(exit, code, message) };
        match error {
            Error::NotFound { noun, id } => {
                let failure = failure.details(json!({"noun": noun, "id": id}));
                match listing(noun) {
                    Some(command) => failure.next("what there is", command),
                    None => failure,
                }
            }
            Error::Invalid { field, given, allowed } => {
                failure.details(json!({"field": field, "given": given, "allowed": allowed}))
            }
            Error::Ambiguous { noun, prefix, candidates } => {
                failure.details(json!({"noun": noun, "prefix": prefix, "candidates": candidates}))
            }
            Error::Held { noun, id, holder } => failure.details(json!({"noun": noun, "id": id, "holder": holder})),
            Error::WrongState { noun, id, actual, expected } => {
                failure.details(json!({"noun": noun, "id": id, "actual": actual, "expected": expected}))
            }
            Error::Refused { policy, .. } => failure.details(json!({"policy": policy})),
            Error::Stale { noun, id, owner, current } => {
                failure.details(json!({"noun": noun, "id": id, "owner": owner, "current_token": current}))
            }
            Error::OutcomeUnknown { request, .. } | Error::TooOld { request } => {
                failure.details(json!({"request": request}))
            }
            Error::Corrupt { key, .. } => failure.details(json!({"record": key})),
            _ => failure,
        }
    }
}

/// The command that lists a noun.
fn listing(noun: Noun) -> Option<&'static str> {
    Some(match noun {
        Noun::Lock => "agentcoord locks",
        Noun::Agent => "agentcoord agents",
        Noun::Task => "agentcoord tasks",
        Noun::Thread => "agentcoord board",
        Noun::Approval => "agentcoord approvals",
        Noun::Audit => "agentcoord audit",
        Noun::Session => return None,
    })
}
