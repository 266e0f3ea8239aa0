//! A namespace that many state directories share: nobody takes over, and all see the same.

use std::time::Duration;

use agentcoord::core::engine::EngineKind;
use agentcoord::core::task::NewTask;
use agentcoord::{BackendChoice, CoordinationClient, Error};
use agentcoord_testkit::redis_server::RedisServer;

use super::{quick, titles};
use crate::place::Place;

const EVE: &str = "human:eve";

/// A state directory that shares a namespace.
fn one_of_many(server: &RedisServer) -> Place {
    let mut place = Place::on(&server.url());
    place.backend = BackendChoice::Redis;
    place
}

async fn session(place: &Place) -> Result<CoordinationClient, Error> {
    quick(place.session("one")).namespace("shop").patience(Duration::from_millis(500)).await
}

/// Creates a task, and leaves.
async fn create(place: &Place, title: &str) {
    let client = session(place).await.unwrap();
    client.create_task(NewTask::titled(title)).await.unwrap();
    client.close().await.unwrap();
}

async fn found(place: &Place) -> Vec<String> {
    let client = session(place).await.unwrap();
    let found = titles(&client).await;
    client.close().await.unwrap();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lost_is_founded_anew_for_all_who_share_it() {
    let server = RedisServer::start();
    let (here, there) = (one_of_many(&server), one_of_many(&server));
    create(&here, "lost").await;
    create(&there, "lost, too").await;
    drop(server.command(&["FLUSHALL"]));
    create(&here, "first").await;
    create(&there, "second").await;
    assert_eq!(found(&here).await, ["first", "second"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shared_is_on_the_files_of_one_or_in_redis_and_comes_back() {
    let server = RedisServer::start();
    let (mut here, there) = (one_of_many(&server), one_of_many(&server));
    create(&there, "before").await;
    let moves = session(&here).await.unwrap();
    let connection = moves.connection().clone();
    moves.close().await.unwrap();
    connection.switch(EngineKind::Files, EVE).await.unwrap();
    let refused = session(&there).await;
    assert!(matches!(&refused, Err(Error::Unavailable { reason, .. }) if reason.contains("closed")), "{refused:?}");
    here.backend = BackendChoice::Auto;
    create(&here, "meanwhile").await;
    connection.switch(EngineKind::Redis, EVE).await.unwrap();
    assert_eq!(found(&there).await, ["before", "meanwhile"]);
    create(&there, "after").await;
    assert_eq!(found(&here).await, ["after", "before", "meanwhile"]);
}
