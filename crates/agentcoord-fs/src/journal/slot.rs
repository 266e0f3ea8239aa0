//! A slot: two files that take turns, kept by a lock on the first one for as long as its process lives.

use std::collections::{HashMap, HashSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use agentcoord_core::Result;
use agentcoord_core::ids::{Csn, Epoch, Id, RequestNo};
use rustix::fs::{FlockOperation, flock};

use super::Orphan;
use super::records::{Record, decode_all};
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
    /// Requests without an answer that were here when the slot was taken: their process has ended.
    inherited: HashSet<(Id, RequestNo)>,
}

/// One of the two files.
#[derive(Debug)]
struct Half {
    file: File,
    end: u64,
    /// The latest epoch of its records.
    epoch: Epoch,
    /// The last event that is in it, or that an answer to one of its requests may have made.
    covers: Csn,
    /// Requests that were sent, or are about to be, and their epoch.
    open: HashMap<(Id, RequestNo), Epoch>,
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
        let mut halves = [load(first, &paths[0])?, load(second, &paths[1])?];
        // An answer may stand in the other file than its request.
        let [one, two] = &mut halves;
        let answered: HashSet<_> = one.answers()?.union(&two.answers()?).cloned().collect();
        for half in &mut halves {
            half.open.retain(|request, _| !answered.contains(request));
        }
        let active = usize::from(halves[1].end > 0 && halves[1].end < halves[0].end);
        let inherited = halves.iter().flat_map(|half| half.open.keys().cloned()).collect();
        Ok(Some(Self { number, halves, active, inherited }))
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    pub(super) fn holds_anything(&self) -> bool {
        self.halves.iter().any(|half| half.end > 0)
    }

    pub(super) fn files(&self) -> Result<[File; 2]> {
        let clone = |half: &Half| half.file.try_clone().map_err(Fault::io("open", Path::new("journal")));
        Ok([clone(&self.halves[0])?, clone(&self.halves[1])?])
    }

    /// Requests of an epoch without an answer, of processes that had the slot before.
    pub(super) fn orphans(&self, epoch: Epoch) -> Vec<Orphan> {
        let open = self.halves.iter().flat_map(|half| &half.open);
        let open = open.filter(|(request, of)| **of == epoch && self.inherited.contains(request));
        let mut orphans: Vec<Orphan> =
            open.map(|((client, request), _)| Orphan { client: client.clone(), request: *request }).collect();
        orphans.sort_by_key(|orphan| orphan.request);
        orphans
    }

    /// How far the log of an epoch is in it.
    pub(super) fn covers(&self, epoch: Epoch) -> Csn {
        let of_epoch = self.halves.iter().filter(|half| half.epoch == epoch);
        of_epoch.map(|half| half.covers).max().unwrap_or_default()
    }

    /// Empties what holds nothing of this epoch or a later one.
    pub(super) fn forget_before(&mut self, epoch: Epoch) {
        for half in self.halves.iter_mut().filter(|half| half.epoch < epoch) {
            half.empty();
        }
    }

    /// Empties what the replica has.
    pub(super) fn forget_replicated(&mut self, replica: Csn) {
        for half in self.halves.iter_mut().filter(|half| half.may_go(Some(replica))) {
            half.empty();
        }
    }

    pub(super) fn empty(&mut self) {
        for half in &mut self.halves {
            half.empty();
        }
    }

    /// Appends a record. `replica` is how far the replica of its epoch goes, if that is known.
    pub(super) fn append(&mut self, record: &Record, replica: Option<Csn>) -> Result<()> {
        let other = 1 - self.active;
        if self.halves[self.active].end > TURN && self.halves[other].may_go(replica) {
            self.halves[other].empty();
            self.active = other;
        }
        let half = &mut self.halves[self.active];
        half.append(record).map_err(Fault::io("write", Path::new("journal")))?;
        if let Record::Told { answered: Some((client, request)), events, .. } = record {
            let last = events.last().map_or(Csn(0), |event| Csn(event.csn));
            self.answered(client, *request, last);
        }
        Ok(())
    }

    /// A request was answered, when the log went as far as `csn`.
    pub(super) fn answered(&mut self, client: &Id, request: RequestNo, csn: Csn) {
        for half in &mut self.halves {
            if half.open.remove(&(client.clone(), request)).is_some() {
                half.covers = half.covers.max(csn);
            }
        }
    }
}

impl Half {
    fn load(mut file: File) -> std::io::Result<Self> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (records, end) = decode_all(&bytes);
        let mut half = Self { file, end, epoch: Epoch(0), covers: Csn(0), open: HashMap::new() };
        for record in &records {
            half.count(record);
        }
        Ok(half)
    }

    /// The requests whose answers stand here.
    fn answers(&mut self) -> Result<HashSet<(Id, RequestNo)>> {
        let records = read(&self.file).map_err(Fault::io("read", Path::new("journal")))?;
        let answered = |record| match record {
            Record::Told { answered, .. } => answered,
            Record::Intent { .. } => None,
        };
        Ok(records.into_iter().filter_map(answered).collect())
    }

    fn count(&mut self, record: &Record) {
        let of = match record {
            Record::Intent { epoch, client, request, .. } => {
                self.open.insert((client.clone(), *request), *epoch);
                *epoch
            }
            Record::Told { epoch, .. } => *epoch,
        };
        if of > self.epoch {
            (self.epoch, self.covers) = (of, Csn(0));
        }
        if let Record::Told { events, .. } = record
            && of == self.epoch
            && let Some(last) = events.last()
        {
            self.covers = self.covers.max(Csn(last.csn));
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
                Ok(file) => records.extend(read(&file).map_err(Fault::io("read", &path))?),
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

/// The records of a file, whatever its cursor.
fn read(file: &File) -> std::io::Result<Vec<Record>> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(0)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(decode_all(&bytes[..filled]).0)
}

/// The standard library opens with O_CLOEXEC: children do not inherit the lock.
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}
