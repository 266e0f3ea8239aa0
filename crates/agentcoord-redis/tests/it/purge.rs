//! A namespace that is deleted: all of it, nothing beside it, and never a part that looks like the whole.

use agentcoord_core::Error;
use agentcoord_core::agent::Deregister;
use agentcoord_core::engine::Engine;
use agentcoord_core::task::{CreateTasks, NewTask};
use agentcoord_redis::{Closing, Deadlines, Meta, purge, retire, survey};

use crate::server::{Desk, Server, acquire, unavailable};

async fn seen(server: &Server, desk: &Desk) -> Meta {
    survey(&server.url(), &desk.namespace, Deadlines::default()).await.unwrap().meta.unwrap()
}

/// A namespace with tasks in it, more than fit into a page, and nobody.
async fn filled(server: &Server) -> Desk {
    let desk = Desk::found(server).await;
    let (ann, _) = desk.register("ann").await;
    for _ in 0..7 {
        let tasks = (0..100).map(|n| NewTask::titled(format!("Task {n}"))).collect();
        desk.send(&ann, CreateTasks::new(tasks)).await.unwrap();
    }
    desk.send(&ann, Deregister { reason: None }).await.unwrap();
    desk
}

async fn keys_of(server: &Server, desk: &Desk) -> Vec<String> {
    server.run(&["KEYS", &format!("ac:{{{}}}:*", desk.namespace)]).await
}

#[tokio::test]
async fn all_generations_go_and_another_namespace_stays() {
    let server = Server::start().await;
    let (desk, beside) = (filled(&server).await, filled(&server).await);
    let () = server.run(&["SET", &format!("ac:{{{}}}:2:task:left", desk.namespace), "of a switch"]).await;
    let () = server.run(&["SET", &format!("ac:{{{}x}}:1:hot", desk.namespace), "of somebody else"]).await;
    let others = server.run::<usize>(&["DBSIZE"]).await - keys_of(&server, &desk).await.len();
    let beside_before = keys_of(&server, &beside).await.len();
    let meta = seen(&server, &desk).await;
    let closing = retire(&server.url(), &desk.namespace, &meta, false, Deadlines::default()).await;
    assert_eq!(closing.unwrap(), Closing::Closed(3));
    let gone = purge(&server.url(), &desk.namespace, &meta.instance, Deadlines::default()).await.unwrap();
    assert!(gone > 700, "{gone}");
    assert_eq!(keys_of(&server, &desk).await, Vec::<String>::new());
    assert_eq!(server.run::<usize>(&["DBSIZE"]).await, others);
    assert_eq!(keys_of(&server, &beside).await.len(), beside_before);
    beside.register("bob").await;
}

#[tokio::test]
async fn namespace_in_which_somebody_lives_is_not_closed() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    let meta = seen(&server, &desk).await;
    let attempt = async || retire(&server.url(), &desk.namespace, &meta, false, Deadlines::default()).await;
    assert_eq!(attempt().await.unwrap(), Closing::Lived(1));
    let _granted = desk.send(&ann, acquire("a")).await.unwrap();
    let other = Meta { instance: "another founding".to_owned(), ..meta.clone() };
    let closing = retire(&server.url(), &desk.namespace, &other, true, Deadlines::default()).await;
    assert_eq!(closing.unwrap(), Closing::Changed);
    let _granted = desk.send(&ann, acquire("b")).await.unwrap();
}

#[tokio::test]
async fn closed_namespace_takes_and_shows_nothing_until_it_is_swept() {
    let server = Server::start().await;
    let desk = filled(&server).await;
    let meta = seen(&server, &desk).await;
    let attempt = async || retire(&server.url(), &desk.namespace, &meta, false, Deadlines::default()).await;
    assert_eq!(attempt().await.unwrap(), Closing::Closed(3));
    // Cut off here: who comes now is refused, and the next attempt goes on.
    let error = desk.send(&agentcoord_core::op::Actor::System, crate::server::register("bob")).await.unwrap_err();
    assert!(matches!(&error, Error::Fenced { reason, .. } if reason.contains("closed")), "{error:?}");
    // Nor is anybody told that there is nothing.
    let error = desk.engine.state().await.unwrap_err();
    assert!(matches!(&error, Error::Fenced { reason, .. } if reason.contains("closed")), "{error:?}");
    let newcomer = Desk::open(&server, &desk.namespace, desk.admission.clone());
    assert!(matches!(newcomer.engine.admit().await, Err(Error::Fenced { .. })));
    assert_eq!(attempt().await.unwrap(), Closing::Closed(0));
    purge(&server.url(), &desk.namespace, &meta.instance, Deadlines::default()).await.unwrap();
    assert_eq!(server.run::<usize>(&["DBSIZE"]).await, 0);
    let reason = unavailable(newcomer.engine.admit().await);
    assert!(reason.contains("does not hold this namespace"), "{reason}");
}
