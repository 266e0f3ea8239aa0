//! A replica of another engine's state: its events, applied to rows in order.
//!
//! An event carries the new form of every record that its step touched, and the shared state as it was after it. So
//! applying it needs no rule: records are put, and what is derived from them follows.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::ids::Csn;
use crate::machine::rows::Rows;
use crate::op::{Blob, decode};
use crate::record::{Event, State};
use crate::snapshot::entries_of;
use crate::table::Entry;

/// An event as its engine has it in its log, and the shared state after it. Both encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its place in the log.
    pub csn: Csn,
    /// The [`Event`].
    pub event: Vec<u8>,
    /// The [`State`].
    pub state: Vec<u8>,
}

impl Logged {
    /// The event.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn event(&self) -> Result<Event> {
        decode(&self.event, &format!("event {}", self.csn))
    }
}

/// Answers with the part of the log that made them, or that they may have seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told<T> {
    /// The answer.
    pub answer: T,
    /// What was known before: the events begin after it.
    pub after: Csn,
    /// The events up to what the answer saw, without a gap.
    pub events: Vec<Logged>,
}

/// Events that are missing between others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("changes {from} to {to} are missing")]
pub struct Gap {
    /// The first one.
    pub from: Csn,
    /// The last one.
    pub to: Csn,
}

impl Gap {
    /// The gap that is the cause of a failure, if one is.
    #[must_use]
    pub fn behind(error: &Error) -> Option<Self> {
        std::error::Error::source(error)?.downcast_ref().copied()
    }
}

/// Of what was found, what continues a log that ends with `last`, in order.
///
/// # Errors
/// The first gap. What comes after it cannot be applied.
pub fn continuation<T>(last: Csn, found: BTreeMap<Csn, T>) -> std::result::Result<Vec<T>, Gap> {
    let mut next = last.0 + 1;
    let mut events = Vec::new();
    for (csn, event) in found {
        if csn <= last {
            continue;
        }
        if csn.0 != next {
            return Err(Gap { from: Csn(next), to: Csn(csn.0 - 1) });
        }
        events.push(event);
        next += 1;
    }
    Ok(events)
}

/// Applies the event that follows the last one. `blob` finds a text that the event has stored; one that is not found was
/// deleted by a later event.
///
/// # Errors
/// `Corrupt` for what cannot be decoded, or is not the next event.
pub fn apply<R: Rows>(
    rows: &mut R,
    logged: &Logged,
    mut blob: impl FnMut(&str) -> Result<Option<Vec<u8>>>,
) -> Result<()> {
    let event = logged.event()?;
    let state: State = decode(&logged.state, &format!("the state after event {}", logged.csn))?;
    let last = rows.state()?.csn;
    if event.csn.0 != last.0 + 1 || state.csn != event.csn {
        return Err(Error::corrupt(format!("event {}", event.csn), format!("the replica ends with {last}")));
    }
    for image in &event.images {
        let mut delta: BTreeMap<Entry, i8> = BTreeMap::new();
        let before = rows.get(image.table, &image.key)?;
        let after = (!image.record.is_empty()).then_some(&image.record);
        for (record, sign) in [(before.as_ref(), -1), (after, 1)] {
            let Some(record) = record else { continue };
            for entry in entries_of(image.table, &image.key, record)? {
                *delta.entry(entry).or_default() += sign;
            }
        }
        match after {
            Some(record) => rows.put(image.table, &image.key, record)?,
            None => rows.delete(image.table, &image.key)?,
        }
        for (entry, sign) in delta {
            match sign {
                1.. => rows.enter(&entry)?,
                0 => {}
                ..0 => rows.remove(&entry)?,
            }
        }
    }
    for name in &event.texts {
        if let Some(bytes) = blob(name)? {
            rows.put_blob(&Blob { name: name.clone(), bytes })?;
        }
    }
    for name in &event.gone {
        rows.delete_blob(name)?;
    }
    rows.append(&event)?;
    rows.set_state(&state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continuation_skips_what_is_known_and_names_a_gap() {
        let found = |csns: &[u64]| csns.iter().map(|n| (Csn(*n), *n)).collect::<BTreeMap<_, _>>();
        assert_eq!(continuation(Csn(2), found(&[1, 2, 3, 4])), Ok(vec![3, 4]));
        assert_eq!(continuation(Csn(2), found(&[1])), Ok(Vec::new()));
        assert_eq!(continuation(Csn(2), found(&[3, 6])), Err(Gap { from: Csn(4), to: Csn(5) }));
    }
}
