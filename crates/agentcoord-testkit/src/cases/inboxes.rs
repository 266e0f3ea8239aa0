//! Inboxes: whom a message reaches, and what counts as read.

use agentcoord_core::Error;
use agentcoord_core::agent::{Register, SessionKind};
use agentcoord_core::board::{Inbox, OpenThread, PostMessage, ReadInbox};
use agentcoord_core::limits;
use agentcoord_core::store::Backend;

use crate::actor::{Player, Scene, registration, strings};
use crate::refused;

/// A thread for some addressees.
fn letter(to: &[&str], text: &str) -> OpenThread {
    OpenThread { to: strings(to), ..OpenThread::new("a letter", Some(text.to_owned())) }
}

async fn inbox(scene: &Scene, reader: &str) -> Inbox {
    scene.store().board().inbox(reader, None, 100).await.expect("readable")
}

/// The texts that wait for a reader.
async fn waiting(scene: &Scene, reader: &str) -> Vec<String> {
    inbox(scene, reader).await.items.into_iter().map(|mail| mail.message.content).collect()
}

async fn read(player: &Player, up_to: u64) -> u64 {
    player.ask(ReadInbox { up_to }).await.expect("accepted").up_to
}

async fn with_role(scene: &Scene, name: &str, role: &str) -> Player {
    scene.agent_as(Register { role: role.to_owned(), ..registration(name) }).await
}

/// A message arrives with whom it names, with its thread, and with nobody else.
pub async fn an_addressed_message_arrives_in_the_inbox(scene: Scene) {
    let (ada, _bob) = (scene.agent("ada").await, scene.agent("bob").await);
    scene.agent("cyd").await;
    let posted = ada.ask(letter(&["bob", "agent:bob"], "hello")).await.expect("accepted");
    assert!(posted.away.is_empty());
    let mail = inbox(&scene, "agent:bob").await.items;
    assert_eq!(mail.len(), 1);
    assert_eq!((mail[0].thread.key.as_str(), mail[0].thread.title.as_str()), (posted.thread.as_str(), "a letter"));
    let message = &mail[0].message;
    assert_eq!((message.number, message.author.as_str(), message.content.as_str()), (1, "agent:ada", "hello"));
    assert_eq!(message.to, ["agent:bob"]);
    for other in ["agent:ada", "agent:cyd", "human:bob"] {
        assert!(waiting(&scene, other).await.is_empty(), "{other}");
    }
    assert_eq!(scene.store().board().unread("agent:bob", 10).await.expect("readable"), 1);
}

/// A role is everybody who has it; an agent of that name comes first.
pub async fn a_role_reaches_everyone_who_has_it(scene: Scene) {
    let ada = scene.agent("ada").await;
    with_role(&scene, "bob", "reviewer").await;
    with_role(&scene, "cyd", "reviewer").await;
    ada.ask(letter(&["reviewer"], "look")).await.expect("accepted");
    for reader in ["agent:bob", "agent:cyd"] {
        assert_eq!(waiting(&scene, reader).await, ["look"], "{reader}");
    }
    let namesake = with_role(&scene, "reviewer", "writer").await;
    ada.ask(letter(&["reviewer"], "you")).await.expect("accepted");
    ada.ask(letter(&["role:reviewer"], "all")).await.expect("accepted");
    assert_eq!(waiting(&scene, &format!("agent:{}", namesake.name())).await, ["you"]);
    assert_eq!(waiting(&scene, "agent:bob").await, ["look", "all"]);
}

/// A mention in the text addresses an agent or a role that is known; any other word after an @ is just text.
pub async fn a_mention_addresses_whom_it_names(scene: Scene) {
    let ada = scene.agent("ada").await;
    scene.agent("bob").await;
    let text = "@bob: see @types/node and @Override, or mail x@bob.org";
    let posted = ada.ask(OpenThread::new("a question", Some(text.to_owned()))).await.expect("accepted");
    assert_eq!(waiting(&scene, "agent:bob").await, [text]);
    ada.ask(PostMessage::new(&posted.thread, "nobody goes by @nobody")).await.expect("accepted");
}

/// A person has an inbox too, without being registered, and reads it by name.
pub async fn a_person_has_an_inbox(scene: Scene) {
    let (ada, eve) = (scene.agent("ada").await, scene.human("eve").await);
    let posted = ada.ask(letter(&["human:eve"], "may I?")).await.expect("accepted");
    assert!(posted.away.is_empty());
    let page = inbox(&scene, "human:eve").await;
    assert_eq!(page.items[0].message.content, "may I?");
    read(&eve, page.up_to).await;
    assert!(waiting(&scene, "human:eve").await.is_empty());
    eve.ask(PostMessage::new(&posted.thread, "yes")).await.expect("accepted");
    assert_eq!(waiting(&scene, "agent:ada").await, ["yes"]);
}

