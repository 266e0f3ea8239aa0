//! An anchor: a head of the audit log as a line of text, for a place that whoever can write to the engine cannot change.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use agentcoord_core::audit::chain::Head;
use agentcoord_core::{Error, Result};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Connection, seal};

/// How a line begins.
pub const MARK: &str = "agentcoord-audit";

/// A head of one namespace's audit log. Written as `agentcoord-audit <namespace> <seq> <hash> <time>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The namespace.
    pub namespace: String,
    /// The head.
    pub head: Head,
    /// When the anchor was made, RFC 3339 in UTC; for people.
    pub time: String,
}

/// Seals everything and makes an anchor of it.
///
/// # Errors
/// As [`seal`](super::seal()).
pub async fn anchor(connection: &Connection) -> Result<Anchor> {
    seal::seal(connection, u64::MAX).await?;
    let head = seal::head(connection).await?;
    let time = OffsetDateTime::from(SystemTime::now()).format(&Rfc3339).unwrap_or_default();
    Ok(Anchor { namespace: connection.namespace().to_owned(), head, time })
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK} {} {} {}", self.namespace, self.head, self.time)
    }
}

impl FromStr for Anchor {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let anchor = match words[..] {
            [MARK, namespace, seq, hash, time] => format!("{seq} {hash}").parse().ok().map(|head| Self {
                namespace: namespace.to_owned(),
                head,
                time: time.to_owned(),
            }),
            _ => None,
        };
        let allowed = || format!("`{MARK} NAMESPACE SEQ HASH TIME`");
        anchor.ok_or_else(|| Error::invalid("anchor", line, allowed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchor_is_read_back_as_it_was_written() {
        let head = Head::START.then(1, "x");
        let anchor = Anchor { namespace: "shop".into(), head, time: "2026-01-31T12:00:00Z".into() };
        assert_eq!(anchor.to_string().parse::<Anchor>().expect("an anchor"), anchor);
        for bad in ["", "agentcoord-audit shop 1", "something else entirely of five", "agentcoord-audit shop 1 00 now"]
        {
            assert!(matches!(bad.parse::<Anchor>(), Err(Error::Invalid { field: "anchor", .. })), "{bad:?}");
        }
    }
}
