//! Finds the first entry that is not what was sealed, and says what became of it. Pure: the caller brings what is stored.

use std::fmt;

use super::Extent;
use super::chain::{Hash, Head};
use crate::record::AuditRecord;

/// What is stored at one place of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The place.
    pub seq: u64,
    /// The entry.
    pub stored: Stored,
    /// Its seal; none when it is not sealed, or the seal is gone.
    pub seal: Option<Hash>,
}

/// What is stored where an entry should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// An entry, right or wrong.
    Entry(AuditRecord),
    /// Nothing.
    Nothing,
    /// Bytes that are no entry.
    Unreadable,
}

/// A head that was kept outside of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The head.
    pub head: Head,
    /// Where it was kept, for people.
    pub kept: String,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tampering {
    /// Its text or its time was changed.
    Edited,
    /// It is gone, though later ones are there.
    Dropped,
    /// It stands at another place.
    Reordered,
    /// Another entry stands at its place as well as at its own.
    Duplicated,
    /// Something that was never sealed stands at its place, and it has moved.
    Inserted,
    /// The log ends before it.
    Truncated,
    /// It and its seals fit each other, but not what was kept outside.
    Recomputed,
    /// Its seal is gone.
    Unsealed,
}

impl Tampering {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Dropped => "dropped",
            Self::Reordered => "reordered",
            Self::Duplicated => "duplicated",
            Self::Inserted => "inserted",
            Self::Truncated => "truncated",
            Self::Recomputed => "recomputed",
            Self::Unsealed => "unsealed",
        }
    }
}

/// The first bad entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its place. For [`Tampering::Recomputed`] the first place that nobody outside vouches for.
    pub seq: u64,
    /// What became of it.
    pub what: Tampering,
    /// In a sentence.
    pub why: String,
}

impl Finding {
    fn new(seq: u64, what: Tampering, why: impl Into<String>) -> Self {
        Self { seq, what, why: why.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} ({}): {}", self.seq, self.what.word(), self.why)
    }
}

/// Why a walk along the log has stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The first bad entry, and all there is to say about it.
    Found(Finding),
    /// An entry that is not the one that was sealed here. What it is instead takes a [`Search`].
    Misfit(Box<Search>),
}

impl From<Finding> for Stop {
    fn from(finding: Finding) -> Self {
        Self::Found(finding)
    }
}

/// A walk along the log, from its first entry on.
#[derive(Debug)]
pub struct Verifier {
    extent: Extent,
    head: Head,
    /// By place, those that are still to be met last.
    witnesses: Vec<Witness>,
    /// The last place that a witness has confirmed.
    confirmed: u64,
}

impl Verifier {
    /// A walk along a log of this extent. Ask for the witnesses first and for the extent then: a log only grows.
    #[must_use]
    pub fn new(extent: Extent, mut witnesses: Vec<Witness>) -> Self {
        witnesses.retain(|witness| witness.head.seq > 0);
        witnesses.sort_by_key(|witness| std::cmp::Reverse(witness.head.seq));
        Self { extent, head: Head::START, witnesses, confirmed: 0 }
    }

