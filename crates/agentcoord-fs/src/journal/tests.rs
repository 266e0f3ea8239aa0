//! Journals as their namespace sees them.

use tempfile::TempDir;

use super::*;
use crate::mode::{ModeRow, Phase};
use crate::state_dir::StateDir;

const EPOCH: Epoch = Epoch(7);

/// A namespace that Redis serves, and the directory that it lies in.
fn stage() -> (TempDir, Namespace) {
    let dir = tempfile::tempdir().expect("a directory");
    let state_dir = StateDir::open(dir.path()).expect("a state directory");
    let namespace = Namespace::open(&state_dir, "n").expect("a namespace");
    let lock = namespace.lock_mode().expect("nobody else is here");
    lock.write(&ModeRow::serving(EPOCH, ModeEngine::Redis)).expect("the first row");
    drop(lock);
    (dir, namespace)
}

/// The journals of two processes, from the beginning of the epoch on.
fn two_journals(namespace: &Namespace) -> (Journal, Journal) {
    let open = || {
        let journal = namespace.open_journal(Durability::Process).expect("a slot");
        journal.begin(EPOCH, Csn(0));
        journal
    };
    (open(), open())
}

#[test]
fn what_others_know_does_not_count_once_a_take_over_has_begun() {
    let (_dir, namespace) = stage();
    let (one, two) = two_journals(&namespace);
    let lock = namespace.lock_mode().expect("nobody else is here");
    lock.write(&ModeRow { phase: Phase::Preparing, ..ModeRow::serving(Epoch(8), ModeEngine::Files) }).expect("a row");
    // Its journal was read already, and this is not acknowledged to anybody.
    one.note(EPOCH, None, told(0, 1)).expect("written");
    assert_eq!(two.known(EPOCH), Csn(0));
}

fn told(after: u64, to: u64) -> Told<()> {
    let logged = |csn| Logged { csn: Csn(csn), event: vec![1; 10], state: vec![2; 10] };
    Told { answer: (), after: Csn(after), events: (after + 1..=to).map(logged).collect() }
}

fn numbers(found: &Found) -> Vec<u64> {
    found.events.keys().map(|csn| csn.0).collect()
}

#[test]
fn what_was_told_is_found_by_others_and_known_to_them() {
    let (_dir, namespace) = stage();
    let (one, two) = (namespace.open_journal(Durability::Process), namespace.open_journal(Durability::Process));
    let (one, two) = (one.expect("a slot"), two.expect("another slot"));
    one.begin(EPOCH, Csn(4));
    two.begin(EPOCH, Csn(4));
    assert_eq!(one.note(EPOCH, None, told(4, 6)).expect("written"), Noted::Kept);
    assert_eq!(two.known(EPOCH), Csn(6));
    assert_eq!(two.note(EPOCH, None, told(6, 7)).expect("written"), Noted::Kept);
    assert_eq!(numbers(&namespace.read_journals(EPOCH).expect("readable")), [5, 6, 7]);
    assert!(namespace.read_journals(Epoch(8)).expect("readable").events.is_empty(), "records belong to their epoch");
}

#[test]
fn what_comes_early_is_kept_once_what_was_missing_has_come() {
    let (_dir, namespace) = stage();
    let journal = namespace.open_journal(Durability::Process).expect("a slot");
    journal.begin(EPOCH, Csn(0));
    assert_eq!(journal.note(EPOCH, None, told(2, 3)).expect("kept back"), Noted::Early(Csn(1)));
    assert!(namespace.read_journals(EPOCH).expect("readable").events.is_empty());
    assert_eq!(journal.note(EPOCH, None, told(0, 2)).expect("written"), Noted::Kept);
    assert_eq!(journal.known(EPOCH), Csn(3));
    assert_eq!(numbers(&namespace.read_journals(EPOCH).expect("readable")), [1, 2, 3]);
}

#[test]
fn late_news_of_an_epoch_that_is_over_is_not_written() {
    let (_dir, namespace) = stage();
    let journal = namespace.open_journal(Durability::Process).expect("a slot");
    journal.begin(Epoch(9), Csn(0));
    assert_eq!(journal.note(EPOCH, None, told(0, 1)).expect("no error"), Noted::Over);
    assert!(namespace.read_journals(EPOCH).expect("readable").events.is_empty());
}

