//! Which directories are accepted, and the host id.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agentcoord_core::Error;
use agentcoord_fs::{Namespace, StateDir};

fn refused(path: &Path) -> String {
    match StateDir::open(path) {
        Err(error @ Error::Invalid { field: "state-dir", .. }) => error.to_string(),
        other => panic!("{}: {other:?}", path.display()),
    }
}

#[test]
fn new_directory_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    let state_dir = StateDir::open(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    let _namespace = Namespace::open(&state_dir, "n").unwrap();
    assert_eq!(std::fs::metadata(path.join("namespaces/n")).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn file_is_refused_as_state_directory() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert!(refused(&file).contains("this is a file"));
    assert!(refused(&file.join("below")).contains("this is a file"));
    assert!(refused(Path::new("")).contains("a directory"));
}

#[test]
fn directory_that_cannot_be_written_is_refused() {
    // Nobody can create files there, root neither.
    let text = refused(Path::new("/sys/kernel"));
    assert!(text.contains("may write") || text.contains("read-only"), "{text}");
}

#[test]
fn namespace_names_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = StateDir::open(dir.path()).unwrap();
    for bad in ["", "..", ".x", "a/b", "a b", "é", &"x".repeat(65)] {
        let error = Namespace::open(&state_dir, bad).unwrap_err();
        assert!(matches!(error, Error::Invalid { field: "namespace", .. }), "{bad:?}: {error:?}");
    }
    assert_eq!(std::fs::read_dir(dir.path().join("namespaces")).unwrap().count(), 0);
}

#[test]
fn host_id_stays_until_the_directory_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let (first, copy) = (dir.path().join("first"), dir.path().join("copy"));
    let id = StateDir::open(&first).unwrap().host_id().unwrap();
    assert_eq!(StateDir::open(&first).unwrap().host_id().unwrap(), id);

    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(first.join("host"), copy.join("host")).unwrap();
    let copied = StateDir::open(&copy).unwrap().host_id().unwrap();
    assert_ne!(copied, id);
    assert_eq!(StateDir::open(&copy).unwrap().host_id().unwrap(), copied);
    assert_eq!(StateDir::open(&first).unwrap().host_id().unwrap(), id);
}

#[test]
fn threads_that_start_together_agree_on_the_host_id() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = StateDir::open(dir.path()).unwrap();
    let threads: Vec<_> =
        (0..8).map(|_| state_dir.clone()).map(|s| std::thread::spawn(move || s.host_id().unwrap())).collect();
    let ids: std::collections::HashSet<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert_eq!(ids.len(), 1);
}
