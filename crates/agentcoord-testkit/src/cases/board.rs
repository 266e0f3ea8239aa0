//! The board: threads that only grow.

use agentcoord_core::Error;
use agentcoord_core::board::{
    OpenThread, Place, PostMessage, Search, ThreadFilter, ThreadPriority, ThreadStatus, UpdateThread,
};
use agentcoord_core::ids::Id;
use agentcoord_core::limits;
use agentcoord_core::store::Backend;

use crate::actor::{Scene, id, strings};
use crate::refused;

fn message(thread: &str, text: &str) -> PostMessage {
    PostMessage::new(thread, text)
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
    let resolve = |status| UpdateThread::to(&keys[4], status);
    ada.ask(resolve(ThreadStatus::Resolved)).await.expect("there");
    let list = async |statuses: Vec<ThreadStatus>, limit, cursor| {
        let page = scene
            .store()
            .board()
            .list(&ThreadFilter { statuses, limit, cursor, ..ThreadFilter::default() })
            .await
            .expect("readable");
        (page.items.into_iter().map(|t| t.title).collect::<Vec<_>>(), page.cursor)
    };
    assert_eq!(list(Vec::new(), 10, None).await.0, ["high", "new", "old", "low"]);
    assert_eq!(list(vec![ThreadStatus::Resolved], 10, None).await.0, ["done"]);
    let (first, cursor) = list(Vec::new(), 3, None).await;
    assert_eq!(first, ["high", "new", "old"]);
    assert_eq!(list(Vec::new(), 3, cursor).await.0, ["low"]);
}

/// A thread is resolved and opened again, made urgent and tagged anew; a reply can do the first in its own step.
pub async fn a_thread_is_resolved_reopened_and_tagged(scene: Scene) {
    let ada = scene.agent("ada").await;
    let body = OpenThread { tags: strings(&["api", "api", "docs"]), ..OpenThread::new("a question", None) };
    let key = ada.ask(body).await.expect("accepted").thread;
    let look = async || scene.store().board().find(&id(&key)).await.expect("there");
    let answer = PostMessage { status: Some(ThreadStatus::Resolved), ..message(&key, "because") };
    assert_eq!(ada.ask(answer).await.expect("there").messages, 1);
    assert_eq!((look().await.status, look().await.resolved_at.is_some()), (ThreadStatus::Resolved, true));
    ada.ask(UpdateThread::to(&key, ThreadStatus::Active)).await.expect("there");
    assert_eq!((look().await.status, look().await.resolved_at), (ThreadStatus::Active, None));
    let tagged = async |tag: &str| {
        let filter = ThreadFilter { tag: Some(tag.to_owned()), limit: 10, ..ThreadFilter::default() };
        scene.store().board().list(&filter).await.expect("readable").items.len()
    };
    assert_eq!((tagged("api").await, tagged("docs").await, tagged("ops").await), (1, 1, 0));
    let tags = Some(strings(&["ops"]));
    let change = UpdateThread { thread: key.clone(), priority: Some(ThreadPriority::High), tags, ..Default::default() };
    ada.ask(change).await.expect("there");
    assert_eq!((look().await.priority, look().await.status), (ThreadPriority::High, ThreadStatus::Active));
    assert_eq!((tagged("api").await, tagged("ops").await), (0, 1));
    refused!(ada.ask(UpdateThread::to("0000000000", ThreadStatus::Active)).await, Error::NotFound { .. });
}

/// A listing keeps to its filters, page by page.
pub async fn a_listing_keeps_to_its_filters(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    for number in 0..5 {
        let body = OpenThread {
            link: (number % 2 == 0).then(|| "src/main.rs".to_owned()),
            ..OpenThread::new(format!("thread {number}"), None)
        };
        if number == 4 { bob.ask(body).await } else { ada.ask(body).await }.expect("accepted");
    }
    let filter = ThreadFilter {
        link: Some("src/main.rs".to_owned()),
        posted_by: Some("agent:ada".to_owned()),
        limit: 1,
        ..ThreadFilter::default()
    };
    let first = scene.store().board().list(&filter).await.expect("readable");
    let rest = ThreadFilter { cursor: first.cursor, limit: 10, ..filter };
    let rest = scene.store().board().list(&rest).await.expect("readable");
    let titles: Vec<String> = first.items.into_iter().chain(rest.items).map(|t| t.title).collect();
    assert_eq!((titles, rest.cursor), (strings(&["thread 2", "thread 0"]), None));
    let alien = ThreadFilter { cursor: Some("00".to_owned()), limit: 1, ..ThreadFilter::default() };
    refused!(scene.store().board().list(&alien).await, Error::Invalid { field: "cursor", .. });
}