#[test]
fn requests_of_a_process_that_has_ended_are_found_and_their_texts_too() {
    let (_dir, namespace) = stage();
    let (client, own) = (Id::random(), namespace.open_journal(Durability::Process).expect("a slot"));
    own.begin(EPOCH, Csn(0));
    let dead = namespace.open_journal(Durability::Process).expect("a slot");
    dead.begin(EPOCH, Csn(0));
    let blob = Blob { name: "task/x/payload".into(), bytes: vec![7; 3] };
    for number in 1..=3 {
        dead.intend(EPOCH, &client, RequestNo(number), std::slice::from_ref(&blob)).expect("written");
    }
    dead.note(EPOCH, Some((&client, RequestNo(2))), told(0, 1)).expect("written");
    assert!(namespace.orphaned_journals(EPOCH, &own).is_empty(), "its process lives");
    drop(dead);
    let mut orphaned = namespace.orphaned_journals(EPOCH, &own).pop().expect("a slot without a process");
    let requests = orphaned.requests();
    assert_eq!(requests.iter().map(|o| o.request.0).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(namespace.read_journals(EPOCH).expect("readable").blobs["task/x/payload"], [7; 3]);
    orphaned.settled(&requests, Csn(2)).expect("written");
    orphaned.tidy(Csn(1));
    assert!(!namespace.read_journals(EPOCH).expect("readable").events.is_empty(), "the replica lacks something");
    let orphaned = namespace.orphaned_journals(EPOCH, &own).pop().expect("still there");
    assert_eq!(orphaned.requests(), [], "they are not settled twice");
    orphaned.tidy(Csn(2));
    assert!(namespace.read_journals(EPOCH).expect("readable").events.is_empty());
}

#[test]
fn texts_stay_until_the_replica_has_their_event_whoever_was_told_of_it_first() {
    let (_dir, namespace) = stage();
    let (one, two) = two_journals(&namespace);
    let (client, blob) = (Id::random(), Blob { name: "task/x/payload".into(), bytes: vec![7; 3] });
    one.intend(EPOCH, &client, RequestNo(1), &[blob]).expect("written");
    two.note(EPOCH, None, told(0, 1)).expect("written");
    assert_eq!(one.known(EPOCH), Csn(1));
    one.note(EPOCH, Some((&client, RequestNo(1))), told(0, 1)).expect("written");
    let texts = || namespace.read_journals(EPOCH).expect("readable").blobs.len();
    one.begin(EPOCH, Csn(0));
    assert_eq!(texts(), 1);
    drop(one);
    let next = namespace.open_journal(Durability::Process).expect("a slot");
    assert_eq!(next.orphans(), []);
    next.begin(EPOCH, Csn(0));
    assert_eq!(texts(), 1, "the next process with this slot has kept them");
    next.begin(EPOCH, Csn(1));
    assert_eq!(texts(), 0);
}

#[test]
fn a_request_that_is_given_up_keeps_its_file_until_it_is_settled() {
    let (_dir, namespace) = stage();
    let journal = namespace.open_journal(Durability::Process).expect("a slot");
    journal.begin(EPOCH, Csn(0));
    let (client, request) = (Id::random(), RequestNo(1));
    journal.give_up(&client, request);
    journal.intend(EPOCH, &client, request, &[]).expect("written");
    assert_eq!(journal.orphans(), [], "somebody waits for its answer");
    journal.give_up(&client, request);
    let orphans = journal.orphans();
    assert_eq!(orphans, [Orphan { client, request }]);
    journal.begin(EPOCH, Csn(9));
    assert!(namespace.journals().0 > 0, "it is not known what became of it");
    journal.settled(&orphans, Csn(10)).expect("written");
    assert_eq!(journal.orphans(), []);
    journal.begin(EPOCH, Csn(9));
    assert!(namespace.journals().0 > 0, "it may have happened in an event that the replica lacks");
    journal.begin(EPOCH, Csn(10));
    assert_eq!(namespace.journals().0, 0);
}

#[test]
fn a_request_of_an_epoch_that_is_over_is_not_written() {
    let (_dir, namespace) = stage();
    let journal = namespace.open_journal(Durability::Process).expect("a slot");
    journal.begin(Epoch(9), Csn(0));
    let refused = journal.intend(EPOCH, &Id::random(), RequestNo(1), &[]);
    assert!(matches!(refused, Err(Error::Fenced { epoch: EPOCH, .. })), "{refused:?}");
    assert_eq!(namespace.journals().0, 0);
}

#[test]
fn what_tells_nothing_new_is_not_written() {
    let (_dir, namespace) = stage();
    let journal = namespace.open_journal(Durability::Power).expect("a slot");
    journal.begin(EPOCH, Csn(0));
    journal.note(EPOCH, None, told(0, 2)).expect("written");
    let bytes = namespace.journals().0;
    assert_eq!(journal.note(EPOCH, None, told(1, 2)).expect("nothing to write"), Noted::Kept);
    assert_eq!(namespace.journals().0, bytes);
}

#[test]
fn files_take_turns_and_are_emptied_when_the_replica_has_what_they_hold() {
    let (_dir, namespace) = stage();
    let journal = namespace.open_journal(Durability::Process).expect("a slot");
    journal.begin(EPOCH, Csn(0));
    let extent = Extent::open(&namespace.files().extent).expect("a file");
    let mut csn = 0;
    let mut longest = 0;
    for _ in 0..400 {
        let mut news = told(csn, csn + 10);
        for logged in &mut news.events {
            logged.event = vec![0; 1_000];
        }
        journal.note(EPOCH, None, news).expect("written");
        csn += 10;
        if csn % 100 == 0 {
            extent.set(Mark::Replica, EPOCH, Csn(csn - 50));
        }
        longest = longest.max(namespace.journals().0);
        let found = namespace.read_journals(EPOCH).expect("readable");
        let continued = agentcoord_core::replica::continuation(Csn(csn / 100 * 100).min(Csn(csn)), found.events);
        assert!(continued.is_ok(), "nothing is missing");
    }
    assert!(longest < 2_000_000, "{longest} of 4,000,000 bytes");
}
