//! The board through the library: inboxes and threads as streams, on both engines.

use std::time::Duration;

use agentcoord::CoordinationClient;
use agentcoord::core::store::Backend;

use crate::place::Place;

/// Longer than any wake-up may take; the slow look behind it takes five seconds.
const SOON: Duration = Duration::from_secs(4);

async fn agents(place: &Place) -> (CoordinationClient, CoordinationClient) {
    (place.session("ada").await.unwrap(), place.session("bob").await.unwrap())
}

async fn both() -> [Place; 2] {
    [Place::files(), Place::redis()]
}

#[tokio::test]
async fn mailbox_gives_each_message_once_and_marks_it_read_when_the_next_is_asked_for() {
    for place in both().await {
        let (ada, bob) = agents(&place).await;
        for number in 0..40 {
            ada.post_thread("hello", format!("{number}")).to("@bob").await.unwrap();
        }
        let mut mailbox = bob.mailbox();
        for number in 0..40 {
            assert_eq!(mailbox.next().await.unwrap().message.content, number.to_string());
        }
        drop(mailbox);
        let page = bob.inbox(10).await.unwrap();
        assert_eq!(page.items.len(), 1, "the last one was given, but nothing was asked for after it");
        bob.mark_read(&page).await.unwrap();
        assert!(bob.inbox(10).await.unwrap().items.is_empty());
        ada.close().await.unwrap();
        bob.close().await.unwrap();
    }
}

#[tokio::test]
async fn message_wakes_the_mailbox_of_its_addressee_and_of_everybody_with_the_role() {
    for place in both().await {
        let (ada, bob) = agents(&place).await;
        for to in ["@bob", "role:Engineer"] {
            let mut mailbox = bob.mailbox();
            // A first message, read: the next call has subscribed and waits.
            let waiting = tokio::spawn(async move {
                let first = mailbox.next().await.unwrap().message.content;
                (first, mailbox.next().await.unwrap().message.content)
            });
            ada.post_thread("one", "first").to(to).await.unwrap();
            let unread = async || bob.store().await.unwrap().board().unread("agent:bob", 9).await.unwrap();
            while unread().await != 0 {
                tokio::task::yield_now().await;
            }
            ada.post_thread("two", "second").to(to).await.unwrap();
            let heard = tokio::time::timeout(SOON, waiting).await.expect("woken before the slow look").unwrap();
            assert_eq!(heard, ("first".to_owned(), "second".to_owned()));
            bob.mark_read(&bob.inbox(9).await.unwrap()).await.unwrap();
        }
        ada.close().await.unwrap();
        bob.close().await.unwrap();
    }
}

#[tokio::test]
async fn thread_is_followed_from_any_message_on() {
    for place in both().await {
        let (ada, bob) = agents(&place).await;
        let thread = ada.post_thread("a question", "one").await.unwrap().thread;
        ada.reply(&thread, "two").await.unwrap();
        let mut feed = bob.follow_thread(&thread, 1).await.unwrap();
        let waiting = tokio::spawn(async move {
            let second = feed.next().await.unwrap().content;
            (second, feed.next().await.unwrap().content)
        });
        ada.reply(&thread, "three").await.unwrap();
        let heard = tokio::time::timeout(SOON, waiting).await.expect("woken before the slow look").unwrap();
        assert_eq!(heard, ("two".to_owned(), "three".to_owned()));
        ada.close().await.unwrap();
        bob.close().await.unwrap();
    }
}

#[tokio::test]
async fn dropped_wait_loses_no_message() {
    let place = Place::files();
    let (ada, bob) = agents(&place).await;
    let mut mailbox = bob.mailbox();
    for number in 0..20 {
        let short = Duration::from_micros(50 * number);
        drop(tokio::time::timeout(short, mailbox.next()).await);
    }
    ada.post_thread("hello", "still there").to("@bob").await.unwrap();
    assert_eq!(mailbox.next().await.unwrap().message.content, "still there");
    ada.close().await.unwrap();
    bob.close().await.unwrap();
}
