//! What this process asked of Redis, and what it was told, on this host before anybody acts on it.
//!
//! Each process writes into a slot of its own, which a file lock keeps for it: a free lock is a dead writer. A slot has two
//! files that take turns, so that one can be emptied when the replica has what it holds. Nothing here decides about
//! state: a take-over reads all slots and applies what continues the replica.

mod records;
mod slot;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentcoord_core::ids::{Csn, Epoch, Id, RequestNo};
use agentcoord_core::mode::ModeEngine;
use agentcoord_core::op::Blob;
use agentcoord_core::replica::{Logged, Told};
use agentcoord_core::{Error, Result};

use self::records::{Answered, Pair, Record};
use self::slot::Slot;
use crate::engine::Durability;
use crate::error::Fault;
use crate::extent::{Extent, Mark};
use crate::namespace::Namespace;

/// Bytes that a journal holds only when nobody keeps the replica up to date.
const MUCH: u64 = 8 << 20;

/// The journal of one process. Clones share it.
#[derive(Clone, Debug)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    namespace: Namespace,
    extent: Extent,
    durability: Durability,
    // A std mutex: appends are short, and it is never held across an await.
    writing: Mutex<Writing>,
}

#[derive(Debug)]
struct Writing {
    slot: Slot,
    epoch: Epoch,
    /// Everything up to here is in a journal or in the replica, with all before it.
    known: Csn,
    /// What came before something that is yet to come, by the number it follows on.
    early: BTreeMap<Csn, Vec<Logged>>,
    /// How many of the records are on the disk.
    synced: u64,
}

/// What becomes of something that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is on this host, with everything before it.
    Kept,
    /// It is kept in memory: something before it is missing, from this number on. Other answers bring it, or a read does.
    Early(Csn),
    /// It belongs to an epoch that is over.
    Over,
}

/// A request without an answer that nobody waits for: its process has ended, or its caller has given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The client.
    pub client: Id,
    /// The request.
    pub request: RequestNo,
}

impl Namespace {
    /// Opens a journal in a free slot.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn open_journal(&self, durability: Durability) -> Result<Journal> {
        let files = self.files();
        let extent = Extent::open(&files.extent).map_err(Fault::io("open", &files.extent))?;
        let slot = Slot::free(files)?;
        let writing = Writing { slot, epoch: Epoch(0), known: Csn(0), early: BTreeMap::new(), synced: 0 };
        let namespace = self.clone();
        Ok(Journal { inner: Arc::new(Inner { namespace, extent, durability, writing: Mutex::new(writing) }) })
    }

    /// How far the journals of an epoch go, as far as they say; for people.
    #[must_use]
    pub fn journaled(&self, epoch: Epoch) -> Option<Csn> {
        Extent::open(&self.files().extent).ok()?.get(Mark::Known, epoch)
    }

    /// Bytes in all journals, and how many slots a living process has; for people.
    #[must_use]
    pub fn journals(&self) -> (u64, usize) {
        slot::size(self.files())
    }

    /// The slots of processes that have ended, as far as they hold anything. Each is kept for the caller until it is
    /// dropped.
    #[must_use]
    pub fn orphaned_journals(&self, epoch: Epoch, but: &Journal) -> Vec<Orphaned> {
        let own = but.writing().slot.number();
        let slots = Slot::ended(self.files(), own);
        slots.into_iter().filter(|slot| slot.bytes() > 0).map(|slot| Orphaned { slot, epoch }).collect()
    }
}

/// The slot of a process that has ended.
#[derive(Debug)]
pub struct Orphaned {
    slot: Slot,
    epoch: Epoch,
}

impl Orphaned {
    /// What its process has asked in the epoch without being told the answer.
    #[must_use]
    pub fn requests(&self) -> Vec<Orphan> {
        self.slot.orphans(self.epoch)
    }

    /// These of its requests are settled; the log went as far as `csn` then.
    ///
    /// # Errors
    /// `Unavailable`: they are found again.
    pub fn settled(&mut self, orphans: &[Orphan], csn: Csn) -> Result<()> {
        orphans.iter().try_for_each(|orphan| self.slot.settle(self.epoch, orphan, csn))
    }

