//! An approval outlives whoever asked for it, and the server it is stored on.

use std::time::Duration;

use agentcoord::{Ballot, CoordinationClient, Decision, Error};
use agentcoord_testkit::redis_server::RedisServer;

use crate::place::Place;

on_both_engines!(
    requester_that_restarts_attaches_again_by_id,
    requester_that_restarts_attaches_again_by_key,
    verdict_is_for_who_asked,
    each_end_is_told_apart,
);

async fn vote(client: &CoordinationClient, id: &str, name: &str, ballot: Ballot) {
    let asked = client.approval(id).look().await.unwrap();
    client.connection().vote(name, &asked, ballot).await.unwrap();
}

async fn requester_that_restarts_attaches_again_by_id(place: &Place) {
    let first = place.session("agent").await.unwrap();
    let id = first.request_approval("deployment", "ship 2.0").await.unwrap().id().to_owned();
    first.close().await.unwrap();
    let second = place.session("agent").await.unwrap();
    let approval = second.approval(&id);
    let (decision, ()) = tokio::join!(approval.decision(), vote(&second, &id, "ada", Ballot::approve()));
    assert_eq!(decision.unwrap(), Decision::Approved);
    second.close().await.unwrap();
}

async fn requester_that_restarts_attaches_again_by_key(place: &Place) {
    let first = place.session("agent").await.unwrap();
    let id = first.request_approval("deployment", "ship 2.0").key("2.0").await.unwrap().id().to_owned();
    // The first one still lives, as far as anybody knows: the second one goes by another name.
    let second = place.session("agent").await.unwrap();
    assert_ne!(first.name(), second.name());
    let approval = second.request_approval("deployment", "ship 2.0").key("2.0").await.unwrap();
    assert_eq!(approval.id(), id);
    vote(&second, &id, "ada", Ballot::approve()).await;
    assert_eq!(approval.decision().await.unwrap(), Decision::Approved);
    first.close().await.unwrap();
    second.close().await.unwrap();
}

async fn verdict_is_for_who_asked(place: &Place) {
    let (one, two) = (place.session("one").await.unwrap(), place.session("two").await.unwrap());
    let approval = one.request_approval("deployment", "ship 2.0").await.unwrap();
    vote(&two, approval.id(), "ada", Ballot::approve()).await;
    let stranger = two.approval(approval.id()).decision().await;
    assert!(matches!(stranger, Err(Error::Refused { policy: "not_requester", .. })), "{stranger:?}");
    assert_eq!(approval.decision().await.unwrap(), Decision::Approved);
    one.close().await.unwrap();
    two.close().await.unwrap();
}

async fn each_end_is_told_apart(place: &Place) {
    let agent = place.session("agent").await.unwrap();
    let rejected = agent.request_approval("deployment", "one").await.unwrap();
    vote(&agent, rejected.id(), "ada", Ballot::reject("no")).await;
    assert_eq!(rejected.decision().await.unwrap(), Decision::Rejected);
    let expired = agent.request_approval("deployment", "two").expires_in(Duration::from_millis(50)).await.unwrap();
    assert_eq!(expired.decision().await.unwrap(), Decision::Expired);
    let cancelled = agent.request_approval("deployment", "three").await.unwrap();
    let watch = agent.approval(cancelled.id());
    let (decision, called_off) = tokio::join!(watch.decision(), cancelled.cancel());
    called_off.unwrap();
    assert_eq!(decision.unwrap(), Decision::Cancelled);
    agent.close().await.unwrap();
}

/// The server is killed while an agent waits and comes back; the agent gets its answer, and nobody asked again.
#[tokio::test]
async fn restart_of_the_server_keeps_waiting_approvals() {
    let mut server = RedisServer::start_with("redis-server", &["--appendfsync", "always"]);
    let place = Place::on(&server.url());
    let agent = place.session("agent").patience(Duration::from_secs(20)).await.unwrap();
    let approval = agent.request_approval("deployment", "ship 2.0").diff("+ a line").await.unwrap();
    let before = approval.look().await.unwrap();
    let id = approval.id().to_owned();
    let waiting = tokio::spawn(async move { approval.decision().await });
    server.restart();
    let person = place.session("person").patience(Duration::from_secs(20)).await.unwrap();
    assert_eq!(person.approval(&id).look().await.unwrap(), before);
    vote(&person, &id, "ada", Ballot::approve()).await;
    assert_eq!(waiting.await.unwrap().unwrap(), Decision::Approved);
    agent.close().await.unwrap();
    person.close().await.unwrap();
}
