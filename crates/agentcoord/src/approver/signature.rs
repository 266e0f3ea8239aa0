//! One signature on one text: SSHSIG, as `ssh-keygen -Y sign` makes it.

use std::fmt;

use ring::digest::{SHA256, digest};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use ssh_key::public::{EcdsaPublicKey, KeyData};
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, Mpint, SshSig};

use super::SIGNATURE_NAMESPACE;

/// Why a vote does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doubt {
    /// It has no signature.
    Unsigned,
    /// The signature cannot be read, or is of a kind that is not known here.
    Unreadable(String),
    /// The signature was made for another purpose, which it names.
    OtherPurpose(String),
    /// The signature is not one on this verdict: on another approval, content, verdict or expiry, or on nothing at all.
    Forged,
    /// The key is not listed.
    UnknownKey(String),
    /// The key is listed, but not under the name of the voter.
    NotTheirKey(String),
    /// The key is listed, but not for approvals.
    OtherUse(String),
    /// The key was listed for another time.
    KeyNotValidNow(String),
    /// The key is revoked.
    KeyRevoked(String),
    /// The same person, or the same key, has voted before.
    VotedBefore,
    /// The voter asked for the approval.
    OwnRequest,
    /// The approval names who may vote, and the voter is not among them.
    NotEligible,
    /// The voter is no person.
    NotAPerson,
}

impl Doubt {
    /// The reason as a snake_case word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::Unreadable(_) => "unreadable_signature",
            Self::OtherPurpose(_) => "other_purpose",
            Self::Forged => "forged",
            Self::UnknownKey(_) => "unknown_key",
            Self::NotTheirKey(_) => "not_their_key",
            Self::OtherUse(_) => "other_use",
            Self::KeyNotValidNow(_) => "key_not_valid_now",
            Self::KeyRevoked(_) => "key_revoked",
            Self::VotedBefore => "already_voted",
            Self::OwnRequest => "own_request",
            Self::NotEligible => "not_eligible",
            Self::NotAPerson => "humans_only",
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned => f.write_str("it is not signed"),
            Self::Unreadable(why) => write!(f, "its signature cannot be read: {why}"),
            Self::OtherPurpose(given) => {
                write!(f, "its signature was made for `{}`, not for `{SIGNATURE_NAMESPACE}`", given.escape_debug())
            }
            Self::Forged => f.write_str("its signature is not one on this approval, content, verdict and expiry"),
            Self::UnknownKey(key) => write!(f, "its key {key} is no approver's"),
            Self::NotTheirKey(key) => write!(f, "its key {key} is another approver's"),
            Self::OtherUse(key) => write!(f, "its key {key} is listed, but not for {SIGNATURE_NAMESPACE}"),
            Self::KeyNotValidNow(key) => write!(f, "its key {key} is not valid at this time"),
            Self::KeyRevoked(key) => write!(f, "its key {key} is revoked"),
            Self::VotedBefore => f.write_str("this person, or this key, has voted on it already"),
            Self::OwnRequest => f.write_str("whoever requested an approval cannot vote on it"),
            Self::NotEligible => f.write_str("this approval names who may vote, and the voter is not among them"),
            Self::NotAPerson => f.write_str("only people vote"),
        }
    }
}

/// Reads an armored signature that was made for votes.
pub(super) fn read(armored: &str) -> Result<SshSig, Doubt> {
    let signature = SshSig::from_pem(armored.trim_ascii()).map_err(|e| Doubt::Unreadable(e.to_string()))?;
    if signature.namespace() != SIGNATURE_NAMESPACE {
        return Err(Doubt::OtherPurpose(signature.namespace().to_owned()));
    }
    Ok(signature)
}

