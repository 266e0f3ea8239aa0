//! Checks of user input that several requests share. Each error names the field, what was given and what is allowed.

use crate::error::{Error, Result};
use crate::hidden::is_hidden;
use crate::limits;

/// A short word: a name, role, tag, capability or type. Not empty, no hidden characters, no surrounding blanks.
pub(crate) fn name(field: &'static str, text: &str) -> Result<()> {
    if text.is_empty() || text.len() > limits::NAME_BYTES || text.trim() != text || text.chars().any(char::is_control) {
        let allowed = format!("1 to {} bytes, no control characters, no blanks around it", limits::NAME_BYTES);
        return Err(Error::invalid(field, text, allowed));
    }
    if text.chars().any(is_hidden) {
        let shown: String = text.chars().flat_map(char::escape_unicode).collect();
        return Err(Error::invalid(field, shown, "characters that can be seen"));
    }
    Ok(())
}

/// The name of a person, without the kind before it: `human:eve` would be another spelling of `eve`.
pub(crate) fn person(field: &'static str, text: &str) -> Result<()> {
    name(field, text)?;
    match text.split_once(':') {
        Some((kind, _)) if ["human", "agent"].iter().any(|known| kind.trim().eq_ignore_ascii_case(known)) => {
            Err(Error::invalid(field, text, "a person's name alone, without `human:` before it"))
        }
        _ => Ok(()),
    }
}

/// A list of short words of at most `most`.
pub(crate) fn names(field: &'static str, list: &[String], most: usize) -> Result<()> {
    if list.len() > most {
        return Err(Error::invalid(field, format!("{} of them", list.len()), format!("at most {most}")));
    }
    list.iter().try_for_each(|text| name(field, text))
}

/// One line of text that must not be empty.
pub(crate) fn line(field: &'static str, text: &str, most: usize) -> Result<()> {
    if text.trim().is_empty() {
        return Err(Error::invalid(field, text, "some text"));
    }
    note(field, text, most)
}

/// Text that may be empty and may have several lines.
pub(crate) fn note(field: &'static str, text: &str, most: usize) -> Result<()> {
    if text.len() > most {
        return Err(Error::invalid(field, format!("{} bytes", text.len()), format!("at most {most} bytes")));
    }
    if text.contains('\0') {
        return Err(Error::invalid(field, text, "text without NUL"));
    }
    Ok(())
}

/// Optional text.
pub(crate) fn note_opt(field: &'static str, text: Option<&str>, most: usize) -> Result<()> {
    text.map_or(Ok(()), |t| note(field, t, most))
}

/// A blob's size.
pub(crate) fn blob(field: &'static str, bytes: Option<&[u8]>) -> Result<()> {
    match bytes {
        Some(b) if b.len() > limits::BLOB_BYTES => {
            Err(Error::invalid(field, format!("{} bytes", b.len()), format!("at most {} bytes", limits::BLOB_BYTES)))
        }
        _ => Ok(()),
    }
}

/// A duration in milliseconds that must not be zero and not be absurd.
pub(crate) fn duration(field: &'static str, ms: Option<u64>) -> Result<()> {
    match ms {
        Some(ms) if ms == 0 || ms > limits::DURATION => {
            Err(Error::invalid(field, format!("{ms} ms"), "more than zero and at most ten years"))
        }
        _ => Ok(()),
    }
}

/// A number within a range.
pub(crate) fn range(field: &'static str, value: u64, low: u64, high: u64) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid(field, value.to_string(), format!("{low} to {high}")))
}
