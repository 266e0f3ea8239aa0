//! Characters that are not what they look like: text that carries them can pass for other text, or drive a terminal.

/// Whether a character is a control character, or one that is not seen itself but changes how others are seen.
///
/// Among them are the directional overrides, everything of no width, fillers that look like blanks, line separators
/// that are no line feeds, and the tag characters. The selectors between text and emoji form are not: they decide about
/// one visible character.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0d}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_is_not_hidden() {
        for text in
            ["src/main.rs", "Jürgen", "日本語", "⚠\u{fe0f}", "naïve (λ → 0) — “ok”", "한국어", "עברית", "\u{a0}"]
        {
            assert!(!text.chars().any(is_hidden), "{text}");
        }
        for c in ['\n', '\u{1b}', '\u{9b}', '\u{ad}', '\u{200b}', '\u{202e}', '\u{2066}', '\u{2028}', '\u{e0041}'] {
            assert!(is_hidden(c), "{}", c.escape_unicode());
        }
    }
}
