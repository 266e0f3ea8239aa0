//! Files of OpenSSH that say whose keys are whose: allowed signers, and revoked keys.
//!
//! A line that cannot be read makes the whole file unusable: half a list of approvers is no list.

use std::path::Path;

use agentcoord_core::Error;
use agentcoord_core::time::WallMs;
use ssh_key::PublicKey;
use ssh_key::public::KeyData;
use time::{Date, Month, PrimitiveDateTime, Time};

use super::SIGNATURE_NAMESPACE;
use super::signature::{self, Doubt, fingerprint};

/// The people who may approve, by their keys.
#[derive(Clone, Debug, Default)]
pub struct Roll {
    signers: Vec<Signer>,
    revoked: Vec<KeyData>,
}

/// A line of an allowed signers file.
#[derive(Clone, Debug)]
struct Signer {
    names: Patterns,
    namespaces: Option<Patterns>,
    valid_after: Option<WallMs>,
    valid_before: Option<WallMs>,
    key: KeyData,
}

/// What is wrong in a file, and in which line.
#[derive(Debug)]
pub(super) struct Wrong {
    line: usize,
    given: String,
    allowed: String,
}

impl Wrong {
    pub(super) fn in_file(self, field: &'static str, path: &Path) -> Error {
        let allowed = format!("in line {} of {}: {}", self.line, path.display(), self.allowed);
        Error::invalid(field, self.given, allowed)
    }
}

impl Roll {
    /// Reads an allowed signers file.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Wrong> {
        let mut roll = Self::default();
        for (line, text) in lines(bytes)? {
            let wrong = |allowed: String| Wrong { line, given: text.to_owned(), allowed };
            roll.signers.extend(signer(text).map_err(wrong)?);
        }
        Ok(roll)
    }

    /// Adds a file of revoked keys.
    pub(super) fn revoke(&mut self, bytes: &[u8]) -> Result<(), Wrong> {
        if bytes.starts_with(b"SSHKRL") {
            let allowed = "public keys, one a line; binary revocation lists are not supported".to_owned();
            return Err(Wrong { line: 1, given: "SSHKRL".to_owned(), allowed });
        }
        for (line, text) in lines(bytes)? {
            let key = key(text).map_err(|allowed| Wrong { line, given: text.to_owned(), allowed })?;
            self.revoked.push(key);
        }
        Ok(())
    }

    /// Whether a signature on a text is one that a person of this name may give at this time. Returns the fingerprint of
    /// the key.
    pub(super) fn check(&self, name: &str, text: &str, armored: &str, now: WallMs) -> Result<String, Doubt> {
        let signed = signature::read(armored)?;
        let print = fingerprint(signed.public_key());
        if self.revoked.contains(signed.public_key()) {
            return Err(Doubt::KeyRevoked(print));
        }
        signature::check(&signed, text)?;
        let mut doubt = Doubt::UnknownKey(print.clone());
        for signer in self.signers.iter().filter(|s| s.key == *signed.public_key()) {
            doubt = match signer.admits(name, now) {
                Ok(()) => return Ok(print),
                Err(reason) => reason,
            };
        }
        Err(doubt)
    }

    /// Whether a key, by its fingerprint, is listed under a name, at whatever time and for whatever use.
    pub(super) fn is_key_of(&self, print: &str, name: &str) -> bool {
        self.signers.iter().any(|s| s.names.fit(name) && fingerprint(&s.key) == print)
    }

    /// The name under which a public key may vote at this time: the first of `wanted` that it is listed under, else the
    /// only name that its lines spell out.
    ///
    /// `line` is the key as `.pub` files and `ssh-add -L` have it.
    #[must_use]
    pub fn voter(&self, line: &str, wanted: &[&str], now: WallMs) -> Option<String> {
        let key = key(line).ok()?;
        if self.revoked.contains(&key) {
            return None;
        }
        let lines = || self.signers.iter().filter(|s| s.key == key);
        if let Some(name) = wanted.iter().find(|name| lines().any(|s| s.admits(name, now).is_ok())) {
            return Some((*name).to_owned());
        }
        let mut spelled: Vec<&str> = lines().filter_map(|s| s.names.single()).collect();
        spelled.retain(|name| lines().any(|s| s.admits(name, now).is_ok()));
        spelled.dedup();
        match spelled.as_slice() {
            [name] => Some((*name).to_owned()),
            _ => None,
        }
    }
}