/// A repeated idempotency key posts nothing and returns what the first call posted; with other content it is refused.
pub async fn a_repeated_key_posts_once(scene: Scene) {
    let ada = scene.agent("ada").await;
    let open =
        || OpenThread { key: Some("deploy".to_owned()), ..OpenThread::new("a question", Some("why?".to_owned())) };
    let first = ada.ask(open().seal()).await.expect("accepted");
    let reply = || PostMessage { key: Some("deploy".to_owned()), ..message(&first.thread, "because") };
    let answer = ada.ask(reply().seal()).await.expect("accepted");
    ada.ask(message(&first.thread, "something else")).await.expect("accepted");
    let before = scene.csn().await;
    let again = ada.ask(open().seal()).await.expect("accepted");
    assert_eq!((again.thread, again.messages, again.duplicate), (first.thread.clone(), 1, true));
    let again = ada.ask(reply().seal()).await.expect("accepted");
    assert_eq!((again.messages, again.duplicate, answer.duplicate), (answer.messages, true, false));
    assert_eq!(scene.csn().await, before);
    let other = OpenThread { title: "another".to_owned(), ..open() };
    refused!(ada.ask(other.seal()).await, Error::Refused { policy: "key_reused", .. });
    refused!(ada.ask(reply()).await, Error::Invalid { field: "digest", .. });
}

/// A search looks at titles, tags and messages, in any case, in open and resolved threads; each thread is found once.
pub async fn search_finds_titles_tags_and_texts(scene: Scene) {
    let ada = scene.agent("ada").await;
    let title = ada.ask(OpenThread::new("The Cache is cold", None)).await.expect("accepted").thread;
    let tags = strings(&["cache"]);
    let tag = ada.ask(OpenThread { tags, ..OpenThread::new("a tag", None) }).await.expect("accepted").thread;
    let text = ada.ask(OpenThread::new("a text", Some("nothing here".to_owned()))).await.expect("accepted").thread;
    ada.ask(message(&text, "line one\nwarm the CACHE first\nline three")).await.expect("accepted");
    ada.ask(message(&text, "the cache again")).await.expect("accepted");
    ada.ask(OpenThread::new("none of it", Some("no".to_owned()))).await.expect("accepted");
    ada.ask(UpdateThread::to(&title, ThreadStatus::Resolved)).await.expect("there");
    let mut search = Search { text: "cache".to_owned(), limit: 1, cursor: None };
    let mut found = Vec::new();
    loop {
        let page = scene.store().board().search(&search).await.expect("readable");
        assert!(page.items.len() <= 1);
        found.extend(page.items.into_iter().map(|hit| (hit.thread.key, hit.place)));
        match page.cursor {
            Some(cursor) => search.cursor = Some(cursor),
            None => break,
        }
    }
    let line = "warm the CACHE first".to_owned();
    let in_text = Place::Message { number: 2, author: "agent:ada".to_owned(), line };
    let expected = [(text, in_text), (tag, Place::Tag("cache".to_owned())), (title, Place::Title)];
    assert_eq!(found, expected);
    let nothing = Search { text: " ".to_owned(), limit: 1, cursor: None };
    refused!(scene.store().board().search(&nothing).await, Error::Invalid { field: "text", .. });
}

/// A thread with more messages than one page of a search looks at is searched to its end, page by page.
pub async fn a_search_goes_on_inside_a_long_thread(scene: Scene) {
    let ada = scene.agent("ada").await;
    let key = ada.ask(OpenThread::new("long", None)).await.expect("accepted").thread;
    for _ in 0..limits::MESSAGES_PER_LOOK + 10 {
        ada.ask(message(&key, "hay")).await.expect("accepted");
    }
    ada.ask(message(&key, "a needle")).await.expect("accepted");
    let search = Search { text: "needle".to_owned(), limit: 10, cursor: None };
    let first = scene.store().board().search(&search).await.expect("readable");
    assert!(first.items.is_empty() && first.cursor.is_some());
    let search = Search { cursor: first.cursor, ..search };
    let second = scene.store().board().search(&search).await.expect("readable");
    assert_eq!((second.items.len(), second.cursor), (1, None));
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
        ("to", OpenThread { to: strings(&["bob"]), ..good.clone() }),
        ("to", OpenThread { to: vec!["bob".to_owned(); limits::ADDRESSEES + 1], ..good.clone() }),
        ("key", OpenThread { key: Some(String::new()), ..good.clone() }),
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
