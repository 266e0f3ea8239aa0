//! What goes wrong below the rules, and the one place where it becomes a public error.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agentcoord_core::Error;
use agentcoord_core::ids::RequestNo;
use rusqlite::ErrorCode;

/// A fault of the file engine. Cheap to clone: one failed commit answers a whole batch.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("cannot {doing}")]
    Sqlite { doing: &'static str, source: Arc<rusqlite::Error> },
    #[error("cannot {doing} {}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: Arc<io::Error> },
    #[error(
        "{what} has been busy for {} s{}; if it hangs, end it and try again", waited.as_secs(),
        pid.map(|p| format!(": process {p} sits in it")).unwrap_or_default()
    )]
    Stuck { what: &'static str, pid: Option<u32>, waited: std::time::Duration },
    #[error("the state directory {} was removed or replaced while this process used it; start again", path.display())]
    Removed { path: PathBuf },
    #[error("this namespace has no engine yet")]
    NoMode,
}

impl Fault {
    pub(crate) fn sqlite(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |e| Self::Sqlite { doing, source: Arc::new(e) }
    }

    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |e| Self::Io { doing, path, source: Arc::new(e) }
    }

    pub(crate) fn errno(doing: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.to_owned();
        move |e| Self::Io { doing, path, source: Arc::new(e.into()) }
    }

    /// The error for a request whose commit failed. After an I/O error nobody knows what reached the disk.
    pub(crate) fn at_commit(self, request: RequestNo) -> Error {
        match &self {
            Self::Sqlite { source, .. } if source.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) => {
                Error::OutcomeUnknown { request, source: Some(Box::new(self)) }
            }
            _ => self.into(),
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let reason = fault.to_string();
        let unavailable = |reason: String, fault: Fault| Error::Unavailable { reason, source: Some(Box::new(fault)) };
        match &fault {
            Fault::Sqlite { source, .. } => match source.sqlite_error_code() {
                Some(code) => match hint(code) {
                    Hint::Unavailable(hint) => unavailable(format!("{reason}: {hint}"), fault),
                    Hint::Corrupt => Error::corrupt("database", fault),
                    Hint::Fault => Error::backend(reason, fault),
                },
                None => Error::backend(reason, fault),
            },
            Fault::Io { source, .. } => unavailable(format!("{reason}: {source}"), fault),
            Fault::Stuck { .. } | Fault::Removed { .. } | Fault::NoMode => unavailable(reason, fault),
        }
    }
}

enum Hint {
    Unavailable(&'static str),
    Corrupt,
    Fault,
}

fn hint(code: ErrorCode) -> Hint {
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            Hint::Unavailable("the database is locked by another program")
        }
        ErrorCode::DiskFull => Hint::Unavailable("the disk is full"),
        ErrorCode::ReadOnly => Hint::Unavailable("the database is read-only"),
        ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => {
            Hint::Unavailable("permission denied")
        }
        ErrorCode::CannotOpen => Hint::Unavailable("the database file cannot be opened"),
        ErrorCode::SystemIoFailure => Hint::Unavailable("an I/O error"),
        ErrorCode::OutOfMemory => Hint::Unavailable("out of memory"),
        ErrorCode::FileLockingProtocolFailed => Hint::Unavailable("file locks do not work here"),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Hint::Corrupt,
        _ => Hint::Fault,
    }
}