impl Signer {
    fn admits(&self, name: &str, now: WallMs) -> Result<(), Doubt> {
        let print = || fingerprint(&self.key);
        if !self.names.fit(name) {
            return Err(Doubt::NotTheirKey(print()));
        }
        if !self.namespaces.as_ref().is_none_or(|n| n.fit(SIGNATURE_NAMESPACE)) {
            return Err(Doubt::OtherUse(print()));
        }
        if self.valid_after.is_some_and(|from| now < from) || self.valid_before.is_some_and(|until| now > until) {
            return Err(Doubt::KeyNotValidNow(print()));
        }
        Ok(())
    }
}

/// Lines that say something, with their numbers.
fn lines(bytes: &[u8]) -> Result<Vec<(usize, &str)>, Wrong> {
    let text = std::str::from_utf8(bytes).map_err(|_| Wrong {
        line: 1,
        given: "bytes".to_owned(),
        allowed: "text in UTF-8".to_owned(),
    })?;
    let numbered = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    Ok(numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).collect())
}

/// Splits off the first word; blanks inside double quotes do not end it.
fn word(text: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let end = text.find(|c: char| {
        quoted ^= c == '"';
        !quoted && c.is_ascii_whitespace()
    });
    let end = end.unwrap_or(text.len());
    (end > 0 && !quoted).then(|| (&text[..end], text[end..].trim_start()))
}

/// `kind base64 comment`.
fn key(text: &str) -> Result<KeyData, String> {
    let mut words = text.split_ascii_whitespace();
    let (kind, base64) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let key = PublicKey::from_openssh(&format!("{kind} {base64}"));
    key.map(|key| key.key_data().clone()).map_err(|e| format!("a public key as in a .pub file ({e})"))
}

/// `names [options] key`. None for the line of a certificate authority: certificates are not supported, and the
/// authority's key itself signs no votes.
fn signer(line: &str) -> Result<Option<Signer>, String> {
    let shape = || "names, options and a public key, as ssh-keygen(1) describes allowed signers".to_owned();
    let (names, rest) = word(line).ok_or_else(shape)?;
    let names = Patterns::new(names.trim_matches('"'));
    let (options, rest) = match key(rest) {
        Ok(_) => ("", rest),
        Err(_) => word(rest).ok_or_else(shape)?,
    };
    let mut signer = Signer { names, namespaces: None, valid_after: None, valid_before: None, key: key(rest)? };
    for option in split(options) {
        let (name, value) = option.split_once('=').map_or((option, None), |(n, v)| (n, Some(v.trim_matches('"'))));
        match (name.to_ascii_lowercase().as_str(), value) {
            ("cert-authority", None) => return Ok(None),
            ("namespaces", Some(list)) => signer.namespaces = Some(Patterns::new(list)),
            ("valid-after", Some(at)) => signer.valid_after = Some(moment(at)?),
            ("valid-before", Some(at)) => signer.valid_before = Some(moment(at)?),
            _ => return Err("namespaces, valid-after, valid-before and cert-authority as options".to_owned()),
        }
    }
    Ok(Some(signer))
}

/// Options are separated by commas; those inside double quotes do not count.
fn split(options: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let parts = options.split(move |c: char| {
        quoted ^= c == '"';
        !quoted && c == ','
    });
    parts.filter(|part| !part.is_empty())
}

/// `YYYYMMDD[HHMM[SS]]Z`, in milliseconds. Without the Z it would be local time, which is another on another machine.
fn moment(text: &str) -> Result<WallMs, String> {
    let wrong = || "a time as YYYYMMDDZ, YYYYMMDDHHMMZ or YYYYMMDDHHMMSSZ, in UTC and with the Z".to_owned();
    let digits = text.strip_suffix(['Z', 'z']).ok_or_else(wrong)?;
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let number = |from: usize, to: usize| digits.get(from..to).and_then(|d| d.parse::<u16>().ok()).unwrap_or(0);
    let small = |from| u8::try_from(number(from, from + 2)).unwrap_or(u8::MAX);
    let date = Month::try_from(small(4))
        .and_then(|month| Date::from_calendar_date(i32::from(number(0, 4)), month, small(6)))
        .map_err(|_| wrong())?;
    let time = Time::from_hms(small(8), small(10), small(12)).map_err(|_| wrong())?;
    let seconds = PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp();
    u64::try_from(seconds).map(|s| s * 1_000).map_err(|_| wrong())
}

