//! Text as people read it: foreign text is shown escaped, so that nothing stored can drive a terminal.

use agentcoord::core::hidden::is_hidden;

use crate::error::CliError;

/// One line of foreign text.
pub(crate) fn line(text: &str) -> String {
    escape(text, false)
}

/// Foreign text that may have several lines.
pub(crate) fn block(text: &str) -> String {
    escape(text, true)
}

/// Whether text is a unified diff, as `git diff` and `diff -u` write it.
pub(crate) fn is_diff(text: &str) -> bool {
    let has = |head: &str| text.lines().any(|line| line.starts_with(head));
    has("diff --git ") || (has("--- ") && has("+++ ") && has("@@ "))
}

fn escape(text: &str, lines: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' if lines => out.push(c),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_hidden(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// A word as a shell reads it back.
pub(crate) fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./@:=,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// An error with its ways on, for people.
pub(crate) fn error(error: &CliError) -> String {
    let mut out = format!("error: {}\n", line(&error.message));
    for note in &error.notes {
        out.push_str(&format!("  {}\n", line(note)));
    }
    let width = error.next.iter().map(|n| n.purpose.chars().count()).max().unwrap_or(0);
    for next in &error.next {
        out.push_str(&format!("  {:width$}   {}\n", line(&next.purpose), line(&next.command)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_and_hidden_characters_are_shown() {
        assert_eq!(line("a\u{1b}[31mred\nb\u{202e}c"), r"a\u{1b}[31mred\nb\u{202e}c");
        assert_eq!(block("a\nb\u{7}"), "a\nb\\u{7}");
    }

    #[test]
    fn word_survives_the_shell() {
        assert_eq!(shell("src/a.rs"), "src/a.rs");
        assert_eq!(shell("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(shell(""), "''");
    }
}
