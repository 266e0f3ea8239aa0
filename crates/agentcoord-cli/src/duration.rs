//! Durations as people type them (`30s`, `5m`, `2h`; a bare number is seconds) and as tables show them.

use std::time::Duration;

/// Reads a duration; for clap, which names the flag in the error.
///
/// # Errors
/// A sentence for people: negative, unknown unit, too large.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text.starts_with('-') {
        return Err("a duration cannot be negative".to_owned());
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let form = || "expected a duration such as 30s, 5m, 2h, or a number of seconds".to_owned();
    let number: u64 = number.parse().map_err(|_| form())?;
    let factor = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(form()),
    };
    let millis = number.checked_mul(factor).filter(|ms| *ms <= agentcoord::core::limits::DURATION);
    millis.map(Duration::from_millis).ok_or_else(|| "more than ten years".to_owned())
}

/// As [`parse`], for durations that must not be zero.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_positive(text: &str) -> Result<Duration, String> {
    parse(text).and_then(|d| if d.is_zero() { Err("it must be more than zero".to_owned()) } else { Ok(d) })
}

/// Milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A duration in its largest unit that fits: `42s`, `5m`, `3h`, `12d`.
pub(crate) fn short(millis: u64) -> String {
    match millis / 1_000 {
        s if s < 60 => format!("{s}s"),
        s if s < 3_600 => format!("{}m", s / 60),
        s if s < 86_400 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_bare_seconds_are_read() {
        for (text, ms) in [("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("7", 7_000), ("250ms", 250), ("0", 0)]
        {
            assert_eq!(parse(text).map(millis), Ok(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "-5", "-5s", "5 minutes", "s", "1.5h", "99999999999999999999", "5000d"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse_positive("0").is_err());
    }
}