    /// Empties what is over, and what the replica has.
    pub fn tidy(mut self, replica: Csn) {
        self.slot.forget_before(self.epoch);
        self.slot.forget_replicated(replica);
    }
}

impl Journal {
    /// Begins to write for an epoch in which Redis serves; `replica` is how far the replica goes. What was written for
    /// epochs before goes: a decision has been made about it.
    pub fn begin(&self, epoch: Epoch, replica: Csn) {
        let mut writing = self.writing();
        if writing.epoch < epoch {
            writing.slot.forget_before(epoch);
            writing.epoch = epoch;
            writing.known = replica;
            writing.early.clear();
        }
        writing.known = writing.known.max(replica);
        writing.slot.forget_replicated(replica);
    }

    /// Nobody waits for the answer of a request any more: when it has none, it is an orphan.
    pub fn give_up(&self, client: &Id, request: RequestNo) {
        self.writing().slot.give_up(client, request);
    }

    /// What was asked in this epoch without an answer that anybody waits for, here or by the process that had this slot
    /// before.
    #[must_use]
    pub fn orphans(&self) -> Vec<Orphan> {
        let writing = self.writing();
        writing.slot.orphans(writing.epoch)
    }

    /// These are settled; the log went as far as `csn` then.
    ///
    /// # Errors
    /// `Unavailable`: they are orphans still.
    pub fn settled(&self, orphans: &[Orphan], csn: Csn) -> Result<()> {
        let mut writing = self.writing();
        let epoch = writing.epoch;
        orphans.iter().try_for_each(|orphan| writing.slot.settle(epoch, orphan, csn))
    }

    /// Everything up to here is on this host: what to tell Redis with a request.
    ///
    /// What other processes know counts only while the mode word, read after it, still says that Redis serves: once a
    /// take-over has begun to read journals, something may be written into one that was read already, and what follows on
    /// it here would be behind a gap.
    #[must_use]
    pub fn known(&self, epoch: Epoch) -> Csn {
        let shared = self.inner.extent.get(Mark::Known, epoch);
        let mut writing = self.writing();
        if writing.epoch == epoch && shared.is_some_and(|shared| shared > writing.known) {
            fence(Ordering::SeqCst);
            if self.inner.namespace.word().is_some_and(|word| word.serves(epoch, ModeEngine::Redis)) {
                writing.known = shared.unwrap_or_default();
                writing.take_up_early();
            }
        }
        writing.known
    }

    /// Whether so much waits here for the replica that nobody seems to keep it up to date.
    #[must_use]
    pub fn holds_much(&self) -> bool {
        self.writing().slot.bytes() > MUCH
    }

    /// Writes down that a request is about to be sent, with the texts that it brings: the log names them only.
    ///
    /// # Errors
    /// `Unavailable`, or `Fenced` when a later epoch has begun: do not send it.
    pub fn intend(&self, epoch: Epoch, client: &Id, request: RequestNo, blobs: &[Blob]) -> Result<()> {
        let record = Record::Intent { epoch, client: client.clone(), request, blobs: Pair::of_blobs(blobs) };
        let mut writing = self.writing();
        if writing.epoch != epoch {
            return Err(Error::Fenced { epoch, reason: "this process writes for another epoch by now".to_owned() });
        }
        writing.slot.append(&record, || self.inner.extent.get(Mark::Replica, epoch))
    }