/// Who is known under no name and has no role here cannot be written to; the sender is told, and nothing is posted.
pub async fn an_unknown_addressee_is_refused_and_nothing_is_written(scene: Scene) {
    let ada = scene.agent("ada").await;
    let thread = ada.ask(OpenThread::new("a question", None)).await.expect("accepted").thread;
    let before = scene.csn().await;
    for nobody in ["bob", "agent:bob", "role:ada", "agent:Engineers", "x:y"] {
        refused!(ada.ask(letter(&["ada", nobody], "hello")).await, Error::NotFound { id, .. } if id == nobody);
        let reply = PostMessage { to: strings(&[nobody]), ..PostMessage::new(&thread, "hello") };
        refused!(ada.ask(reply).await, Error::NotFound { id, .. } if id == nobody);
    }
    assert_eq!(scene.csn().await, before);
}

/// A message to somebody who is gone is kept; the sender is told, and the addressee finds it under the same name later.
pub async fn an_addressee_who_is_gone_is_reported_and_finds_the_message_later(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    bob.leave().await;
    let posted = ada.ask(letter(&["bob"], "hello")).await.expect("accepted");
    assert_eq!(posted.away, ["agent:bob"]);
    let back = scene.agent("bob").await;
    assert_eq!(back.name(), "bob");
    assert_eq!(waiting(&scene, "agent:bob").await, ["hello"]);
    let again = ada.ask(PostMessage::new(&posted.thread, "still there?")).await.expect("accepted");
    assert!(again.away.is_empty());
    scene.pass(limits::SESSION_TTL / 2).await;
    ada.beat().await;
    scene.pass(limits::SESSION_TTL / 2 + 1).await;
    let late = ada.ask(PostMessage::new(&posted.thread, "hello?")).await.expect("accepted");
    assert_eq!(late.away, ["agent:bob"]);
}

/// A reply goes to who opened the thread, who was addressed in it and who spoke in it; not to who only looks on.
pub async fn replies_reach_those_who_take_part(scene: Scene) {
    let (ada, bob, cyd) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("cyd").await);
    scene.agent("dan").await;
    let thread = ada.ask(letter(&["bob"], "one")).await.expect("accepted").thread;
    bob.ask(PostMessage::new(&thread, "two")).await.expect("accepted");
    cyd.ask(PostMessage::new(&thread, "three")).await.expect("accepted");
    ada.ask(PostMessage::new(&thread, "four")).await.expect("accepted");
    assert_eq!(waiting(&scene, "agent:ada").await, ["two", "three"]);
    assert_eq!(waiting(&scene, "agent:bob").await, ["one", "three", "four"]);
    assert_eq!(waiting(&scene, "agent:cyd").await, ["four"]);
    assert!(waiting(&scene, "agent:dan").await.is_empty());
}

/// What somebody writes to their own role, or to themselves, is not news to them.
pub async fn nobody_hears_their_own_words(scene: Scene) {
    let ada = with_role(&scene, "ada", "reviewer").await;
    with_role(&scene, "bob", "reviewer").await;
    let thread = ada.ask(letter(&["role:reviewer", "ada"], "one")).await.expect("accepted").thread;
    for _ in 0..5 {
        ada.ask(PostMessage::new(&thread, "more")).await.expect("accepted");
    }
    assert!(waiting(&scene, "agent:ada").await.is_empty());
    assert_eq!(waiting(&scene, "agent:bob").await.len(), 6);
    let board = scene.store().board();
    assert_eq!(board.unread("agent:ada", 2).await.expect("readable"), 0, "also when the page is full of them");
}

/// Looking at an inbox changes nothing, however often.
pub async fn peeking_consumes_nothing(scene: Scene) {
    let (ada, _bob) = (scene.agent("ada").await, scene.agent("bob").await);
    ada.ask(letter(&["bob"], "hello")).await.expect("accepted");
    let before = scene.csn().await;
    let first = inbox(&scene, "agent:bob").await;
    assert_eq!(inbox(&scene, "agent:bob").await, first);
    assert_eq!(scene.csn().await, before);
}

