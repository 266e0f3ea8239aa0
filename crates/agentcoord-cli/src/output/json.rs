//! The JSON forms: the envelope on stdout and the error line on stderr. Fields are only ever added.

use agentcoord::core::hidden::is_hidden;
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

/// JSON text in which hidden characters are written as escapes: the same values, and nothing that drives a terminal.
///
/// In JSON such characters stand inside of strings only.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
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
    visible(&line.unwrap_or_else(|_| json!({"v": VERSION, "ok": false}).to_string())) + "\n"
}
