//! What a claim brings along.

use std::time::Duration;

use agentcoord::core::ids::IdPrefix;
use agentcoord::core::store::Backend;
use agentcoord::core::task::{Backoff, NewTask};
use agentcoord::{CoordinationClient, Task};

use crate::place::Place;

on_both_engines!(claimed_task_is_told_as_it_is_stored, waited_for_task_is_told_as_it_is_stored);

fn rich(title: &str) -> NewTask {
    NewTask {
        tags: vec!["a".to_owned()],
        description: Some("in many words".to_owned()),
        payload: Some("{\"path\":\"src/main.rs\"}".to_owned()),
        lease: Some(60_000),
        backoff: Some(Backoff { first: 1, most: 1, jitter: 0 }),
        ..NewTask::titled(title)
    }
}

/// The task came along with the claim; it must be what a look at the store shows.
async fn assert_is_stored(client: &CoordinationClient, task: &Task) {
    let mut told = task.detail().clone();
    let id = IdPrefix::parse("id", task.id()).unwrap();
    let stored = client.store().await.unwrap().tasks().show(&id).await.unwrap();
    // The same time by two looks at the clock, which counts whole milliseconds.
    let (one, other) = (told.task.deadline_at.unwrap(), stored.task.deadline_at.unwrap());
    assert!(one.abs_diff(other) <= 2, "{one} and {other}");
    told.task.deadline_at = Some(other);
    assert_eq!(told, stored);
}

async fn claimed_task_is_told_as_it_is_stored(place: &Place) {
    let session = place.session("worker").await.unwrap();
    let first = session.create_task(rich("first")).await.unwrap().key;
    let task = session.claim_task(["a"]).await.unwrap().unwrap();
    assert_is_stored(&session, &task).await;
    let dependent = NewTask { depends_on: vec![first], ..rich("second") };
    session.create_task(dependent).await.unwrap();
    let next = task.complete_and_claim(None, ["a"]).await.unwrap().unwrap();
    assert_is_stored(&session, &next).await;
    assert_eq!(next.detail().depends_on.len(), 1);
    next.fail("no luck", true).await.unwrap();
    let again = session.claim_task(["a"]).await.unwrap().unwrap();
    assert_is_stored(&session, &again).await;
    assert_eq!(again.detail().setbacks.len(), 1);
    again.release().await.unwrap();
    let named = session.claim_task_by_id(again.id()).await.unwrap();
    assert_is_stored(&session, &named).await;
    session.close().await.unwrap();
}

async fn waited_for_task_is_told_as_it_is_stored(place: &Place) {
    let (lead, worker) = (place.session("lead").await.unwrap(), place.session("worker").await.unwrap());
    let waiting = async { worker.claim_task(["a"]).timeout(Duration::from_secs(30)).await.unwrap().unwrap() };
    let giving = async {
        while lead.store().await.unwrap().now().await.unwrap().0.task_waiters == 0 {
            tokio::task::yield_now().await;
        }
        lead.create_task(rich("given")).await.unwrap();
    };
    let (task, ()) = tokio::join!(waiting, giving);
    assert_is_stored(&lead, &task).await;
    worker.close().await.unwrap();
    lead.close().await.unwrap();
}
