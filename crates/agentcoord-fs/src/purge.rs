//! A namespace off the disk for good: moved out of the way in one step, so that nobody finds a part of it, then deleted.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use agentcoord_core::ids::Id;
use agentcoord_core::{Error, Result};
use rustix::fs::fsync;

use crate::error::Fault;
use crate::layout;
use crate::mode::ModeLock;
use crate::namespace::Namespace;
use crate::reads;
use crate::state_dir::StateDir;

impl StateDir {
    /// The namespaces that lie here, by name.
    ///
    /// # Errors
    /// `Unavailable` when they cannot be listed.
    pub fn namespaces(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = entries(&layout::namespaces(self.path()))?
            .iter()
            .filter_map(|path| path.file_name()?.to_str().map(ToOwned::to_owned))
            .filter(|name| layout::namespace(self.path(), name).is_ok())
            .collect();
        names.sort();
        Ok(names)
    }
}

impl Namespace {
    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.files().database.parent().unwrap_or(Path::new("."))
    }

    /// Deletes it with everything in it. Whoever has it open is told that it was removed. When it `serves`, it stays as
    /// long as a session lives in it.
    ///
    /// # Errors
    /// `Refused` while a session lives in it; `Unavailable`: then it may be half deleted, but out of everybody's way.
    pub fn purge(&self, lock: &ModeLock, serves: bool) -> Result<()> {
        // Since nobody can change the mode, nobody can begin to serve either.
        lock.row()?;
        // Nobody can write until it is out of the way; who then comes through finds that it is gone.
        let passage = self.turnstile().pass()?;
        self.still_there()?;
        let sessions = if serves { reads::state(&self.reader())?.counts.sessions } else { 0 };
        if sessions > 0 {
            let reason = format!("{sessions} sessions live in namespace {}; end them first", self.name());
            return Err(Error::Refused { policy: "sessions_live", reason });
        }
        let dir = self.directory();
        let all = dir.parent().unwrap_or(dir);
        let doomed = layout::doomed(dir, &Id::random());
        fs::rename(dir, &doomed).map_err(Fault::io("move", dir))?;
        drop(passage);
        let parent = fs::File::open(all).map_err(Fault::io("open", all))?;
        fsync(parent).map_err(Fault::errno("write", all))?;
        delete(&doomed)?;
        // What was cut off here before.
        for left in entries(all)?.iter().filter(|path| layout::is_doomed(path)) {
            delete(left)?;
        }
        Ok(())
    }
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let list = || fs::read_dir(dir)?.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<Vec<_>>>();
    Ok(list().map_err(Fault::io("list", dir))?)
}

fn delete(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        // Another purge is as good.
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Fault::io("delete", dir)(e).into()),
        _ => Ok(()),
    }
}
