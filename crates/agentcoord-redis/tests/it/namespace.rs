//! Founding a namespace and raising its epoch.

use std::time::Duration;

use agentcoord_core::Error;
use agentcoord_core::ids::Epoch;
use agentcoord_core::record::{PulseRecord, Shape};
use agentcoord_core::table::Table;
use agentcoord_redis::{Deadlines, Meta, Role, Writeback, close, found, raise, reopen, survey};

use crate::server::{Desk, Server, acquire};

/// Longer than anything that is waited for here.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_namespace_is_founded_once_and_shown_to_the_second_founder() {
    let server = Server::start().await;
    let deadlines = Deadlines::default();
    let before = survey(&server.url(), "shop", deadlines).await.unwrap();
    assert_eq!((before.role, before.meta), (Role::Primary, None));
    assert_eq!(before.run_id.len(), 40);
    let ours = Meta::new(Epoch(5), "ours", "1", "/home/ann");
    let theirs = Meta::new(Epoch(6), "theirs", "1", "/home/bob");
    assert_eq!(found(&server.url(), "shop", &ours, deadlines).await.unwrap(), ours);
    assert_eq!(found(&server.url(), "shop", &theirs, deadlines).await.unwrap(), ours);
    assert_eq!(survey(&server.url(), "shop", deadlines).await.unwrap().meta, Some(ours));
    assert_eq!(survey(&server.url(), "shop2", deadlines).await.unwrap().meta, None);
}

#[tokio::test]
async fn an_epoch_is_raised_by_one_of_two_and_never_lowered() {
    let server = Server::start().await;
    let deadlines = Deadlines::default();
    found(&server.url(), "shop", &Meta::new(Epoch(5), "ours", "1", "ann"), deadlines).await.unwrap();
    let move_on = async |instance: &str, from, to| {
        let seen = Meta::new(Epoch(from), instance, "1", "ann");
        let answer = raise(&server.url(), "shop", &seen, Epoch(to), "1", deadlines).await;
        answer.unwrap().epoch
    };
    assert_eq!(move_on("ours", 5, 7).await, Epoch(7));
    assert_eq!(move_on("ours", 5, 8).await, Epoch(7));
    assert_eq!(move_on("theirs", 7, 8).await, Epoch(7));
    assert_eq!(move_on("ours", 7, 6).await, Epoch(7));
}

#[tokio::test]
async fn raising_a_namespace_that_does_not_exist_founds_nothing() {
    let server = Server::start().await;
    let seen = Meta::new(Epoch(1), "ours", "1", "ann");
    let raised = raise(&server.url(), "shop", &seen, Epoch(2), "1", Deadlines::default()).await;
    assert!(crate::server::unavailable(raised).contains("does not exist"));
    assert_eq!(server.run::<u64>(&["DBSIZE"]).await, 0);
}

#[tokio::test]
async fn what_is_closed_runs_no_step_and_opens_for_its_attempt_only() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    let (url, name, deadlines) = (server.url(), desk.namespace.as_str(), Deadlines::default());
    let old = &desk.admission;
    let later = Meta::new(Epoch(old.epoch.0 + 1), &old.instance, "99", &old.owner);
    Writeback::begin(&url, name, 99, deadlines).await.unwrap();
    let closed = close(&url, name, &later, 3, deadlines).await.unwrap();
    assert_eq!((closed.closed, closed.epoch), (true, later.epoch));
    // A late request of the epoch before.
    let error = desk.send(&ann, acquire("a")).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error:?}");
    let run_id = survey(&url, name, deadlines).await.unwrap().run_id;
    for (attempt, run_id) in [(4, run_id.as_str()), (3, &"0".repeat(40))] {
        assert!(reopen(&url, name, &later, attempt, run_id, deadlines).await.unwrap().closed);
    }
    let opened = reopen(&url, name, &later, 3, &run_id, deadlines).await.unwrap();
    assert_eq!(opened, later);
    assert!(
        !reopen(&url, name, &later, 3, &run_id, deadlines).await.unwrap().closed,
        "and again, when the answer was lost"
    );
}

#[tokio::test]
async fn a_generation_that_was_flushed_while_it_was_written_is_not_opened() {
    let server = Server::start().await;
    let (url, deadlines) = (server.url(), Deadlines::default());
    let wanted = Meta::new(Epoch(7), "lineage", "99", "ann");
    let writeback = Writeback::begin(&url, "shop", 99, deadlines).await.unwrap();
    writeback.records(Table::Pulse, &[("before".to_owned(), pulse())]).await.unwrap();
    let () = server.run(&["FLUSHALL"]).await;
    assert!(close(&url, "shop", &wanted, 1, deadlines).await.unwrap().closed, "nothing is there: it may be closed");
    writeback.records(Table::Pulse, &[("after".to_owned(), pulse())]).await.unwrap();
    writeback.state(b"the state").await.unwrap();
    let run_id = survey(&url, "shop", deadlines).await.unwrap().run_id;
    assert!(reopen(&url, "shop", &wanted, 1, &run_id, deadlines).await.unwrap().closed);
}

#[tokio::test]
async fn a_server_that_stops_to_answer_ends_what_is_carried() {
    let server = Server::start().await;
    let deadlines = Deadlines { call: Duration::from_millis(100), ..Deadlines::default() };
    let writeback = Writeback::begin(&server.url(), "shop", 99, deadlines).await.unwrap();
    // Longer than anybody waits; connections are accepted and nothing is answered.
    let () = server.run(&["CLIENT", "PAUSE", "60000", "ALL"]).await;
    let changes = [(Table::Pulse, "one".to_owned(), Some(pulse()))];
    let carried = tokio::time::timeout(PATIENCE, writeback.changes(&changes)).await.expect("an end");
    assert!(matches!(carried, Err(Error::Unavailable { .. })), "{carried:?}");
}

fn pulse() -> Vec<u8> {
    PulseRecord { beat: 1, progress: 1 }.stored().unwrap()
}

#[tokio::test]
async fn only_what_is_empty_or_ours_and_earlier_is_closed() {
    let server = Server::start().await;
    let deadlines = Deadlines::default();
    let there = Meta::new(Epoch(7), "lineage", "1", "ann");
    found(&server.url(), "shop", &there, deadlines).await.unwrap();
    for wrong in [
        Meta::new(Epoch(7), "lineage", "2", "ann"),
        Meta::new(Epoch(6), "lineage", "2", "ann"),
        Meta::new(Epoch(9), "another", "2", "ann"),
        Meta::new(Epoch(9), "lineage", "2", "bob"),
    ] {
        let found = close(&server.url(), "shop", &wrong, 1, deadlines).await.unwrap();
        assert_eq!(found, there, "{wrong:?}");
    }
    let empty = close(&server.url(), "empty", &there, 1, deadlines).await.unwrap();
    assert!(empty.closed && empty.instance == there.instance);
}
