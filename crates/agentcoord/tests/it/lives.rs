//! The life of a task through the library: pauses, start times, dependencies, and what is called off.

use std::time::Duration;

use agentcoord::core::limits;
use agentcoord::core::task::{Backoff, NewTask, TaskFilter, TaskStatus};
use agentcoord::core::{ids::IdPrefix, store::Backend};
use agentcoord::{CoordinationClient, Error};

use crate::place::Place;

on_both_engines!(
    holder_of_a_cancelled_task_is_told,
    failed_task_comes_back_by_itself,
    task_begins_at_its_time,
    dependents_come_one_after_the_other,
    text_of_a_mebibyte_fits_and_no_more,
    task_that_is_refused_its_end_is_still_the_callers,
    tasks_are_created_in_order_in_as_many_steps_as_it_takes,
    certain_task_is_claimed_at_once_or_not_at_all,
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

async fn task_that_is_refused_its_end_is_still_the_callers(place: &Place) {
    let one = place.session("one").await.unwrap();
    create(&one, NewTask::titled("a task")).await;
    let task = claim(&one).await;
    let too_long = || Some("x".repeat(limits::BLOB_BYTES + 1));
    assert!(matches!(task.complete(too_long()).await, Err(Error::Invalid { field: "result", .. })));
    let refused = task.complete_and_claim(too_long(), ["a"; 0]).await;
    assert!(matches!(refused, Err(Error::Invalid { field: "result", .. })), "{refused:?}");
    assert!(matches!(task.fail("", true).await, Err(Error::Invalid { field: "reason", .. })));
    assert_eq!(task.fail("the result is too long", false).await.unwrap(), TaskStatus::Failed);
    assert!(matches!(task.release().await, Err(Error::Stale { .. })), "it has ended");
    one.close().await.unwrap();
}

async fn tasks_are_created_in_order_in_as_many_steps_as_it_takes(place: &Place) {
    let one = place.session("one").await.unwrap();
    let titles: Vec<String> = (0..=2 * limits::CREATE_CHUNK).map(|n| format!("task {n:03}")).collect();
    let created = one.create_tasks(titles.iter().map(NewTask::titled).collect()).await.unwrap();
    let all = TaskFilter { limit: 1_000, ..TaskFilter::default() };
    let page = one.store().await.unwrap().tasks().list(&all).await.unwrap();
    let listed: Vec<(&str, &str)> = page.items.iter().map(|task| (task.key.as_str(), task.title.as_str())).collect();
    let told: Vec<(&str, &str)> =
        created.iter().zip(&titles).map(|(task, title)| (task.key.as_str(), title.as_str())).collect();
    assert_eq!(listed, told);
    assert_eq!(one.create_tasks(Vec::new()).await.unwrap(), []);
    one.close().await.unwrap();
}

async fn certain_task_is_claimed_at_once_or_not_at_all(place: &Place) {
    let (one, two) = (place.session("one").await.unwrap(), place.session("two").await.unwrap());
    create(&one, NewTask::titled("another")).await;
    let key = create(&one, NewTask::titled("wanted")).await;
    let task = one.claim_task_by_id(&key).await.unwrap();
    assert_eq!((task.id(), task.title()), (key.as_str(), "wanted"));
    assert!(matches!(two.claim_task_by_id(&key).await, Err(Error::Held { .. })));
    task.complete(None).await.unwrap();
    assert!(matches!(two.claim_task_by_id(&key).await, Err(Error::WrongState { .. })));
    one.close().await.unwrap();
    two.close().await.unwrap();
}
