//! The last head of the audit log that this host has seen sealed, in a file of its own: who changes the engine's records
//! and their seals does not change it along with them.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use agentcoord_core::audit::chain::Head;
use agentcoord_core::{Error, Result};
use rustix::fs::{FlockOperation, flock};

use crate::error::Fault;
use crate::namespace::Namespace;

impl Namespace {
    /// The file.
    #[must_use]
    pub fn kept_head_file(&self) -> &Path {
        &self.files().audit_head
    }

    /// The head that is kept; none when nothing was sealed from here yet.
    ///
    /// # Errors
    /// `Corrupt` when the file holds something else.
    pub fn kept_head(&self) -> Result<Option<Head>> {
        let path = self.kept_head_file();
        match File::open(path) {
            Ok(file) => self.read_head(&file),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Fault::io("open", path)(e).into()),
        }
    }

    /// Keeps a head instead of the one that the caller has seen here. False when it is another one by now.
    ///
    /// # Errors
    /// As [`Namespace::kept_head`].
    pub fn keep_head(&self, seen: Option<Head>, head: Head) -> Result<bool> {
        let path = self.kept_head_file();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(Fault::io("open", path))?;
        rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
            .map_err(Fault::errno("lock", path))?;
        if self.read_head(&file)? != seen {
            return Ok(false);
        }
        // One short write over the line that was there: whoever reads meanwhile finds the old head or the new one.
        let line = format!("{head}\n");
        file.write_all_at(line.as_bytes(), 0).map_err(Fault::io("write", path))?;
        file.set_len(line.len() as u64).map_err(Fault::io("write", path))?;
        Ok(true)
    }

    fn read_head(&self, mut file: &File) -> Result<Option<Head>> {
        let path = self.kept_head_file();
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(Fault::io("read", path))?;
        match text.lines().next() {
            None => Ok(None),
            Some(line) => {
                line.parse().map(Some).map_err(|e: Error| Error::corrupt(path.to_string_lossy().into_owned(), e))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_dir::StateDir;

    #[test]
    fn head_is_kept_when_nobody_else_was_faster() {
        let dir = tempfile::tempdir().expect("a directory");
        let namespace = Namespace::open(&StateDir::open(dir.path()).expect("a state directory"), "n").expect("a name");
        let (one, two) = (Head::START.then(1, "a"), Head::START.then(1, "a").then(2, "b"));
        assert_eq!(namespace.kept_head().expect("readable"), None);
        assert!(namespace.keep_head(None, two).expect("writable"));
        assert!(!namespace.keep_head(None, one).expect("writable"));
        assert_eq!(namespace.kept_head().expect("readable"), Some(two));
        assert!(namespace.keep_head(Some(two), one).expect("writable"));
        assert_eq!(namespace.kept_head().expect("readable"), Some(one));
        std::fs::write(namespace.kept_head_file(), "nonsense\n").expect("writable");
        assert!(matches!(namespace.kept_head(), Err(Error::Corrupt { .. })));
    }
}
