//! Founding a namespace and raising its epoch.

use agentcoord_core::ids::Epoch;
use agentcoord_redis::{Deadlines, Meta, Role, found, raise, survey};

use crate::server::Server;

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
