//! A slot: two files that take turns, kept by a lock on the first one for as long as its process lives.

use std::collections::HashSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use agentcoord_core::Result;
use agentcoord_core::ids::{Csn, Epoch, Id, RequestNo};
use rustix::fs::{FlockOperation, flock};

use super::Orphan;
use super::records::{Answered, Record, decode_all};
use crate::error::Fault;
use crate::layout::Files;

/// A file that has grown past this gives the turn to the other one.
const TURN: u64 = 256 * 1_024;
/// Slots, and so processes at one time.
const SLOTS: usize = 65_536;

/// A slot, locked.
#[derive(Debug)]
pub(super) struct Slot {
    number: usize,
    halves: [Half; 2],
    active: usize,
    /// How many records were appended since the slot was taken.
    appended: u64,
    /// Requests whose answer nobody waits for any more: their process has ended, or their caller has given up.
    orphaned: HashSet<(Id, RequestNo)>,
}

/// One of the two files.
#[derive(Debug)]
struct Half {
    file: File,
    end: u64,
    /// The latest epoch of its records.
    epoch: Epoch,
    /// The last event that is in it, or that one of its requests may have made.
    covers: Csn,
    /// Requests of that epoch that were sent, or are about to be, and have no answer.
    open: HashSet<(Id, RequestNo)>,
}