    /// How far the walk has come; all up to here is right.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Checks the places that follow, in order.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(&mut self, places: Vec<Place>) -> Result<(), Stop> {
        for Place { seq, stored, seal } in places {
            let record = match stored {
                Stored::Entry(record) => record,
                Stored::Nothing => {
                    return Err(Finding::new(seq, Tampering::Dropped, "nothing is stored at its place").into());
                }
                Stored::Unreadable => {
                    let why = "what is stored at its place cannot be read";
                    return Err(Finding::new(seq, Tampering::Edited, why).into());
                }
            };
            let next = self.head.then(record.at, &record.entry);
            match seal {
                Some(seal) if seal == next.hash => {}
                Some(seal) => return Err(Stop::Misfit(Box::new(Search::new(self.head, record, seal)))),
                None if seq <= self.extent.sealed => {
                    return Err(Finding::new(seq, Tampering::Unsealed, "it was sealed, and the seal is gone").into());
                }
                None => {}
            }
            self.head = next;
            self.hear()?;
        }
        Ok(())
    }

    /// Compares with those who have kept a head of this place. One who does not agree is enough.
    fn hear(&mut self) -> Result<(), Finding> {
        let (mut heard, from, to) = (false, self.confirmed + 1, self.head.seq);
        while let Some(witness) = self.witnesses.pop_if(|witness| witness.head.seq == to) {
            if witness.head != self.head {
                let why = format!(
                    "the log fits its seals, but entries {from} to {to} are not those of which {} keeps the hash",
                    witness.kept
                );
                return Err(Finding::new(from, Tampering::Recomputed, why));
            }
            heard = true;
        }
        if heard {
            self.confirmed = to;
        }
        Ok(())
    }

    /// Ends the walk after the last entry.
    ///
    /// # Errors
    /// The first entry beyond, when there should be more.
    pub fn end(mut self) -> Result<Head, Finding> {
        let Extent { entries, sealed } = self.extent;
        if let Some(witness) = self.witnesses.pop() {
            let why = format!("{} has seen entry {}, and the log ends at {entries}", witness.kept, witness.head.seq);
            return Err(Finding::new(entries + 1, Tampering::Truncated, why));
        }
        if sealed > entries {
            let why = format!("{sealed} entries were sealed, and the log ends at {entries}");
            return Err(Finding::new(entries + 1, Tampering::Truncated, why));
        }
        Ok(self.head)
    }
}

/// A search through the whole log for where an entry comes from, and where the one has gone that belongs at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    before: Head,
    record: AuditRecord,
    seal: Hash,
    /// The hash before the place that is looked at next; none after a gap in the seals.
    previous: Option<Hash>,
    /// Where the entry belongs, and whether it stands there too.
    home: Option<(u64, bool)>,
    /// Where the entry stands that belongs here.
    rightful: Option<u64>,
}

impl Search {
    fn new(before: Head, record: AuditRecord, seal: Hash) -> Self {
        Self { before, record, seal, previous: Some(Hash::ZERO), home: None, rightful: None }
    }

    /// The place in question.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.before.seq + 1
    }

    /// Looks at the places that follow, from the first one on.
    pub fn look(&mut self, places: Vec<Place>) {
        for Place { seq, stored, seal } in places {
            let previous = std::mem::replace(&mut self.previous, seal);
            let belongs = |previous: Hash| Some(previous.then(seq, self.record.at, &self.record.entry)) == seal;
            let Stored::Entry(there) = stored else { continue };
            if previous.is_some_and(belongs) {
                self.home = Some((seq, there == self.record));
            }
            if seq != self.seq() && self.before.then(there.at, &there.entry).hash == self.seal {
                self.rightful = Some(seq);
            }
        }
    }

    /// What became of the entry.
    #[must_use]
    pub fn conclude(self) -> Finding {
        let seq = self.seq();
        let (what, why) = match (self.home, self.rightful) {
            (Some((home, _)), _) if home < seq => {
                (Tampering::Duplicated, format!("a copy of entry {home} stands here"))
            }
            (Some((home, true)), _) => (Tampering::Duplicated, format!("a copy of entry {home} stands here")),
            (Some((home, _)), Some(at)) => {
                (Tampering::Reordered, format!("entry {home} stands here, and this one stands at {at}"))
            }
            (Some((home, _)), None) => {
                (Tampering::Dropped, format!("it is nowhere in the log; entry {home} stands here"))
            }
            (None, Some(at)) => {
                (Tampering::Inserted, format!("what stands here was never sealed; this entry stands at {at}"))
            }
            (None, None) => (Tampering::Edited, "its text or its time is not what was sealed".to_owned()),
        };
        Finding::new(seq, what, why)
    }
}
