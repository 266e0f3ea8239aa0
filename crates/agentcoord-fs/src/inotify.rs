//! Hearing that a file is written, through the kernel.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

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

/// Begins to listen to a file.
pub(crate) fn watch(file: &Path) -> Result<OwnedFd, Errno> {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    // Processes keep the file open, so its removal shows as a change of its attributes.
    inotify::add_watch(&watch, file, WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::MOVE_SELF)?;
    Ok(watch)
}

/// Takes up what was heard.
pub(crate) fn drain(watch: &OwnedFd) -> Heard {
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut reader = inotify::Reader::new(watch, &mut buffer);
    let mut heard = Heard::Rings;
    loop {
        match reader.next() {
            Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => heard = Heard::Overflow,
            Ok(event) if event.events().intersects(ReadFlags::IGNORED | ReadFlags::ATTRIB | ReadFlags::MOVE_SELF) => {
                return Heard::Gone;
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return heard,
        }
    }
}