/// What was posted after a page was delivered stays unread when that page is said to be read; the mark never goes back,
/// and never beyond what was posted.
pub async fn reading_advances_only_over_what_was_delivered(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let thread = ada.ask(letter(&["bob"], "one")).await.expect("accepted").thread;
    let page = inbox(&scene, "agent:bob").await;
    ada.ask(PostMessage::new(&thread, "two")).await.expect("accepted");
    assert_eq!(read(&bob, page.up_to).await, page.up_to);
    assert_eq!(waiting(&scene, "agent:bob").await, ["two"]);
    let before = scene.csn().await;
    assert_eq!(read(&bob, 0).await, page.up_to);
    assert_eq!(scene.csn().await, before);
    let all = read(&bob, u64::from(u32::MAX)).await;
    ada.ask(PostMessage::new(&thread, "three")).await.expect("accepted");
    assert_eq!(waiting(&scene, "agent:bob").await, ["three"], "the mark was at {all}");
    refused!(scene.system().await.ask(ReadInbox { up_to: 1 }).await, Error::Refused { policy: "no_session", .. });
}

/// Page after page shows every message once, in the order of the board, whatever address it came to.
pub async fn an_inbox_is_read_in_pages(scene: Scene) {
    let ada = scene.agent("ada").await;
    let bob = with_role(&scene, "bob", "reviewer").await;
    for number in 0..12 {
        let to: &[&str] = match number % 3 {
            0 => &["bob"],
            1 => &["role:reviewer"],
            _ => &["bob", "role:reviewer"],
        };
        ada.ask(letter(to, &number.to_string())).await.expect("accepted");
    }
    let mut seen = Vec::new();
    loop {
        let page = scene.store().board().inbox("agent:bob", None, 5).await.expect("readable");
        seen.extend(page.items.iter().map(|mail| mail.message.content.clone()));
        read(&bob, page.up_to).await;
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, (0..12).map(|number| number.to_string()).collect::<Vec<_>>());
}

/// Who registers does not find what was posted to its role before it came; who comes back does.
pub async fn a_new_agent_begins_with_an_empty_inbox(scene: Scene) {
    let ada = scene.agent("ada").await;
    let shell = |name: &str| Register {
        role: "reviewer".to_owned(),
        kind: SessionKind::Shell,
        ttl: limits::SHELL_SESSION_TTL,
        resume: true,
        ..registration(name)
    };
    let bob = scene.agent_as(shell("bob")).await;
    bob.leave().await;
    let cyd = scene.agent_as(shell("cyd")).await;
    ada.ask(letter(&["role:reviewer"], "hello")).await.expect("accepted");
    cyd.leave().await;
    for name in ["bob", "cyd", "dan"] {
        scene.agent_as(shell(name)).await;
    }
    assert_eq!(waiting(&scene, "agent:bob").await, ["hello"]);
    assert_eq!(waiting(&scene, "agent:cyd").await, ["hello"]);
    assert!(waiting(&scene, "agent:dan").await.is_empty());
}

/// A thread carries along no more than so many; who is named in a message receives that one all the same.
pub async fn an_audience_is_bounded(scene: Scene) {
    let ada = scene.agent("ada").await;
    let thread = ada.ask(OpenThread::new("a crowd", Some("hello".to_owned()))).await.expect("accepted").thread;
    for number in 0..limits::AUDIENCE {
        let to = vec![format!("human:{number}")];
        ada.ask(PostMessage { to, ..PostMessage::new(&thread, "come") }).await.expect("accepted");
    }
    ada.ask(PostMessage::new(&thread, "welcome")).await.expect("accepted");
    // One place is taken by who opened it.
    let last = limits::AUDIENCE - 1;
    assert_eq!(waiting(&scene, &format!("human:{last}")).await, ["come"]);
    assert_eq!(waiting(&scene, &format!("human:{}", last - 1)).await.last().map(String::as_str), Some("welcome"));
}

/// A post wakes those who wait for their inbox, and those who wait for news of the thread.
pub async fn a_post_wakes_its_addressees_and_those_who_follow_the_thread(scene: Scene) {
    let ada = scene.agent("ada").await;
    with_role(&scene, "bob", "reviewer").await;
    let before = scene.csn().await;
    let thread = ada.ask(letter(&["role:reviewer", "bob", "human:eve"], "hello")).await.expect("accepted").thread;
    let woken = scene.wakes(before).await;
    for topic in ["inbox/role:reviewer", "inbox/agent:bob", "inbox/human:eve", &format!("thread/{thread}")] {
        assert!(woken.iter().any(|w| w == topic), "{topic} in {woken:?}");
    }
    assert_eq!(woken.len(), 4);
}
