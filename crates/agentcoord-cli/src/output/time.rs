//! Times: relative for people, RFC 3339 in UTC for programs.

use std::time::{SystemTime, UNIX_EPOCH};

use ::time::OffsetDateTime;
use serde::{Serialize, Serializer};

use crate::duration;

/// A point in wall time, in milliseconds since 1970; in JSON it is RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(pub(crate) u64);

impl Stamp {
    /// Now, by this machine's clock.
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(duration::millis(since))
    }

    /// RFC 3339 in UTC, with milliseconds.
    pub(crate) fn rfc3339(self) -> String {
        let seconds = i64::try_from(self.0 / 1_000).unwrap_or(i64::MAX);
        let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
        let (hour, minute, second) = (at.hour(), at.minute(), at.second());
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", self.0 % 1_000)
    }

    /// `in 42m`, or `now`; rounded up, so that an hour from now is `in 1h`.
    pub(crate) fn ahead(self) -> String {
        match self.0.saturating_sub(Self::now().0) {
            0 => "now".to_owned(),
            ms if ms <= 60_000 => format!("in {}", duration::short(ms.next_multiple_of(1_000))),
            ms => format!("in {}", duration::short(ms.next_multiple_of(60_000))),
        }
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rfc3339())
    }
}

/// `4m ago`, or `just now`.
pub(crate) fn ago(at: Stamp) -> String {
    match Stamp::now().0.saturating_sub(at.0) {
        ms if ms < 10_000 => "just now".to_owned(),
        ms => format!("{} ago", duration::short(ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamp_is_rfc3339_in_utc() {
        assert_eq!(Stamp(1_767_323_045_006).rfc3339(), "2026-01-02T03:04:05.006Z");
        assert_eq!(Stamp(0).rfc3339(), "1970-01-01T00:00:00.000Z");
    }
}
