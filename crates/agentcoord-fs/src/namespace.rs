//! A namespace on disk: its files, its connection for reads, and the mode.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentcoord_core::Result;
use rusqlite::Connection;

use crate::error::Fault;
use crate::gate::Gate;
use crate::layout::{self, Files};
use crate::mode::{self, ModeLock, ModeRow, ModeWord};
use crate::schema;
use crate::state_dir::StateDir;
use crate::turnstile::turnstile;

/// An open namespace. Clones share one connection for reads.
#[derive(Clone, Debug)]
pub struct Namespace {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    dir: PathBuf,
    files: Files,
    /// Device and inode of the database.
    database: (u64, u64),
    word: File,
    bell: File,
    mode_gate: Gate,
    turnstile: Gate,
    reader: Mutex<Connection>,
}

impl Namespace {
    /// Opens a namespace of a state directory, and creates it when it is not there.
    ///
    /// # Errors
    /// `Invalid` for a name that is not 1..=64 of `[A-Za-z0-9._-]` or begins with `.`; `Refused` when a newer version
    /// wrote it; `Corrupt` when its database is none.
    pub fn open(state_dir: &StateDir, name: &str) -> Result<Self> {
        let dir = layout::namespace(state_dir.path(), name)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(Fault::io("create", &dir))?;
        let files = Files::of(&dir);
        let open = |path: &PathBuf| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            options.open(path).map_err(Fault::io("open", path))
        };
        let (word, bell) = (open(&files.mode)?, open(&files.bell)?);
        let (mode_gate, turnstile) = (mode::gate(&files), turnstile(&files));
        let reader = Mutex::new(schema::open(&files, &mode_gate)?);
        let database = identity(&files.database).ok_or_else(|| Fault::Removed { path: dir.clone() })?;
        let name = name.to_owned();
        let inner = Inner { name, dir, files, database, word, bell, mode_gate, turnstile, reader };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The mode word. None: not written yet, or unreadable; look at the [`Namespace::row`] then.
    ///
    /// A directory that was removed has no word either, so that two processes never serve on two stores of one name.
    #[must_use]
    pub fn word(&self) -> Option<ModeWord> {
        let linked = self.inner.word.metadata().is_ok_and(|meta| meta.nlink() > 0);
        linked.then(|| mode::read_word(&self.inner.word)).flatten()
    }

    /// The mode row; none before an engine was chosen.
    pub fn row(&self) -> Result<Option<ModeRow>> {
        self.still_there()?;
        mode::read_row(&self.reader())
    }

    /// Waits for the right to change the mode, at most 10 s.
    ///
    /// # Errors
    /// `Unavailable` naming the process that has it. The lock is never broken; it ends with its process.
    pub fn lock_mode(&self) -> Result<ModeLock> {
        ModeLock::take(self)
    }

    /// Fails when the database was removed or replaced below this process: others would work on another one.
    ///
    /// By its path, because to open and close the file would let go of SQLite's locks on it.
    pub(crate) fn still_there(&self) -> Result<(), Fault> {
        if identity(&self.inner.files.database) == Some(self.inner.database) {
            return Ok(());
        }
        Err(Fault::Removed { path: self.inner.dir.clone() })
    }

    pub(crate) fn files(&self) -> &Files {
        &self.inner.files
    }

    pub(crate) fn word_file(&self) -> &File {
        &self.inner.word
    }

    /// What whoever changes the mode passes.
    pub(crate) fn mode_gate(&self) -> &Gate {
        &self.inner.mode_gate
    }

    /// What whoever writes passes.
    pub(crate) fn turnstile(&self) -> &Gate {
        &self.inner.turnstile
    }

    pub(crate) fn bell(&self) -> &File {
        &self.inner.bell
    }

    pub(crate) fn reader(&self) -> MutexGuard<'_, Connection> {
        self.inner.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Device and inode of the file that has this name now.
pub(crate) fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}
