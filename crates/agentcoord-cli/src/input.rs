//! Long texts that a command line names instead of carrying: `-` is stdin, `@FILE` is a file.

use std::fs::File;
use std::io::Read;

use agentcoord::core::limits;
use serde_json::Value;

use crate::context::Context;
use crate::error::CliError;

/// What was typed, or stdin when that is `-`.
///
/// # Errors
/// `INVALID` for text that is too long or not UTF-8.
pub(crate) fn text(field: &str, typed: String) -> Result<String, CliError> {
    if typed == "-" { read(field, "stdin", std::io::stdin().lock()) } else { Ok(typed) }
}

/// What was typed, `@FILE`, or stdin when that is `-`.
///
/// # Errors
/// As [`text`], and for files that cannot be read.
pub(crate) fn text_or_file(context: &Context, field: &str, typed: String) -> Result<String, CliError> {
    let Some(name) = typed.strip_prefix('@') else { return text(field, typed) };
    let file = File::open(context.settings().cwd.join(name))
        .map_err(|e| CliError::invalid(format!("{field}: {name} cannot be read: {e}")))?;
    read(field, name, file)
}

/// JSON text, from wherever [`text_or_file`] finds it.
///
/// # Errors
/// As [`text_or_file`], and for what is no JSON.
pub(crate) fn json(context: &Context, field: &str, typed: String) -> Result<String, CliError> {
    let text = text_or_file(context, field, typed)?;
    match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(cause) => Err(CliError::invalid(format!("{field} is no JSON: {cause}"))
            .next("text as JSON", "\"in quotes of its own\"")
            .next("from a file or stdin", "@FILE or -")),
    }
}

/// Stored JSON text as a value; what is no JSON after all is shown as text.
pub(crate) fn value(stored: String) -> Value {
    serde_json::from_str(&stored).unwrap_or(Value::String(stored))
}

fn read(field: &str, name: &str, source: impl Read) -> Result<String, CliError> {
    let mut bytes = Vec::new();
    // One byte more than is allowed tells too much from just enough, however much there is.
    let most = limits::BLOB_BYTES as u64 + 1;
    source
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|e| CliError::invalid(format!("{field}: {name} cannot be read: {e}")))?;
    if bytes.len() > limits::BLOB_BYTES {
        return Err(CliError::invalid(format!("{field}: {name} has more than {} bytes", limits::BLOB_BYTES)));
    }
    String::from_utf8(bytes).map_err(|_| CliError::invalid(format!("{field}: {name} is not UTF-8")))
}
