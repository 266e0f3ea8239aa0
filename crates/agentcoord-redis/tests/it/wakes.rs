//! Wake-ups arrive, and go on after the server was away.

use std::sync::Arc;
use std::time::Duration;

use agentcoord_core::approval::{CastVote, RequestApproval, Verdict};
use agentcoord_core::engine::{Channel, Wake, Wakes};
use agentcoord_core::lock::{Acquire, ReleaseLock};
use agentcoord_core::op::Actor;
use agentcoord_redis::{Deadlines, RedisWakes};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::server::{Desk, Server, acquire};

fn wakes_of(server: &Server, desk: &Desk) -> (RedisWakes, UnboundedReceiver<Wake>) {
    let (sender, receiver) = unbounded_channel();
    let sink = Arc::new(move |wake| drop(sender.send(wake)));
    (RedisWakes::new(server.url(), &desk.namespace, Deadlines::default(), sink).unwrap(), receiver)
}

async fn next(receiver: &mut UnboundedReceiver<Wake>) -> Wake {
    tokio::time::timeout(Duration::from_secs(10), receiver.recv()).await.expect("a wake-up").expect("the sink lives")
}

#[tokio::test]
async fn a_release_wakes_the_client_that_waits() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    let (bob, _) = desk.register("bob").await;
    let (wakes, mut receiver) = wakes_of(&server, &desk);
    wakes.subscribe(&Channel::Client(desk.client.clone())).await.unwrap();
    let Acquire::Granted(grant) = desk.send(&ann, acquire("a")).await.unwrap() else { panic!("not granted") };
    let Acquire::Queued { ticket, .. } = desk.send(&bob, acquire("a")).await.unwrap() else { panic!("not queued") };
    desk.send(&ann, ReleaseLock { token: grant.token, paths: Vec::new() }).await.unwrap();
    assert_eq!(next(&mut receiver).await, Wake::Topic(ticket.to_string()));
}

#[tokio::test]
async fn a_vote_wakes_who_waits_for_the_approval_until_it_unsubscribes() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    let (wakes, mut receiver) = wakes_of(&server, &desk);
    for subscribed in [true, false] {
        let asked = desk.send(&ann, RequestApproval::new("deployment", "to production").seal()).await.unwrap();
        let channel = Channel::Approval(asked.key.clone());
        wakes.subscribe(&channel).await.unwrap();
        if !subscribed {
            wakes.unsubscribe(&channel).await.unwrap();
        }
        let vote = CastVote {
            approval: asked.key.clone(),
            verdict: Verdict::Approve,
            digest: None,
            note: None,
            signature: None,
            audit: "{}".to_owned(),
        };
        desk.send(&Actor::Human("eve".into()), vote).await.unwrap();
        if subscribed {
            assert_eq!(next(&mut receiver).await, Wake::Topic(format!("approval/{}", asked.key)));
        }
    }
    // A later subscription is confirmed after anything that was published before it.
    wakes.subscribe(&Channel::Client(desk.client.clone())).await.unwrap();
    while let Ok(wake) = receiver.try_recv() {
        assert_eq!(wake, Wake::Everything, "no news come after the end of the subscription");
    }
}

#[tokio::test]
async fn after_a_restart_everything_is_looked_at_and_wake_ups_go_on() {
    let mut server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (wakes, mut receiver) = wakes_of(&server, &desk);
    wakes.subscribe(&Channel::Client(desk.client.clone())).await.unwrap();
    while receiver.try_recv().is_ok() {}
    server.kill();
    assert_eq!(next(&mut receiver).await, Wake::Everything, "whoever waits finds out what has become of the server");
    server.restart().await;
    assert_eq!(next(&mut receiver).await, Wake::Everything, "and what was missed meanwhile");
    let channel = format!("ac:{{{}}}:wake:{}", desk.namespace, desk.client);
    let heard: u64 = server.run(&["PUBLISH", &channel, "ticket"]).await;
    assert_eq!(heard, 1);
    assert_eq!(next(&mut receiver).await, Wake::Topic("ticket".to_owned()));
}

#[tokio::test]
async fn without_a_server_the_subscription_fails_and_works_once_it_is_there() {
    let mut server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (wakes, mut receiver) = wakes_of(&server, &desk);
    server.kill();
    let channel = Channel::Client(desk.client.clone());
    crate::server::unavailable(wakes.subscribe(&channel).await);
    server.restart().await;
    wakes.subscribe(&channel).await.unwrap();
    let name = format!("ac:{{{}}}:wake:{}", desk.namespace, desk.client);
    let () = server.run(&["PUBLISH", &name, "ticket"]).await;
    while next(&mut receiver).await != Wake::Topic("ticket".to_owned()) {}
}
