//! How far this host knows the log of Redis: two small marks in a file that all its processes share.
//!
//! A mark is a claim that may lag but never leads: everything up to it *is* in a journal or in the replica. Two processes that
//! write at once may set it back, which costs repeated events and nothing else.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use agentcoord_core::ids::{Csn, Epoch};

/// Bytes of a mark: epoch, csn, and a sum over both.
const MARK: usize = 24;

/// The file of marks.
#[derive(Debug)]
pub(crate) struct Extent {
    file: File,
}

/// Which mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// What journals and replica together know.
    Known = 0,
    /// What the replica has committed.
    Replica = 1,
}

impl Extent {
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Ok(Self { file })
    }

    /// The mark of an epoch; none when it is of another one, torn, or not written yet.
    pub(crate) fn get(&self, mark: Mark, epoch: Epoch) -> Option<Csn> {
        let mut bytes = [0; MARK];
        self.file.read_exact_at(&mut bytes, mark as u64 * MARK as u64).ok()?;
        let number = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or_default();
        let (of, csn, sum) = (number(0), number(8), number(16));
        (of == epoch.0 && sum == check(of, csn)).then_some(Csn(csn))
    }

    /// Sets a mark. One that cannot be written only lags.
    pub(crate) fn set(&self, mark: Mark, epoch: Epoch, csn: Csn) {
        let mut bytes = [0; MARK];
        for (at, number) in [epoch.0, csn.0, check(epoch.0, csn.0)].into_iter().enumerate() {
            bytes[at * 8..at * 8 + 8].copy_from_slice(&number.to_le_bytes());
        }
        drop(self.file.write_all_at(&bytes, mark as u64 * MARK as u64));
    }
}

/// Differs when any bit of either does: a mark that mixes two writes is no mark.
fn check(epoch: u64, csn: u64) -> u64 {
    (epoch.rotate_left(32) ^ csn).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_belong_to_their_epoch_and_a_torn_one_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("extent");
        let extent = Extent::open(&path).expect("a file");
        assert_eq!(extent.get(Mark::Known, Epoch(7)), None);
        extent.set(Mark::Known, Epoch(7), Csn(3));
        extent.set(Mark::Replica, Epoch(7), Csn(2));
        assert_eq!(extent.get(Mark::Known, Epoch(7)), Some(Csn(3)));
        assert_eq!(extent.get(Mark::Replica, Epoch(7)), Some(Csn(2)));
        assert_eq!(extent.get(Mark::Known, Epoch(8)), None);
        let torn = OpenOptions::new().write(true).open(&path).expect("a file");
        torn.write_all_at(&9u64.to_le_bytes(), 8).expect("writable");
        assert_eq!(extent.get(Mark::Known, Epoch(7)), None);
    }
}