/// Names separated by commas, with `*`, `?` and, for what is not meant, `!`.
#[derive(Clone, Debug)]
struct Patterns(Vec<String>);

impl Patterns {
    fn new(list: &str) -> Self {
        Self(list.split(',').map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned).collect())
    }

    fn fit(&self, text: &str) -> bool {
        let (denied, named): (Vec<_>, Vec<_>) = self.0.iter().partition(|p| p.starts_with('!'));
        named.iter().any(|p| fits(p, text)) && !denied.iter().any(|p| fits(&p[1..], text))
    }

    /// The name, when it is only one and spelled out.
    fn single(&self) -> Option<&str> {
        match self.0.as_slice() {
            [name] if !name.contains(['*', '?', '!']) => Some(name),
            _ => None,
        }
    }
}

fn fits(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    loop {
        match pattern.next() {
            None => return text.next().is_none(),
            Some('*') => {
                let rest = pattern.as_str();
                return std::iter::once(text.as_str())
                    .chain(text.as_str().char_indices().map(|(at, c)| &text.as_str()[at + c.len_utf8()..]))
                    .any(|tail| fits(rest, tail));
            }
            Some(wanted) => match text.next() {
                Some(c) if wanted == '?' || wanted == c => {}
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_openssh() {
        let fit = |list: &str, text: &str| Patterns::new(list).fit(text);
        assert!(fit("ada", "ada") && fit("eve,ada", "ada") && fit("*@example.com", "ada@example.com"));
        assert!(fit("a?a", "ada") && fit("*", "") && fit("a*a*", "abracadabra"));
        assert!(!fit("ada", "Ada") && !fit("ad", "ada") && !fit("a?", "ada") && !fit("", "ada"));
        assert!(!fit("*,!eve", "eve") && fit("*,!eve", "ada") && !fit("!eve", "ada"), "a denial alone names nobody");
    }

    #[test]
    fn times_are_utc_and_say_so() {
        assert_eq!(moment("19700102Z"), Ok(86_400_000));
        assert_eq!(moment("202601020304Z"), Ok(1_767_323_040_000));
        assert_eq!(moment("20260102030405Z"), Ok(1_767_323_045_000));
        for wrong in ["20260102", "2026010203Z", "20261302Z", "20260132Z", "202601022460Z", "Z", "soon"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lines_that_cannot_be_read_make_the_file_unusable() {
        const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICw0ZIYj7xAhhCDBeSJZ0mOOpYyjJdMMaWN0GYNKeu8v";
        let signers = |text: &str| Roll::parse(text.as_bytes()).map(|roll| roll.signers.len());
        assert_eq!(signers(&format!("# people\n\n  ada {KEY} a comment\n")).ok(), Some(1));
        assert_eq!(
            signers(&format!("\"ada,eve\" namespaces=\"git,x\",valid-before=\"20300101Z\" {KEY}")).ok(),
            Some(1)
        );
        assert_eq!(signers(&format!("*@example.com cert-authority {KEY}")).ok(), Some(0), "certificates do not count");
        for wrong in [
            "ada",
            "ada ssh-ed25519",
            "ada ssh-ed25519 AAAA",
            "ada colour=\"red\" KEY",
            "ada valid-before=\"20300101\" KEY",
        ] {
            let text = format!("ada {KEY}\n{}", wrong.replace("KEY", KEY));
            assert_eq!(Roll::parse(text.as_bytes()).expect_err(wrong).line, 2);
        }
        assert!(Roll::default().revoke(b"SSHKRL\n\0").is_err());
        assert!(Roll::default().revoke(KEY.as_bytes()).is_ok());
    }
}
