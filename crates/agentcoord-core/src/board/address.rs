//! Whom a message is for: as typed, as stored, and as mentioned in a text.
//!
//! An address is `agent:ada`, `role:reviewer` or `human:eve`. A bare `ada` is the agent of that name, else everybody
//! who has that role now; the step that posts finds out which.

use crate::check;
use crate::error::{Error, Result};
use crate::limits;

/// An address without the `@` that people type before it.
#[must_use]
pub fn plain(typed: &str) -> String {
    let typed = typed.trim();
    typed.strip_prefix('@').unwrap_or(typed).to_owned()
}

/// The kind and the name of an address; a bare name has no kind.
#[must_use]
pub fn split(address: &str) -> (Option<&str>, &str) {
    match address.split_once(':') {
        Some((kind @ ("agent" | "role" | "human"), name)) => (Some(kind), name),
        _ => (None, address),
    }
}

/// The names that a text mentions, as in `@ada: look at this`. Whether anybody goes by them is not known here.
///
/// A mention stands at the beginning of a word; `a@b.org`, `@scope/package` and `@git/index` are none.
#[must_use]
pub fn mentions(text: &str) -> Vec<String> {
    let in_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut found: Vec<String> = Vec::new();
    let mut previous = ' ';
    for (at, c) in text.char_indices() {
        let begins = c == '@' && !in_word(previous) && !matches!(previous, '@' | '/');
        previous = c;
        if !begins {
            continue;
        }
        let rest = &text[at + 1..];
        let end = rest.find(|c: char| !in_word(c)).unwrap_or(rest.len());
        let name = rest[..end].trim_end_matches('.');
        let is_path = rest[end..].starts_with(['/', '@']);
        if name.is_empty() || is_path || name.len() > limits::NAME_BYTES || found.iter().any(|f| f == name) {
            continue;
        }
        found.push(name.to_owned());
        if found.len() == limits::ADDRESSEES {
            break;
        }
    }
    found
}

/// Refuses what cannot be an address.
pub(super) fn validate(list: &[String]) -> Result<()> {
    if list.len() > limits::ADDRESSEES {
        let allowed = format!("at most {}", limits::ADDRESSEES);
        return Err(Error::invalid("to", format!("{} of them", list.len()), allowed));
    }
    list.iter().try_for_each(|address| check::name("to", split(address).1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_are_words_that_begin_with_an_at_sign() {
        assert_eq!(mentions("@ada: look, @bob-2. (@c_3)"), ["ada", "bob-2", "c_3"]);
        assert_eq!(mentions("@ada and @ada again"), ["ada"]);
        assert!(mentions("mail a@b.org, @types/node, @git/index, @@, @ 1, x/@y").is_empty());
        assert_eq!(mentions("@ä"), ["ä"]);
    }

    #[test]
    fn address_has_a_kind_or_is_a_bare_name() {
        assert_eq!(split("agent:a:b"), (Some("agent"), "a:b"));
        assert_eq!(split("a:b"), (None, "a:b"));
        assert_eq!(plain(" @ada "), "ada");
    }
}