    /// Writes down what was told. `answered` is the request that it answers, if any. When it is [`Noted::Kept`], it
    /// survives this process; whoever acts on it looks at the mode word first.
    ///
    /// # Errors
    /// `Unavailable`: do not act on it.
    pub fn note(&self, epoch: Epoch, answered: Option<(&Id, RequestNo)>, told: Told<()>) -> Result<Noted> {
        let mut writing = self.writing();
        if writing.epoch != epoch {
            return Ok(Noted::Over);
        }
        let last = told.events.last().map_or(told.after, |logged| logged.csn);
        let answered = answered.map(|(client, request)| Answered { client: client.clone(), request, last });
        if told.after > writing.known {
            if let Some(answered) = &answered {
                writing.slot.answered(answered);
            }
            let missing = Csn(writing.known.0 + 1);
            writing.early.insert(told.after, told.events);
            return Ok(Noted::Early(missing));
        }
        let mut fresh = told.events;
        fresh.retain(|logged| logged.csn > writing.known);
        if answered.is_some() || !fresh.is_empty() {
            writing.keep(answered, fresh, || self.inner.extent.get(Mark::Replica, epoch))?;
            writing.take_up_early();
        }
        let known = writing.known;
        drop(writing);
        if self.inner.extent.get(Mark::Known, epoch).is_none_or(|shared| shared < known)
            && self.inner.durability == Durability::Process
        {
            self.inner.extent.set(Mark::Known, epoch, known);
        }
        // Before the mode word is read again: on some processors the two could pass each other.
        fence(Ordering::SeqCst);
        Ok(Noted::Kept)
    }

    /// Waits for the disk, when acknowledged writes are to survive a power cut.
    ///
    /// # Errors
    /// `Unavailable`: do not act on what was told.
    pub fn sync(&self, epoch: Epoch) -> Result<()> {
        if self.inner.durability == Durability::Process {
            return Ok(());
        }
        let (files, appended, known) = {
            let writing = self.writing();
            if writing.synced == writing.slot.appended() {
                return Ok(());
            }
            (writing.slot.files()?, writing.slot.appended(), writing.known)
        };
        for file in files {
            rustix::fs::fdatasync(&file).map_err(|errno| Fault::Io {
                doing: "write",
                path: "journal".into(),
                source: Arc::new(errno.into()),
            })?;
        }
        let mut writing = self.writing();
        writing.synced = writing.synced.max(appended);
        drop(writing);
        self.inner.extent.set(Mark::Known, epoch, known);
        fence(Ordering::SeqCst);
        Ok(())
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing {
    /// Appends an answer, and events that follow on what is known.
    fn keep(
        &mut self,
        answered: Option<Answered>,
        events: Vec<Logged>,
        replica: impl FnOnce() -> Option<Csn>,
    ) -> Result<()> {
        let last = events.last().map_or(self.known, |logged| logged.csn);
        let record = Record::Told { epoch: self.epoch, answered, events: events.into_iter().map(Into::into).collect() };
        self.slot.append(&record, replica)?;
        self.known = last;
        Ok(())
    }

    /// What came too early may follow on now.
    fn take_up_early(&mut self) {
        while let Some(first) = self.early.first_entry() {
            if *first.key() > self.known {
                return;
            }
            let events: Vec<Logged> = first.remove().into_iter().filter(|logged| logged.csn > self.known).collect();
            if !events.is_empty() && self.keep(None, events, || None).is_err() {
                // Whoever waits for it reads it again.
                return;
            }
        }
    }
}

/// What all journals hold of one epoch.
#[derive(Debug, Default)]
pub struct Found {
    /// Events by number.
    pub events: BTreeMap<Csn, Logged>,
    /// Texts by name, of requests whether answered or not.
    pub blobs: HashMap<String, Vec<u8>>,
}

impl Found {
    /// The last event; 0 when there is none.
    #[must_use]
    pub fn last(&self) -> Csn {
        self.events.last_key_value().map_or(Csn(0), |(csn, _)| *csn)
    }
}

impl Namespace {
    /// Reads all journals. Nothing that is written into them afterwards counts: the mode says so already.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn read_journals(&self, epoch: Epoch) -> Result<Found> {
        fence(Ordering::SeqCst);
        let mut found = Found::default();
        for record in slot::read_all(self.files())? {
            match record {
                Record::Intent { epoch: of, blobs, .. } if of == epoch => {
                    found.blobs.extend(blobs.into_iter().map(|pair| (pair.name, pair.bytes.into_vec())));
                }
                Record::Told { epoch: of, events, .. } if of == epoch => {
                    found.events.extend(events.into_iter().map(|event| (Csn(event.csn), event.into())));
                }
                Record::Intent { .. } | Record::Told { .. } => {}
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
