//! Hearing that a file is written, through the kernel.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::namespace::identity;

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Writes, or nothing.
    Rings,
    /// So many that some were lost.
    Overflow,
    /// The file was removed: nothing more will be heard.
    Gone,
}

/// A file that is listened to. Ready to be read when there is something to hear.
#[derive(Debug)]
pub(crate) struct Watch {
    inotify: OwnedFd,
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

impl Watch {
    /// Begins to listen to a file.
    pub(crate) fn on(path: &Path) -> Result<Self, Errno> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let file = identity(path).ok_or(Errno::NOENT)?;
        // Processes keep the file open, so its removal shows as a change of its attributes.
        inotify::add_watch(&inotify, path, WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::MOVE_SELF)?;
        Ok(Self { inotify, path: path.to_owned(), file })
    }

    /// Takes up what was heard.
    pub(crate) fn drain(&self) -> Heard {
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut heard = Heard::Rings;
        loop {
            match reader.next() {
                Ok(event) if self.is_end(event.events()) => return Heard::Gone,
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => heard = Heard::Overflow,
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return heard,
            }
        }
    }

    /// Whether the file is no longer where it was. Its attributes also change when it is touched, or linked by a backup.
    fn is_end(&self, events: ReadFlags) -> bool {
        events.contains(ReadFlags::IGNORED)
            || events.intersects(ReadFlags::ATTRIB | ReadFlags::MOVE_SELF) && identity(&self.path) != Some(self.file)
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_gone_when_it_is_removed_and_not_when_it_is_touched() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bell");
        let file = std::fs::File::create(&path).expect("a file");
        let watch = Watch::on(&path).expect("inotify");
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("its own file");
        std::fs::hard_link(&path, dir.path().join("backup")).expect("another name");
        assert_eq!(watch.drain(), Heard::Rings);
        std::fs::remove_file(&path).expect("it is there");
        assert_eq!(watch.drain(), Heard::Gone);
    }
}
