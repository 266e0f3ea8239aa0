//! The end of a task with the claim of the next one, whatever becomes of the caller.

use std::time::Duration;

use agentcoord::core::ids::IdPrefix;
use agentcoord::core::store::Backend;
use agentcoord::core::task::{NewTask, Task, TaskStatus};
use agentcoord::{CoordinationClient, Error};

use crate::place::Place;

on_both_engines!(
    end_of_a_task_brings_the_next_one,
    end_of_a_task_waits_for_the_next_one,
    stale_end_claims_nothing,
    dropped_wait_for_the_next_task_has_ended_the_first,
    end_dropped_at_once_happens_all_the_same_and_claims_nothing,
);

async fn create(client: &CoordinationClient, title: &str, tag: &str) -> String {
    client.create_task(NewTask { tags: vec![tag.to_owned()], ..NewTask::titled(title) }).await.unwrap().key
}

async fn find(client: &CoordinationClient, key: &str) -> Task {
    client.store().await.unwrap().tasks().find(&IdPrefix::parse("id", key).unwrap()).await.unwrap()
}

async fn end_of_a_task_brings_the_next_one(place: &Place) {
    let session = place.session("worker").await.unwrap();
    let first = create(&session, "first", "a").await;
    create(&session, "other", "b").await;
    let second = create(&session, "second", "a").await;
    let task = session.claim_task(["a"]).await.unwrap().unwrap();
    let next = task.complete_and_claim(Some("7".to_owned()), ["a"]).await.unwrap().unwrap();
    assert_eq!((next.id(), next.title()), (second.as_str(), "second"));
    assert_eq!(find(&session, &first).await.status, TaskStatus::Completed);
    assert!(next.fail_and_claim("no luck", false, ["a"]).timeout(Duration::ZERO).await.unwrap().is_none());
    assert_eq!(find(&session, &second).await.status, TaskStatus::Failed);
    session.close().await.unwrap();
}

async fn end_of_a_task_waits_for_the_next_one(place: &Place) {
    let (lead, session) = (place.session("lead").await.unwrap(), place.session("worker").await.unwrap());
    create(&lead, "first", "a").await;
    let task = session.claim_task(["a"]).await.unwrap().unwrap();
    let waiting = tokio::spawn(async move { task.complete_and_claim(None, ["a"]).await });
    let second = create(&lead, "second", "a").await;
    assert_eq!(waiting.await.unwrap().unwrap().unwrap().id(), second);
    session.close().await.unwrap();
    lead.close().await.unwrap();
}

async fn stale_end_claims_nothing(place: &Place) {
    let (lead, session) = (place.session("lead").await.unwrap(), place.session("worker").await.unwrap());
    let first = create(&lead, "first", "a").await;
    let task = session.claim_task(["a"]).await.unwrap().unwrap();
    lead.run(agentcoord::core::task::CancelTask { key: first, reason: None }).await.unwrap();
    let second = create(&lead, "second", "a").await;
    let refused = task.complete_and_claim(None, ["a"]).await;
    assert!(matches!(refused, Err(Error::Stale { .. })), "{refused:?}");
    assert_eq!(find(&lead, &second).await.status, TaskStatus::Pending);
    session.close().await.unwrap();
    lead.close().await.unwrap();
}

async fn dropped_wait_for_the_next_task_has_ended_the_first(place: &Place) {
    let (lead, session) = (place.session("lead").await.unwrap(), place.session("worker").await.unwrap());
    let first = create(&lead, "first", "a").await;
    let task = session.claim_task(["a"]).await.unwrap().unwrap();
    let waited =
        tokio::time::timeout(Duration::from_millis(100), task.complete_and_claim(None, ["a"]).into_future()).await;
    assert!(waited.is_err(), "there is no other task");
    session.close().await.unwrap();
    assert_eq!(find(&lead, &first).await.status, TaskStatus::Completed);
    let second = create(&lead, "second", "a").await;
    assert_eq!(find(&lead, &second).await.status, TaskStatus::Pending);
    lead.close().await.unwrap();
}

async fn end_dropped_at_once_happens_all_the_same_and_claims_nothing(place: &Place) {
    let (lead, session) = (place.session("lead").await.unwrap(), place.session("worker").await.unwrap());
    let first = create(&lead, "first", "a").await;
    let second = create(&lead, "second", "a").await;
    let task = session.claim_task(["a"]).await.unwrap().unwrap();
    tokio::select! {
        biased;
        ended = task.complete_and_claim(None, ["a"]).into_future() => panic!("answered at the first poll: {ended:?}"),
        () = std::future::ready(()) => {}
    }
    session.close().await.unwrap();
    assert_eq!(find(&lead, &first).await.status, TaskStatus::Completed);
    let second = find(&lead, &second).await;
    assert_eq!((second.status, second.attempt, second.crashes), (TaskStatus::Pending, 0, 0));
    lead.close().await.unwrap();
}