impl Slot {
    /// The first slot that no living process has.
    pub(super) fn free(files: &Files) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&files.journals)
            .map_err(Fault::io("create", &files.journals))?;
        for number in 0..SLOTS {
            if let Some(slot) = Self::take(files, number)? {
                return Ok(slot);
            }
        }
        Err(agentcoord_core::Error::unavailable("too many processes have a journal here"))
    }

    /// The slots of processes that have ended.
    pub(super) fn ended(files: &Files, own: usize) -> Vec<Self> {
        let taken = numbers(files).into_iter().filter(|number| *number != own);
        taken.filter_map(|number| Self::take(files, number).ok().flatten()).collect()
    }

    fn take(files: &Files, number: usize) -> Result<Option<Self>> {
        let paths = files.journal(number);
        let first = open(&paths[0]).map_err(Fault::io("open", &paths[0]))?;
        if flock(&first, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        let second = open(&paths[1]).map_err(Fault::io("open", &paths[1]))?;
        let load = |file: File, path: &Path| Half::load(file).map_err(Fault::io("read", path));
        let ((one, some), (two, others)) = (load(first, &paths[0])?, load(second, &paths[1])?);
        let active = usize::from(two.end > 0 && two.end < one.end);
        let mut slot = Self { number, halves: [one, two], active, appended: 0, orphaned: HashSet::new() };
        // An answer may stand in the other file than its request.
        for answered in some.iter().chain(&others) {
            slot.answered(answered);
        }
        slot.orphaned = slot.halves.iter().flat_map(|half| half.open.iter().cloned()).collect();
        Ok(Some(slot))
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    pub(super) fn appended(&self) -> u64 {
        self.appended
    }

    pub(super) fn bytes(&self) -> u64 {
        self.halves.iter().map(|half| half.end).sum()
    }

    pub(super) fn files(&self) -> Result<[File; 2]> {
        let clone = |half: &Half| half.file.try_clone().map_err(Fault::io("open", Path::new("journal")));
        Ok([clone(&self.halves[0])?, clone(&self.halves[1])?])
    }

    /// Requests of an epoch without an answer that nobody waits for.
    pub(super) fn orphans(&self, epoch: Epoch) -> Vec<Orphan> {
        let of_epoch = self.halves.iter().filter(|half| half.epoch == epoch);
        let open: HashSet<_> = of_epoch.flat_map(|half| &half.open).filter(|r| self.orphaned.contains(r)).collect();
        let mut orphans: Vec<Orphan> =
            open.into_iter().map(|(client, request)| Orphan { client: client.clone(), request: *request }).collect();
        orphans.sort_by_key(|orphan| orphan.request);
        orphans
    }

    /// Nobody waits for the answer of a request any more.
    pub(super) fn give_up(&mut self, client: &Id, request: RequestNo) {
        let request = (client.clone(), request);
        if self.halves.iter().any(|half| half.open.contains(&request)) {
            self.orphaned.insert(request);
        }
    }

    /// An orphan is settled, when the log went as far as `csn`.
    pub(super) fn settle(&mut self, epoch: Epoch, orphan: &Orphan, csn: Csn) -> Result<()> {
        let answered = Answered { client: orphan.client.clone(), request: orphan.request, last: csn };
        self.append(&Record::Told { epoch, answered: Some(answered), events: Vec::new() }, || None)
    }

    /// Empties what holds nothing of this epoch or a later one.
    pub(super) fn forget_before(&mut self, epoch: Epoch) {
        for half in self.halves.iter_mut().filter(|half| half.epoch < epoch) {
            half.empty();
        }
        let halves = &self.halves;
        self.orphaned.retain(|request| halves.iter().any(|half| half.open.contains(request)));
    }

    /// Empties what the replica has.
    pub(super) fn forget_replicated(&mut self, replica: Csn) {
        for half in self.halves.iter_mut().filter(|half| half.may_go(Some(replica))) {
            half.empty();
        }
    }

    /// Appends a record. `replica` finds how far the replica of its epoch goes, if that is known.
    pub(super) fn append(&mut self, record: &Record, replica: impl FnOnce() -> Option<Csn>) -> Result<()> {
        let other = 1 - self.active;
        if self.halves[self.active].end > TURN && self.halves[other].may_go(replica()) {
            self.halves[other].empty();
            self.active = other;
        }
        let half = &mut self.halves[self.active];
        half.append(record).map_err(Fault::io("write", Path::new("journal")))?;
        self.appended += 1;
        if let Record::Told { answered: Some(answered), .. } = record {
            self.answered(answered);
        }
        Ok(())
    }

    /// A request has an answer: it is no reason any more to keep its file, once the replica has what it may have made.
    pub(super) fn answered(&mut self, Answered { client, request, last }: &Answered) {
        let request = (client.clone(), *request);
        for half in &mut self.halves {
            if half.open.remove(&request) {
                half.covers = half.covers.max(*last);
            }
        }
        self.orphaned.remove(&request);
    }
}

impl Half {
    /// A file as it was left, and the answers that stand in it.
    fn load(file: File) -> std::io::Result<(Self, Vec<Answered>)> {
        let (records, end) = read(&file)?;
        let mut half = Self { file, end, epoch: Epoch(0), covers: Csn(0), open: HashSet::new() };
        for record in &records {
            half.count(record);
        }
        let answered = |record| match record {
            Record::Told { answered, .. } => answered,
            Record::Intent { .. } => None,
        };
        Ok((half, records.into_iter().filter_map(answered).collect()))
    }

    fn count(&mut self, record: &Record) {
        let (Record::Intent { epoch, .. } | Record::Told { epoch, .. }) = record;
        if *epoch > self.epoch {
            (self.epoch, self.covers) = (*epoch, Csn(0));
            self.open.clear();
        }
        if *epoch < self.epoch {
            return;
        }
        match record {
            Record::Intent { client, request, .. } => {
                self.open.insert((client.clone(), *request));
            }
            Record::Told { events, .. } => {
                self.covers = events.last().map_or(self.covers, |last| self.covers.max(Csn(last.csn)));
            }
        }
    }

    fn append(&mut self, record: &Record) -> std::io::Result<()> {
        let bytes = record.encode().map_err(std::io::Error::other)?;
        self.file.write_all_at(&bytes, self.end)?;
        self.end += bytes.len() as u64;
        self.count(record);
        Ok(())
    }

    /// Whether the replica has everything that is here.
    fn may_go(&self, replica: Option<Csn>) -> bool {
        self.end == 0 || (self.open.is_empty() && replica.is_some_and(|replica| replica >= self.covers))
    }

    fn empty(&mut self) {
        // What stays behind when this fails is harmless: it is known to be over.
        if self.file.set_len(0).is_ok() {
            (self.end, self.epoch, self.covers) = (0, Epoch(0), Csn(0));
            self.open.clear();
        }
    }
}

/// All records of all slots, of living processes too.
pub(super) fn read_all(files: &Files) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for number in numbers(files) {
        for path in files.journal(number) {
            match File::open(&path) {
                Ok(file) => records.extend(read(&file).map_err(Fault::io("read", &path))?.0),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(Fault::io("open", &path)(e).into()),
            }
        }
    }
    Ok(records)
}

/// Bytes in all slots, and how many slots a living process has.
pub(super) fn size(files: &Files) -> (u64, usize) {
    let (mut bytes, mut living) = (0, 0);
    for number in numbers(files) {
        let paths = files.journal(number);
        bytes += paths.iter().filter_map(|path| path.metadata().ok()).map(|meta| meta.len()).sum::<u64>();
        let Ok(file) = File::open(&paths[0]) else { continue };
        living += usize::from(flock(&file, FlockOperation::NonBlockingLockShared).is_err());
    }
    (bytes, living)
}

/// The slots that there are.
fn numbers(files: &Files) -> Vec<usize> {
    let Ok(dir) = std::fs::read_dir(&files.journals) else { return Vec::new() };
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    let mut numbers: Vec<usize> =
        dir.filter_map(name).filter_map(|name| name.strip_suffix(".a")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// The records of a file, whatever its cursor, and how many bytes they are.
fn read(file: &File) -> std::io::Result<(Vec<Record>, u64)> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(0)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(decode_all(&bytes[..filled]))
}

/// The standard library opens with O_CLOEXEC: children do not inherit the lock.
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}