/// A key as people compare it: `SHA256:...`.
pub(super) fn fingerprint(key: &KeyData) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// Whether a signature is its key's on a text.
pub(super) fn check(signature: &SshSig, text: &str) -> Result<(), Doubt> {
    let unreadable = |e: ssh_key::Error| Doubt::Unreadable(e.to_string());
    let signed = SshSig::signed_data(SIGNATURE_NAMESPACE, signature.hash_alg(), text.as_bytes()).map_err(unreadable)?;
    let (algorithm, bytes) = (signature.signature().algorithm(), signature.signature_bytes());
    match (signature.public_key(), algorithm) {
        (KeyData::Ed25519(key), Algorithm::Ed25519) => verify(&ED25519, &key.0, &signed, bytes),
        (KeyData::Ecdsa(key), Algorithm::Ecdsa { curve }) if key.curve() == curve => ecdsa(key, &signed, bytes),
        (KeyData::Rsa(key), Algorithm::Rsa { hash: Some(hash) }) => {
            let (n, e) = (key.n.as_positive_bytes(), key.e.as_positive_bytes());
            let (Some(n), Some(e)) = (n, e) else { return Err(Doubt::Forged) };
            let algorithm = match hash {
                HashAlg::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
                HashAlg::Sha512 => &RSA_PKCS1_2048_8192_SHA512,
                other => return Err(Doubt::Unreadable(format!("RSA with {other} is not supported"))),
            };
            RsaPublicKeyComponents { n, e }.verify(algorithm, &signed, bytes).map_err(|_| Doubt::Forged)
        }
        (KeyData::SkEd25519(key), Algorithm::SkEd25519) => {
            let (bytes, touched) = touched(bytes, key.application(), &signed)?;
            verify(&ED25519, &key.public_key().0, &touched, bytes)
        }
        (KeyData::SkEcdsaSha2NistP256(key), Algorithm::SkEcdsaSha2NistP256) => {
            let (bytes, touched) = touched(bytes, key.application(), &signed)?;
            let bytes = fixed(bytes, EcdsaCurve::NistP256)?;
            verify(&ECDSA_P256_SHA256_FIXED, key.ec_point().as_bytes(), &touched, &bytes)
        }
        (key, _) => Err(Doubt::Unreadable(format!("keys of the kind {} are not supported", key.algorithm()))),
    }
}

fn verify(with: &'static dyn VerificationAlgorithm, key: &[u8], signed: &[u8], bytes: &[u8]) -> Result<(), Doubt> {
    UnparsedPublicKey::new(with, key).verify(signed, bytes).map_err(|_| Doubt::Forged)
}

fn ecdsa(key: &EcdsaPublicKey, signed: &[u8], bytes: &[u8]) -> Result<(), Doubt> {
    let with: &'static dyn VerificationAlgorithm = match key.curve() {
        EcdsaCurve::NistP256 => &ECDSA_P256_SHA256_FIXED,
        EcdsaCurve::NistP384 => &ECDSA_P384_SHA384_FIXED,
        EcdsaCurve::NistP521 => return Err(Doubt::Unreadable("keys on the curve P-521 are not supported".to_owned())),
    };
    verify(with, key.as_sec1_bytes(), signed, &fixed(bytes, key.curve())?)
}

/// The two numbers of an ECDSA signature, each as wide as the curve's field.
fn fixed(mut bytes: &[u8], curve: EcdsaCurve) -> Result<Vec<u8>, Doubt> {
    let width = match curve {
        EcdsaCurve::NistP256 => 32,
        EcdsaCurve::NistP384 => 48,
        EcdsaCurve::NistP521 => 66,
    };
    let mut both = Vec::with_capacity(2 * width);
    for _ in 0..2 {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or(Doubt::Forged)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (number, rest) = rest.split_at_checked(length).ok_or(Doubt::Forged)?;
        bytes = rest;
        let number = Mpint::from_bytes(number).map_err(|e| Doubt::Unreadable(e.to_string()))?;
        let digits = number.as_positive_bytes().filter(|d| d.len() <= width).ok_or(Doubt::Forged)?;
        both.resize(both.len() + width - digits.len(), 0);
        both.extend_from_slice(digits);
    }
    Ok(both)
}

/// What a security key signs, and its signature without what it adds: flags and a counter. Somebody must have touched
/// it.
fn touched<'a>(bytes: &'a [u8], application: &str, signed: &[u8]) -> Result<(&'a [u8], Vec<u8>), Doubt> {
    const PRESENT: u8 = 1;
    let (signature, added) = bytes.split_last_chunk::<5>().ok_or(Doubt::Forged)?;
    if added[0] & PRESENT == 0 {
        return Err(Doubt::Unreadable("nobody has touched the security key".to_owned()));
    }
    let application = digest(&SHA256, application.as_bytes());
    let signed = digest(&SHA256, signed);
    Ok((signature, [application.as_ref(), added, signed.as_ref()].concat()))
}
