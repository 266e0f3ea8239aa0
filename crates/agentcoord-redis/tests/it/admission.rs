//! Who is let in: the server, the namespace and the epoch must be those that were agreed on.

use agentcoord_core::agent::Heartbeat;
use agentcoord_core::engine::Engine;
use agentcoord_core::error::Disposition;
use agentcoord_core::ids::Epoch;
use agentcoord_core::lock::Acquire;
use agentcoord_core::{Error, Result};
use agentcoord_redis::{Deadlines, Meta, RedisUrl, raise};

use crate::server::{Desk, Server, acquire, unavailable};

/// What the first call of another client with this admission says.
async fn first_call(server: &Server, desk: &Desk, change: impl Fn(&mut agentcoord_redis::Admission)) -> Result<()> {
    let mut admission = desk.admission.clone();
    change(&mut admission);
    let other = Desk::open(server, &desk.namespace, admission);
    other.send(&agentcoord_core::op::Actor::System, agentcoord_core::agent::Tick { most: 1 }).await.map(drop)
}

#[tokio::test]
async fn only_the_agreed_server_namespace_and_epoch_are_admitted() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    first_call(&server, &desk, |_| {}).await.unwrap();
    let digest = server.digest().await;
    let reason = unavailable(first_call(&server, &desk, |a| a.run_id = "0".repeat(40)).await);
    assert!(reason.contains("restarted"), "{reason}");
    let reason = unavailable(first_call(&server, &desk, |a| a.instance = "another".into()).await);
    assert!(reason.contains("another namespace"), "{reason}");
    let reason = unavailable(first_call(&server, &desk, |a| a.owner = "another".into()).await);
    assert!(reason.contains("another namespace"), "{reason}");
    let error = first_call(&server, &desk, |a| a.epoch = Epoch(8)).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { epoch: Epoch(8), .. }), "{error:?}");
    assert_eq!(server.digest().await, digest);
}

#[tokio::test]
async fn an_open_connection_is_fenced_when_the_epoch_is_raised() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    let (from, to) = (desk.admission.epoch, Epoch(9));
    let seen = Meta::new(from, &desk.admission.instance, &desk.admission.generation, &desk.admission.owner);
    let generation = &desk.admission.generation;
    let meta = raise(&server.url(), &desk.namespace, &seen, to, generation, Deadlines::default()).await;
    assert_eq!(meta.unwrap().epoch, to);
    let digest = server.digest().await;
    let error = desk.send(&ann, acquire("a")).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { epoch, .. } if epoch == from), "{error:?}");
    assert_eq!(error.disposition(), Disposition::Unavailable);
    assert_eq!(server.digest().await, digest);
}

#[tokio::test]
async fn a_closed_namespace_takes_nothing() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    let () = server.run(&["HSET", &format!("ac:{{{}}}:meta", desk.namespace), "closed", "1"]).await;
    let error = desk.send(&ann, acquire("a")).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error:?}");
}

#[tokio::test]
async fn a_namespace_that_is_gone_is_not_founded_by_an_operation() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    let () = server.run(&["FLUSHALL"]).await;
    let reason = unavailable(desk.send(&ann, acquire("a")).await);
    assert!(reason.contains("gone"), "{reason}");
    let reason = unavailable(first_call(&server, &desk, |_| {}).await);
    assert!(reason.contains("does not hold this namespace"), "{reason}");
    assert_eq!(server.run::<u64>(&["DBSIZE"]).await, 0);
}

#[tokio::test]
async fn a_restarted_server_is_not_admitted_though_it_has_the_data() {
    let mut server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    server.restart().await;
    let error = loop {
        match desk.send(&ann, acquire("a")).await {
            // The connection that broke may not have been noticed yet.
            Err(Error::OutcomeUnknown { .. }) => {}
            other => break other,
        }
    };
    let reason = unavailable(error);
    assert!(reason.contains("restarted"), "{reason}");
}

#[tokio::test]
async fn nobody_listening_is_unavailable_with_what_to_do() {
    let mut server = Server::start().await;
    let desk = Desk::found(&server).await;
    server.kill();
    let reason = unavailable(first_call(&server, &desk, |_| {}).await);
    assert!(reason.contains("start Redis"), "{reason}");
}

