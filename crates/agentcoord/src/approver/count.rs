//! Counting votes, each by its signature, against what was asked for.

use agentcoord_core::approval::{Approval, RequestApproval, Verdict, Vote, same_name};
use agentcoord_core::ids::Id;
use agentcoord_core::time::WallMs;

use super::{Doubt, Roll, spell};

/// What was asked for, as the one who counts knows it: the store may say something else by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) id: Id,
    pub(crate) digest: String,
    pub(crate) quorum: u32,
    pub(crate) rejections: u32,
    pub(crate) eligible: Vec<String>,
}

impl From<&Approval> for Terms {
    fn from(approval: &Approval) -> Self {
        let Approval { id, digest, quorum, rejections, eligible, .. } = approval.clone();
        Self { id, digest, quorum, rejections, eligible }
    }
}

impl From<&RequestApproval> for Terms {
    fn from(request: &RequestApproval) -> Self {
        let RequestApproval { id, digest, quorum, rejections, eligible, .. } = request.clone();
        Self { id, digest, quorum, rejections, eligible }
    }
}

/// A count under way: each person and each key counts once.
#[derive(Debug)]
pub(crate) struct Counting<'a> {
    pub(crate) roll: &'a Roll,
    pub(crate) namespace: &'a str,
    pub(crate) terms: &'a Terms,
    pub(crate) expires_at: WallMs,
    pub(crate) requested_by: &'a str,
    pub(crate) now: WallMs,
    /// Names and key fingerprints that have counted.
    seen: Vec<(String, String)>,
    yes: u32,
    no: u32,
}

impl<'a> Counting<'a> {
    pub(crate) fn new(
        roll: &'a Roll,
        namespace: &'a str,
        terms: &'a Terms,
        (expires_at, requested_by): (WallMs, &'a str),
        now: WallMs,
    ) -> Self {
        Self { roll, namespace, terms, expires_at, requested_by, now, seen: Vec::new(), yes: 0, no: 0 }
    }

    /// Counts a vote, or says why it does not count.
    pub(crate) fn add(&mut self, vote: &Vote) -> Result<(), Doubt> {
        let Terms { id, digest, eligible, .. } = self.terms;
        let name = vote.by.strip_prefix("human:").ok_or(Doubt::NotAPerson)?;
        let signature = vote.signature.as_deref().ok_or(Doubt::Unsigned)?;
        let text = spell(self.namespace, id, digest, vote.verdict, self.expires_at);
        let key = self.roll.check(name, &text, signature, self.now)?;
        let asked = self.requested_by.strip_prefix("human:");
        // Whoever goes by several names has one key.
        if asked.is_some_and(|asked| same_name(asked, name) || self.roll.is_key_of(&key, asked)) {
            return Err(Doubt::OwnRequest);
        }
        if !eligible.is_empty() && !eligible.iter().any(|known| same_name(known, name)) {
            return Err(Doubt::NotEligible);
        }
        if self.seen.iter().any(|(known, with)| same_name(known, name) || *with == key) {
            return Err(Doubt::VotedBefore);
        }
        self.seen.push((name.to_owned(), key));
        match vote.verdict {
            Verdict::Approve => self.yes += 1,
            Verdict::Reject => self.no += 1,
        }
        Ok(())
    }

    /// How many said yes, and how many no.
    pub(crate) fn result(&self) -> (u32, u32) {
        (self.yes, self.no)
    }
}
