//! Whose votes count: the keys of people, as OpenSSH lists them, and the check of what they signed.
//!
//! Nothing here trusts the store: a vote counts when its signature does.

mod count;
mod signature;
mod signers;

use std::path::{Path, PathBuf};

use agentcoord_core::approval::{Approval, Verdict};
use agentcoord_core::ids::Id;
use agentcoord_core::time::WallMs;
use agentcoord_core::{Error, Result};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(crate) use count::{Counting, Terms};
pub use signature::Doubt;
pub use signers::Roll;

/// What SSH signatures on votes are made for (`ssh-keygen -Y sign -n`).
pub const SIGNATURE_NAMESPACE: &str = "agentcoord-approval";

/// The people whose signed votes count, by the files that list their keys.
///
/// The files are read at each decision, so a change to them holds at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approvers {
    /// Names and keys, in the format of `ssh-keygen`'s allowed signers files.
    pub allowed_signers: PathBuf,
    /// Keys that count no more: public keys, one a line.
    pub revoked_keys: Option<PathBuf>,
}

impl Approvers {
    /// Reads the files.
    ///
    /// # Errors
    /// `Invalid` naming the file and line that cannot be read: then nobody's vote counts.
    pub fn read(&self) -> Result<Roll> {
        let text = |field, path: &Path| {
            std::fs::read(path).map_err(|e| {
                Error::invalid(field, path.display().to_string(), format!("a file that can be read ({e})"))
            })
        };
        let allowed = text("approvers", &self.allowed_signers)?;
        let revoked = self.revoked_keys.as_ref().map(|path| text("revoked_approvers", path)).transpose()?;
        let mut roll = Roll::parse(&allowed).map_err(|wrong| wrong.in_file("approvers", &self.allowed_signers))?;
        if let (Some(path), Some(revoked)) = (&self.revoked_keys, revoked) {
            roll.revoke(&revoked).map_err(|wrong| wrong.in_file("revoked_approvers", path))?;
        }
        Ok(roll)
    }
}

/// What a person signs to give a verdict, byte for byte: six lines, each of which ends with a line feed.
///
/// `ssh-keygen -Y sign -n agentcoord-approval` over this text makes the signature of a vote.
#[must_use]
pub fn statement(namespace: &str, approval: &Approval, verdict: Verdict) -> String {
    spell(namespace, &approval.id, &approval.digest, verdict, approval.expires_at)
}

fn spell(namespace: &str, approval: &Id, digest: &str, verdict: Verdict, expires_at: WallMs) -> String {
    let verdict = match verdict {
        Verdict::Approve => "approve",
        Verdict::Reject => "reject",
    };
    let expires = OffsetDateTime::from_unix_timestamp_nanos(i128::from(expires_at) * 1_000_000)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_else(|| expires_at.to_string());
    format!(
        "{SIGNATURE_NAMESPACE} 1\nnamespace {namespace}\napproval {approval}\ndigest {digest}\nverdict {verdict}\n\
         expires {expires}\n"
    )
}
