//! The board: threads that only grow.

use agentcoord_core::Error;
use agentcoord_core::board::{OpenThread, PostMessage, ResolveThread, ThreadFilter, ThreadPriority, ThreadStatus};
use agentcoord_core::ids::Id;
use agentcoord_core::limits;
use agentcoord_core::store::Backend;

use crate::actor::{Scene, id};
use crate::refused;

fn message(thread: &str, text: &str) -> PostMessage {
    PostMessage { thread: thread.to_owned(), message: Id::random(), text: text.to_owned() }
}

/// Many post at the same time: every message is kept, and everyone reads them in one order.
pub async fn concurrent_posts_are_all_kept(scene: Scene) {
    let ada = scene.agent("ada").await;
    let thread = ada.ask(OpenThread::new("a question", None)).await.expect("accepted").thread;
    let mut running = Vec::new();
    for number in 0..6 {
        let (agent, thread) = (scene.agent(&format!("agent {number}")).await, thread.clone());
        running.push(tokio::spawn(async move {
            for turn in 0..10 {
                agent.ask(message(&thread, &format!("{number}/{turn}"))).await.expect("accepted");
            }
        }));
    }
    for task in running {
        task.await.expect("no panic");
    }
    let found = scene.store().board().find(&id(&thread)).await.expect("there");
    let messages = scene.store().board().messages(&found, 0, 1_000).await.expect("readable");
    assert_eq!(messages.len(), 60);
    assert!(messages.iter().zip(1..).all(|(m, number)| m.number == number));
    for number in 0..6 {
        let mine: Vec<&str> =
            messages.iter().map(|m| m.content.as_str()).filter(|c| c.starts_with(&format!("{number}/"))).collect();
        assert_eq!(mine, (0..10).map(|turn| format!("{number}/{turn}")).collect::<Vec<_>>());
    }
    let tail = scene.store().board().messages(&found, 58, 10).await.expect("readable");
    assert_eq!(tail, messages[58..]);
}

/// A thread with a first message shows title, author, time and text as they were given.
pub async fn a_thread_is_read_as_it_was_posted(scene: Scene) {
    let ada = scene.agent("ada").await;
    let text = "first line\nsecond \u{1F980}".to_owned();
    let body = OpenThread {
        priority: ThreadPriority::High,
        tags: vec!["api".to_owned()],
        link: Some("src/main.rs".to_owned()),
        ..OpenThread::new("How?", Some(text.clone()))
    };
    let key = ada.ask(body).await.expect("accepted").thread;
    let thread = scene.store().board().find(&id(&key)).await.expect("there");
    assert_eq!((thread.title.as_str(), thread.posted_by.as_str(), thread.count), ("How?", "agent:ada", 1));
    assert_eq!((thread.priority, thread.link.as_deref()), (ThreadPriority::High, Some("src/main.rs")));
    let messages = scene.store().board().messages(&thread, 0, 10).await.expect("readable");
    assert_eq!((messages[0].content.as_str(), messages[0].author.as_str()), (text.as_str(), "agent:ada"));
    let again = scene.human("grace").await.ask(message(&key, "because")).await.expect("accepted");
    assert_eq!(again.messages, 2);
}

/// A thread is posted to by a short id or a longer form of it; others are not found and nothing is written.
pub async fn a_thread_is_named_by_any_longer_form_of_its_id(scene: Scene) {
    let ada = scene.agent("ada").await;
    let body = OpenThread::new("a question", None);
    let whole = body.id.clone();
    let key = ada.ask(body).await.expect("accepted").thread;
    for typed in [key.as_str(), &whole.as_str()[..12], whole.as_str()] {
        assert_eq!(ada.ask(message(typed, "hello")).await.expect("there").thread, key);
    }
    let before = scene.csn().await;
    refused!(ada.ask(message("0000000000", "hello")).await, Error::NotFound { .. });
    assert_eq!(scene.csn().await, before);
    let found = scene.store().board().find(&id(&whole.as_str()[..4])).await.expect("a short unique prefix will do");
    assert_eq!(found.key, key);
}

