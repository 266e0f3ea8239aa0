//! The JSON forms: the envelope on stdout and the error line on stderr. Fields are only ever added.

use serde::Serialize;
use serde_json::{Value, json};

use super::time::Stamp;
use crate::error::CliError;

/// Version of the envelope.
const VERSION: u8 = 1;

/// What the envelope says about the engine and the time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Meta {
    /// The engine that answered; none when the command needed none.
    pub(crate) backend: Option<&'static str>,
    /// True when Redis was asked for and files serve.
    pub(crate) degraded: Option<bool>,
    /// The namespace.
    pub(crate) namespace: Option<String>,
    /// When it was answered.
    pub(crate) now: Stamp,
}

impl Meta {
    /// Facts of a command that opened no engine.
    pub(crate) fn now() -> Self {
        Self { backend: None, degraded: None, namespace: None, now: Stamp::now() }
    }
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    v: u8,
    ok: bool,
    data: &'a T,
    meta: &'a Meta,
}

/// The envelope around an answer.
///
/// # Errors
/// When the answer cannot be written as JSON.
pub(crate) fn envelope<T: Serialize>(data: &T, meta: &Meta) -> serde_json::Result<String> {
    serde_json::to_string(&Envelope { v: VERSION, ok: true, data, meta })
}

/// One line for each item of a list.
///
/// # Errors
/// When an item cannot be written as JSON.
pub(crate) fn lines<T: Serialize>(items: &[T]) -> serde_json::Result<Vec<String>> {
    items.iter().map(serde_json::to_string).collect()
}

#[derive(Serialize)]
struct ErrorLine<'a> {
    v: u8,
    ok: bool,
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'a str,
    message: &'a str,
    retryable: bool,
    details: &'a Value,
    next: Vec<&'a str>,
}

/// The error as one line.
pub(crate) fn error(error: &CliError) -> String {
    let next = error.next.iter().map(|n| n.command.as_str()).collect();
    let CliError { code, message, retryable, details, .. } = error;
    let body = ErrorBody { code, message, retryable: *retryable, details, next };
    let line = serde_json::to_string(&ErrorLine { v: VERSION, ok: false, error: body });
    line.unwrap_or_else(|_| json!({"v": VERSION, "ok": false}).to_string()) + "\n"
}
