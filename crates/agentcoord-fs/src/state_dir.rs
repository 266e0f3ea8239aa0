//! The state directory: checked once when it is opened, and the host id that is kept in it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use agentcoord_core::ids::Id;
use agentcoord_core::{Error, Result};
use rustix::fs::{Access, FlockOperation, access, fdatasync, flock, statfs};
use rustix::io::Errno;

use crate::clock::boot_id;
use crate::error::Fault;
use crate::layout;

/// A directory that holds namespaces. Only its owner can read it.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Opens the directory, and creates it (mode 0700, with its parents) when it is not there.
    ///
    /// # Errors
    /// `Invalid` when it is a file, cannot be written, or lies on a network file system; `Unavailable` on I/O errors.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        match fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
            Ok(()) => {}
            Err(e) => return Err(refusal(path, e, "create")),
        }
        let path = path.canonicalize().map_err(|e| refusal(path, e, "open"))?;
        let kind = statfs(&path).map_err(|e| refusal(&path, e.into(), "look at"))?.f_type;
        // Magic numbers have 32 bits; the field is wider and signed on some machines.
        if let Some(name) = network_file_system(kind as u32) {
            let allowed = format!("a directory on a local disk: this one is on {name}, where file locks do not hold");
            return Err(Error::invalid("state-dir", path.to_string_lossy(), allowed));
        }
        let namespaces = layout::namespaces(&path);
        match fs::DirBuilder::new().mode(0o700).create(&namespaces) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(refusal(&path, e, "write in")),
            _ => {}
        }
        let usable = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
        access(&namespaces, usable).map_err(|e| refusal(&path, e.into(), "write in"))?;
        Ok(Self { path })
    }

    /// Its canonical path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The random id of this host as far as this directory goes. It changes when the directory is copied or moved to
    /// another machine, so that a copy is never taken for the original.
    pub fn host_id(&self) -> Result<Id> {
        let file = layout::host(&self.path);
        let here = Binding::of(&self.path)?;
        if let Some((id, bound)) = read_host(&file)
            && bound.fits(&here)
        {
            return Ok(id);
        }
        // Two processes that find no id must not make two: the second sees the first one's.
        let dir = File::open(&self.path).map_err(Fault::io("open", &self.path))?;
        flock(&dir, FlockOperation::LockExclusive).map_err(Fault::errno("lock", &self.path))?;
        if let Some((id, bound)) = read_host(&file)
            && bound.fits(&here)
        {
            return Ok(id);
        }
        let id = Id::random();
        let draft = layout::draft(&file);
        let written = (|| {
            let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            writeln!(out, "{id} {} {} {} {}", here.machine, here.inode, here.device, here.boot)?;
            fdatasync(&out)?;
            fs::rename(&draft, &file)
        })();
        written.map_err(Fault::io("write", &file))?;
        Ok(id)
    }
}

impl StateDir {
    /// The namespace of this directory when nobody names one: a random name that is kept here.
    pub fn own_namespace(&self) -> Result<String> {
        let file = layout::own_namespace(&self.path);
        let read = || fs::read_to_string(&file).ok().map(|text| text.trim().to_owned()).filter(|name| !name.is_empty());
        if let Some(name) = read() {
            return Ok(name);
        }
        let dir = File::open(&self.path).map_err(Fault::io("open", &self.path))?;
        flock(&dir, FlockOperation::LockExclusive).map_err(Fault::errno("lock", &self.path))?;
        if let Some(name) = read() {
            return Ok(name);
        }
        let name = Id::random().to_string()[..16].to_owned();
        let draft = layout::draft(&file);
        fs::write(&draft, &name).and_then(|()| fs::rename(&draft, &file)).map_err(Fault::io("write", &file))?;
        Ok(name)
    }
}

/// What a host id is bound to.
struct Binding {
    machine: String,
    inode: u64,
    device: u64,
    boot: String,
}

impl Binding {
    fn of(dir: &Path) -> Result<Self> {
        let meta = fs::metadata(dir).map_err(Fault::io("look at", dir))?;
        let word = |text: String| Some(text.trim().replace(char::is_whitespace, "")).filter(|t| !t.is_empty());
        let machine = fs::read_to_string("/etc/machine-id").ok().and_then(word).unwrap_or_else(|| "-".into());
        let boot = word(boot_id()).unwrap_or_else(|| "-".into());
        Ok(Self { machine, inode: meta.ino(), device: meta.dev(), boot })
    }

    /// Device numbers of some file systems change when they are mounted, so they count within one boot only.
    fn fits(&self, now: &Self) -> bool {
        self.machine == now.machine && self.inode == now.inode && (self.boot != now.boot || self.device == now.device)
    }
}

fn read_host(file: &Path) -> Option<(Id, Binding)> {
    let text = fs::read_to_string(file).ok()?;
    let mut words = text.split_ascii_whitespace();
    let id = words.next()?.parse().ok()?;
    let machine = words.next()?.to_owned();
    let inode = words.next()?.parse().ok()?;
    let device = words.next()?.parse().ok()?;
    let boot = words.next()?.to_owned();
    Some((id, Binding { machine, inode, device, boot }))
}

fn refusal(path: &Path, error: std::io::Error, doing: &'static str) -> Error {
    let given = path.to_string_lossy();
    let invalid = |allowed: &str| Error::invalid("state-dir", &given, allowed);
    match Errno::from_io_error(&error) {
        Some(Errno::EXIST | Errno::NOTDIR) => invalid("a directory; this is a file or leads through one"),
        Some(Errno::ROFS) => invalid("a directory that can be written; this file system is read-only"),
        Some(Errno::ACCESS | Errno::PERM) => {
            invalid("a directory that you may write; change its permissions or name another one")
        }
        Some(Errno::NAMETOOLONG) => invalid("a shorter path"),
        _ if path.as_os_str().is_empty() => invalid("a directory"),
        _ => Fault::io(doing, path)(error).into(),
    }
}

/// The name of a file system on which locks of other hosts do not hold; see statfs(2) for the numbers.
fn network_file_system(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0x517B => "SMB",
        0xFF53_4D42 => "CIFS",
        0xFE53_4D42 => "SMB 2",
        0x5346_414F | 0x6B41_4653 => "AFS",
        0x00C3_6400 => "Ceph",
        0x0BD0_0BD0 => "Lustre",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(machine: &str, inode: u64, device: u64, boot: &str) -> Binding {
        Binding { machine: machine.into(), inode, device, boot: boot.into() }
    }

    #[test]
    fn binding_survives_a_reboot_but_not_another_machine_or_inode() {
        let made = binding("m", 7, 1, "a");
        assert!(made.fits(&binding("m", 7, 1, "a")));
        assert!(made.fits(&binding("m", 7, 2, "b")));
        assert!(!made.fits(&binding("m", 7, 2, "a")));
        assert!(!made.fits(&binding("m", 8, 1, "a")));
        assert!(!made.fits(&binding("n", 7, 1, "a")));
    }

    #[test]
    fn network_file_systems_are_known_by_their_magic_numbers() {
        assert_eq!(network_file_system(0x6969), Some("NFS"));
        assert_eq!(network_file_system(0xEF53), None); // ext4
        assert_eq!(network_file_system(0x6573_5546), None); // FUSE
    }
}
