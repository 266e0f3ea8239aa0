//! Identifiers and numbers with a meaning of their own.
//!
//! Ids are made by the client (UUIDv4, written as 32 hex digits). A record's *key* is the shortest free hex
//! prefix of its id, at least [`SHORT_ID`] digits: that is what people type and what tables are keyed by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Length, in hex digits, of the shortest key a record may get.
pub const SHORT_ID: usize = 8;

/// A 128-bit random id in its canonical text form: 32 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Id(String);

impl Id {
    /// Makes a new random id (UUIDv4).
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    /// The id as 32 hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Id {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        uuid::Uuid::try_parse(s)
            .map(|u| Self(u.simple().to_string()))
            .map_err(|_| Error::invalid("id", s, "a UUID, as 32 hex digits with or without hyphens"))
    }
}

/// What a person may type for a record: its short id, a longer prefix of the id, or the whole id.
///
/// Hyphens are ignored and letters are folded to lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdPrefix(String);

impl IdPrefix {
    /// Checks and normalises what was typed; `field` names it in the error.
    pub fn parse(field: &'static str, typed: &str) -> Result<Self> {
        let digits: String = typed.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
        if digits.is_empty() || digits.len() > 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Error::invalid(field, typed, "a short id as the listings show it, or a longer form of it"));
        }
        Ok(Self(digits))
    }

    /// The typed digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&Id> for IdPrefix {
    fn from(id: &Id) -> Self {
        Self(id.0.clone())
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number! {
    /// The number of the host-wide decision which engine is active; part of every fencing token.
    Epoch
}
number! {
    /// The number of a request within its client; with the client it names a mutation for ever.
    RequestNo
}
number! {
    /// Commit sequence number: the position of an event in the log, contiguous from 1.
    Csn
}
number! {
    /// A fencing token: `epoch * 2^36 + sequence`, below 2^53, strictly increasing within a namespace.
    ///
    /// After Kleppmann, "How to do distributed locking" (2016): a resource that remembers the highest token
    /// it has seen can refuse a holder that was paused past its lease.
    Token
}

/// Bits of a token that hold the sequence; the epoch stands above them.
pub const TOKEN_SEQUENCE_BITS: u32 = 36;
/// Tokens stay below this, so that they are exact in Lua, JSON and JavaScript.
pub const TOKEN_LIMIT: u64 = 1 << 53;

impl Token {
    /// Puts a token together; `None` when the epoch or the sequence has outgrown its bits (refused, never wrapped).
    #[must_use]
    pub fn compose(epoch: Epoch, sequence: u64) -> Option<Self> {
        let fits = sequence < 1 << TOKEN_SEQUENCE_BITS && epoch.0 < TOKEN_LIMIT >> TOKEN_SEQUENCE_BITS;
        fits.then_some(Self((epoch.0 << TOKEN_SEQUENCE_BITS) | sequence))
    }

    /// The epoch in which the token was given out.
    #[must_use]
    pub fn epoch(self) -> Epoch {
        Epoch(self.0 >> TOKEN_SEQUENCE_BITS)
    }
}

/// The ticket of a waiting request: the client and the request number of the call that queued.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticket(String);

impl Ticket {
    /// The ticket that `(client, request)` has or would have.
    #[must_use]
    pub fn of(client: &Id, request: RequestNo) -> Self {
        Self(format!("{client}-{request}"))
    }

    /// The ticket as text, `<client>-<request>`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The client that waits, as 32 hex digits.
    #[must_use]
    pub fn client(&self) -> &str {
        self.0.split('-').next().unwrap_or_default()
    }
}

impl From<String> for Ticket {
    fn from(s: String) -> Self {
        Self(s)
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_keeps_epoch_above_sequence() {
        let low = Token::compose(Epoch(7), (1 << 36) - 1).expect("fits");
        let high = Token::compose(Epoch(8), 0).expect("fits");
        assert!(low < high);
        assert_eq!(high.epoch(), Epoch(8));
    }

    #[test]
    fn token_that_does_not_fit_is_refused_not_wrapped() {
        assert_eq!(Token::compose(Epoch(1 << 17), 0), None);
        assert_eq!(Token::compose(Epoch(1), 1 << 36), None);
    }

    #[test]
    fn id_accepts_hyphens_and_prints_without() {
        let id: Id = "3F9A1C22-0000-4000-8000-000000000001".parse().expect("a uuid");
        assert_eq!(id.as_str(), "3f9a1c22000040008000000000000001");
    }

    #[test]
    fn prefix_refuses_what_is_not_hex() {
        assert!(IdPrefix::parse("id", "xyz").is_err());
        assert!(IdPrefix::parse("id", "").is_err());
        assert_eq!(IdPrefix::parse("id", "3F9A").expect("hex").as_str(), "3f9a");
    }
}
