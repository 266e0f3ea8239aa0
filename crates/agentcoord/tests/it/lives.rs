//! The life of a task through the library: pauses, start times, dependencies, and what is called off.

use std::time::Duration;

use agentcoord::core::limits;
use agentcoord::core::task::{Backoff, NewTask, TaskStatus};
use agentcoord::core::{ids::IdPrefix, store::Backend};
use agentcoord::{CoordinationClient, Error};

use crate::place::Place;

on_both_engines!(
    holder_of_a_cancelled_task_is_told,
    failed_task_comes_back_by_itself,
    task_begins_at_its_time,
    dependents_come_one_after_the_other,
    text_of_a_mebibyte_fits_and_no_more,
);

async fn create(client: &CoordinationClient, task: NewTask) -> String {
    client.create_task(task).await.unwrap().key
}

async fn claim(client: &CoordinationClient) -> agentcoord::Task {
    client.claim_task(Vec::<String>::new()).timeout(Duration::from_secs(30)).await.unwrap().unwrap()
}

async fn holder_of_a_cancelled_task_is_told(place: &Place) {
    let (one, two) = (place.session("one").await.unwrap(), place.session("two").await.unwrap());
    let key = create(&one, NewTask::titled("a task")).await;
    let task = claim(&one).await;
    let ((), cancelled) = tokio::join!(task.lost(), two.cancel_task(&key, Some("not needed".into())));
    cancelled.unwrap();
    assert!(matches!(task.complete(None).await, Err(Error::Stale { owner: None, .. })));
    assert_eq!(two.redrive_task(&key).await.unwrap(), TaskStatus::Pending);
    assert_eq!(claim(&one).await.attempt(), 1);
    one.close().await.unwrap();
    two.close().await.unwrap();
}

async fn failed_task_comes_back_by_itself(place: &Place) {
    let (one, two) = (place.session("one").await.unwrap(), place.session("two").await.unwrap());
    create(&one, NewTask { backoff: Some(Backoff::from_pause(50)), ..NewTask::titled("fragile") }).await;
    let task = claim(&one).await;
    let again = tokio::join!(claim(&two), async { task.fail("no luck", true).await.unwrap() });
    assert_eq!((again.0.attempt(), again.1), (2, TaskStatus::Scheduled));
    assert_eq!(again.0.detail().setbacks[0].reason, "no luck");
    again.0.fail("never", false).await.unwrap();
    let log = two.store().await.unwrap().audit().read(0, 100).await.unwrap();
    assert!(log.items.iter().any(|e| e.entry.contains("dead_letter") && e.entry.contains("agent:two")), "{log:?}");
    one.close().await.unwrap();
    two.close().await.unwrap();
}

async fn task_begins_at_its_time(place: &Place) {
    let (one, two) = (place.session("one").await.unwrap(), place.session("two").await.unwrap());
    let (_, clock) = one.store().await.unwrap().now().await.unwrap();
    let at = clock.wall + 300;
    let later = NewTask { not_before: Some(at), ..NewTask::titled("later") };
    let (task, key) = tokio::join!(claim(&two), create(&one, later));
    assert_eq!(task.id(), key);
    let (_, clock) = one.store().await.unwrap().now().await.unwrap();
    assert!(clock.wall >= at);
    one.close().await.unwrap();
    two.close().await.unwrap();
}

async fn dependents_come_one_after_the_other(place: &Place) {
    let one = place.session("one").await.unwrap();
    let parts: Vec<NewTask> = (0..100).map(|n| NewTask::titled(format!("part {n}"))).collect();
    let mut keys = Vec::new();
    for part in parts {
        keys.push(create(&one, part).await);
    }
    let whole = create(&one, NewTask { depends_on: keys.clone(), ..NewTask::titled("whole") }).await;
    let unknown = NewTask { depends_on: [keys.clone(), vec!["0123456789".into()]].concat(), ..NewTask::titled("x") };
    assert!(
        matches!(one.create_task(unknown).await, Err(Error::NotFound { .. })),
        "also beyond what one step looks up"
    );
    for _ in &keys {
        claim(&one).await.complete(None).await.unwrap();
    }
    assert_eq!(claim(&one).await.id(), whole);
    one.close().await.unwrap();
}

async fn text_of_a_mebibyte_fits_and_no_more(place: &Place) {
    let one = place.session("one").await.unwrap();
    let text = |bytes: usize| Some(format!("\"{}\"", "x".repeat(bytes - 2)));
    let key = create(&one, NewTask { payload: text(limits::BLOB_BYTES), ..NewTask::titled("large") }).await;
    let refused = one.create_task(NewTask { payload: text(limits::BLOB_BYTES + 1), ..NewTask::titled("larger") }).await;
    assert!(matches!(refused, Err(Error::Invalid { field: "payload", .. })), "{refused:?}");
    claim(&one).await.complete(text(limits::BLOB_BYTES)).await.unwrap();
    let store = one.store().await.unwrap();
    let detail = store.tasks().show(&IdPrefix::parse("id", &key).unwrap()).await.unwrap();
    assert_eq!((detail.payload, detail.result), (text(limits::BLOB_BYTES), text(limits::BLOB_BYTES)));
    create(&one, NewTask::titled("another")).await;
    let refused = claim(&one).await.complete(text(limits::BLOB_BYTES + 1)).await;
    assert!(matches!(refused, Err(Error::Invalid { field: "result", .. })), "{refused:?}");
    one.close().await.unwrap();
}
