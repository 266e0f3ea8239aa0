//! Points in time as people type them: a time, or a duration before or after now.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::duration;
use crate::output::Stamp;

/// A time, or so long ago; for clap, which names the flag in the error.
///
/// # Errors
/// A sentence for people.
pub(crate) fn past(text: &str) -> Result<Stamp, String> {
    parse(text, |now, duration| now.saturating_sub(duration))
}

/// A time, or so long from now; for clap, which names the flag in the error.
///
/// # Errors
/// A sentence for people.
pub(crate) fn future(text: &str) -> Result<Stamp, String> {
    parse(text, |now, duration| now.saturating_add(duration))
}

/// A time that does not depend on when it is read.
///
/// # Errors
/// A sentence for people.
pub(crate) fn exact(text: &str) -> Result<Stamp, String> {
    absolute(text).unwrap_or_else(|| Err("expected a time such as 2026-01-31T12:00:00Z".to_owned()))
}

/// The time of a text that is one.
fn absolute(text: &str) -> Option<Result<Stamp, String>> {
    let at = OffsetDateTime::parse(text.trim(), &Rfc3339).ok()?;
    let millis = u64::try_from(at.unix_timestamp_nanos() / 1_000_000);
    Some(millis.map(Stamp).map_err(|_| "a time after 1970".to_owned()))
}

fn parse(text: &str, from_now: impl Fn(u64, u64) -> u64) -> Result<Stamp, String> {
    if let Some(stamp) = absolute(text) {
        return stamp;
    }
    let duration = duration::parse(text).map_err(|e| format!("{e}, or a time such as 2026-01-31T12:00:00Z"))?;
    Ok(Stamp(from_now(Stamp::now().0, duration::millis(duration))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_are_read() {
        assert_eq!(past("2026-01-02T03:04:05.006Z"), Ok(Stamp(1_767_323_045_006)));
        assert_eq!(future("2026-01-02T04:04:05.006+01:00"), Ok(Stamp(1_767_323_045_006)));
        let now = Stamp::now();
        assert!(future("1h").unwrap_or(now).0 >= now.0 + 3_600_000);
        assert!(past("1h").unwrap_or(now).0 < now.0);
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in ["", "tomorrow", "2026-01-31", "1960-01-01T00:00:00Z", "-5m"] {
            assert!(future(text).is_err(), "{text}");
        }
        assert!(exact("1h").is_err(), "whoever reads it again would read another time");
    }
}