/// A short prefix that fits several threads lists them.
pub async fn an_ambiguous_prefix_lists_the_candidates(scene: Scene) {
    let ada = scene.agent("ada").await;
    for tail in ["1", "2"] {
        let whole: Id = format!("abcd000{tail}00000000000000000000000{tail}").parse().expect("hex digits");
        ada.ask(OpenThread { id: whole, ..OpenThread::new("a question", None) }).await.expect("accepted");
    }
    let found = scene.store().board().find(&id("abcd")).await;
    refused!(found, Error::Ambiguous { candidates, .. } if candidates == ["abcd0001", "abcd0002"]);
}

/// Threads are listed urgent first, then newest first; resolved ones only when asked for.
pub async fn threads_are_listed_urgent_then_newest(scene: Scene) {
    let ada = scene.agent("ada").await;
    let mut keys = Vec::new();
    for (title, priority) in [
        ("low", ThreadPriority::Low),
        ("old", ThreadPriority::Normal),
        ("new", ThreadPriority::Normal),
        ("high", ThreadPriority::High),
        ("done", ThreadPriority::High),
    ] {
        keys.push(ada.ask(OpenThread { priority, ..OpenThread::new(title, None) }).await.expect("accepted").thread);
    }
    let resolve = |status| ResolveThread { thread: keys[4].clone(), status };
    ada.ask(resolve(ThreadStatus::Resolved)).await.expect("there");
    let list = async |statuses: Vec<ThreadStatus>, limit, cursor| {
        let page = scene.store().board().list(&ThreadFilter { statuses, limit, cursor }).await.expect("readable");
        (page.items.into_iter().map(|t| t.title).collect::<Vec<_>>(), page.cursor)
    };
    assert_eq!(list(Vec::new(), 10, None).await.0, ["high", "new", "old", "low"]);
    assert_eq!(list(vec![ThreadStatus::Resolved], 10, None).await.0, ["done"]);
    let (first, cursor) = list(Vec::new(), 3, None).await;
    assert_eq!(first, ["high", "new", "old"]);
    assert_eq!(list(Vec::new(), 3, cursor).await.0, ["low"]);
    ada.ask(resolve(ThreadStatus::Active)).await.expect("there");
    let reopened = scene.store().board().find(&id(&keys[4])).await.expect("there");
    assert_eq!((reopened.status, reopened.resolved_at), (ThreadStatus::Active, None));
}

/// An id names one thread.
pub async fn a_thread_id_is_used_once(scene: Scene) {
    let ada = scene.agent("ada").await;
    let body = OpenThread::new("first", None);
    ada.ask(body.clone()).await.expect("accepted");
    let again = OpenThread { title: "second".to_owned(), ..body };
    refused!(ada.ask(again).await, Error::Refused { policy: "id_taken", .. });
}

/// Bad input is refused with the field's name before anything is written.
pub async fn bad_posts_write_nothing(scene: Scene) {
    let ada = scene.agent("ada").await;
    let before = scene.csn().await;
    let good = OpenThread::new("a question", None);
    for (field, bad) in [
        ("title", OpenThread { title: "  ".to_owned(), ..good.clone() }),
        ("tags", OpenThread { tags: vec!["x".repeat(limits::NAME_BYTES + 1)], ..good.clone() }),
        ("message", OpenThread { text: Some(String::new()), ..good.clone() }),
        ("link", OpenThread { link: Some("x".repeat(limits::PATH_BYTES + 1)), ..good.clone() }),
    ] {
        refused!(ada.ask(bad).await, Error::Invalid { field: named, .. } if named == field);
    }
    refused!(ada.ask(message("not hex", "x")).await, Error::Invalid { field: "thread", .. });
    refused!(ada.ask(message("01234567", "")).await, Error::Invalid { field: "message", .. });
    let long = "x".repeat(limits::BLOB_BYTES + 1);
    refused!(ada.ask(message("01234567", &long)).await, Error::Invalid { field: "message", .. });
    assert_eq!(scene.csn().await, before);
}
