//! The hash chain over the audit log, which anybody can compute from an export of it.
//!
//! The hash of entry `n` is the SHA-256 of these bytes: the hash of entry `n - 1` in 64 lower-case hex digits, a space,
//! `n` in decimal, a space, the time of the entry in decimal milliseconds, a line feed, and the entry as it was appended.
//! Before the first entry the hash is 64 zeros. So a hash stands for its entry, its place and time, and all before it.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::time::WallMs;

/// Bytes of a hash.
const BYTES: usize = 32;
/// Hex digits of a hash.
pub const HASH_DIGITS: usize = 2 * BYTES;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Whether a byte is a lower-case hex digit.
pub(super) fn is_digit(byte: u8) -> bool {
    value(byte).is_some()
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// The hash of an entry and all before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; BYTES]);

impl Hash {
    /// The hash before the first entry.
    pub const ZERO: Self = Self([0; BYTES]);

    /// The hash of the entry that follows.
    #[must_use]
    pub fn then(&self, seq: u64, at: WallMs, entry: &str) -> Self {
        let mut sha = Sha256::new();
        sha.update(self.digits());
        sha.update(format!(" {seq} {at}\n"));
        sha.update(entry);
        Self(sha.finalize().into())
    }

    fn digits(&self) -> [u8; HASH_DIGITS] {
        let mut digits = [0; HASH_DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        digits
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digits().iter().try_for_each(|digit| write!(f, "{}", char::from(*digit)))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = || {
            let mut hash = [0; BYTES];
            for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                *byte = (value(pair[0])? << 4) | value(pair[1])?;
            }
            (text.len() == HASH_DIGITS).then_some(Self(hash))
        };
        read().ok_or_else(|| Error::invalid("hash", text, "64 lower-case hex digits"))
    }
}

/// A position in the chain: how many entries, and the hash of the last of them. Written as `<seq> <hash>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The entry; 0 before the first one.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Head {
    /// Before the first entry.
    pub const START: Self = Self { seq: 0, hash: Hash::ZERO };

    /// The position after one entry more.
    #[must_use]
    pub fn then(&self, at: WallMs, entry: &str) -> Self {
        let seq = self.seq + 1;
        Self { seq, hash: self.hash.then(seq, at, entry) }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.seq, self.hash)
    }
}

impl FromStr for Head {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once(' ').and_then(|(seq, hash)| {
            let (seq, hash) = (seq.parse().ok()?, hash.parse().ok()?);
            Some(Self { seq, hash })
        });
        parsed.ok_or_else(|| Error::invalid("head", text, "a number, a space and 64 lower-case hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_that_of_the_bytes_that_the_rule_names() {
        let first = Head::START.then(1_700_000_000_000, "{\"a\":1}");
        let text = format!("{} 1 1700000000000\n{{\"a\":1}}", "0".repeat(64));
        assert_eq!(first.hash.to_string(), crate::op::sha256(text.as_bytes()));
        let second = first.then(5, "é");
        assert_eq!(second.hash.to_string(), crate::op::sha256(format!("{} 2 5\né", first.hash).as_bytes()));
    }

    #[test]
    fn head_is_read_back_as_it_was_written() {
        let head = Head::START.then(7, "x");
        assert_eq!(head.to_string().parse::<Head>().expect("a head"), head);
        let almost = head.to_string();
        for bad in ["", "1", "1 00", "x 00", &format!("1 {}", "+1".repeat(32)), &almost[..almost.len() - 1]] {
            assert!(bad.parse::<Head>().is_err(), "{bad:?}");
        }
    }
}