#[tokio::test]
async fn a_server_of_another_kind_is_unavailable() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            drop(tokio::io::AsyncWriteExt::write_all(&mut socket, b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
        }
    });
    let url = RedisUrl::parse(&format!("redis://127.0.0.1:{port}")).unwrap();
    let clock = desk.boot.clone();
    let engine =
        agentcoord_redis::RedisEngine::new(url, "any", desk.admission.clone(), Deadlines::default(), clock).unwrap();
    let reason = unavailable(engine.state().await);
    assert!(reason.contains("is not Redis"), "{reason}");
}

#[tokio::test]
async fn a_replica_is_not_admitted() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let () = server.run(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let reason = unavailable(first_call(&server, &desk, |_| {}).await);
    assert!(reason.contains("replica"), "{reason}");
}

#[tokio::test]
async fn a_lost_answer_is_an_unknown_outcome_and_the_same_request_tells_it() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    let call = desk.call(&ann, acquire("a"));
    let busy = server.connection().await;
    // The server sleeps past the deadline, then runs what was sent.
    let sleeping = tokio::spawn(async move {
        let mut busy = busy;
        busy.set_response_timeout(std::time::Duration::from_secs(30));
        let () = redis::cmd("DEBUG").arg("SLEEP").arg(3).query_async(&mut busy).await.unwrap();
    });
    tokio::task::yield_now().await;
    let error = loop {
        // Until the server has begun to sleep, beats are answered.
        match desk.send(&ann, Heartbeat { progress: false }).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error:?}");
    sleeping.await.unwrap();
    let reply = desk.engine.step(call).await.unwrap();
    let reply = agentcoord_core::op::answer::<agentcoord_core::lock::AcquireLock>(&reply).unwrap();
    assert!(matches!(reply, Acquire::Granted(_)));
}

#[tokio::test]
async fn a_user_without_a_needed_command_is_told_which_before_anything_is_sent() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    let keys = format!("~ac:{{{}}}:*", desk.namespace);
    let () = server.run(&["ACL", "SETUSER", "bob", "on", ">pw", &keys, "resetchannels", "+@all", "-zadd"]).await;
    let url = RedisUrl::parse(&format!("redis://bob:pw@127.0.0.1:{}", server.port)).unwrap();
    let digest = server.digest().await;
    let restricted = Desk::open_at(url.clone(), &desk.namespace, desk.admission.clone());
    let reason = unavailable(restricted.send(&ann, acquire("a")).await);
    assert!(reason.contains("zadd"), "{reason}");
    assert_eq!(server.digest().await, digest);
    // Without channels everything works; only wake-ups do not.
    let () = server.run(&["ACL", "SETUSER", "bob", "+zadd"]).await;
    assert!(matches!(restricted.send(&ann, acquire("a")).await.unwrap(), Acquire::Granted(_)));
}

#[tokio::test]
async fn a_wrong_password_is_unavailable_and_not_shown() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let () = server.run(&["ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all"]).await;
    let url = RedisUrl::parse(&format!("redis://bob:s3cret@127.0.0.1:{}", server.port)).unwrap();
    let other = Desk::open_at(url, &desk.namespace, desk.admission.clone());
    let error = other.engine.state().await.unwrap_err();
    assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    let reason = unavailable::<()>(Err(error));
    assert!(reason.contains("user and password"), "{reason}");
}

#[tokio::test]
async fn tls_to_a_server_without_it_is_unavailable() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let url = RedisUrl::parse(&format!("rediss://127.0.0.1:{}", server.port)).unwrap();
    let other = Desk::open_at(url.clone(), &desk.namespace, desk.admission.clone());
    unavailable(other.engine.state().await);
    let sink = std::sync::Arc::new(|_| {});
    let wakes = agentcoord_redis::RedisWakes::new(url, &desk.namespace, Deadlines::default(), sink).unwrap();
    let channel = agentcoord_core::engine::Channel::Client(desk.client.clone());
    unavailable(agentcoord_core::engine::Wakes::subscribe(&wakes, &channel).await);
}
