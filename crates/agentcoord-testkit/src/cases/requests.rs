//! The envelope of every mutation: its number, its repeats, its event.

use agentcoord_core::agent::Tick;
use agentcoord_core::audit::AppendAudit;
use agentcoord_core::board::{OpenThread, PostMessage};
use agentcoord_core::ids::Epoch;
use agentcoord_core::limits;
use agentcoord_core::lock::{AcquireLock, WithdrawLock};
use agentcoord_core::op::{Call, Op, answer};
use agentcoord_core::record::{NEVER, RingRecord};
use agentcoord_core::request::VoidRequest;
use agentcoord_core::store::Backend;
use agentcoord_core::table::Table;
use agentcoord_core::task::{CreateTasks, NewTask};
use agentcoord_core::{Disposition, Error};

use crate::actor::{Scene, contended, granted, locking};
use crate::refused;

fn entry(text: &str) -> AppendAudit {
    AppendAudit { entry: text.to_owned() }
}

/// A repeated request returns the first answer and does nothing, for every kind of mutation.
pub async fn a_repeat_returns_the_first_answer(scene: Scene) {
    let ada = scene.agent("ada").await;
    let create = ada.op(CreateTasks::new(vec![NewTask::titled("once")]));
    let append = ada.op(entry("{}"));
    let open = ada.op(OpenThread::new("once", Some("text".to_owned())));
    let first = (
        ada.send(&create).await.expect("accepted"),
        ada.send(&append).await.expect("accepted"),
        ada.send(&open).await.expect("accepted"),
    );
    let post = ada.op(PostMessage::new(&first.2.thread, "x"));
    let posted = ada.send(&post).await.expect("accepted");
    let before = scene.csn().await;
    scene.pass(10_000).await;
    for _ in 0..3 {
        assert_eq!(ada.send(&create).await.expect("repeated"), first.0);
        assert_eq!(ada.send(&append).await.expect("repeated"), first.1);
        assert_eq!(ada.send(&open).await.expect("repeated"), first.2);
        assert_eq!(ada.send(&post).await.expect("repeated"), posted);
    }
    assert_eq!(scene.csn().await, before);
}

/// A repeat is answered also when the session that asked has ended in between.
pub async fn a_repeat_is_answered_after_the_session(scene: Scene) {
    let ada = scene.agent("ada").await;
    let op = ada.op(entry("{}"));
    let first = ada.send(&op).await.expect("accepted");
    ada.leave().await;
    assert_eq!(ada.send(&op).await.expect("repeated"), first);
}

/// The same number with another body is refused: the client is at fault.
pub async fn a_number_with_another_body_is_refused(scene: Scene) {
    let ada = scene.agent("ada").await;
    let op = ada.op(entry("{\"a\":1}"));
    ada.send(&op).await.expect("accepted");
    let before = scene.csn().await;
    let number = op.request.0;
    let other = ada.op_numbered(number, entry("{\"a\":2}"));
    refused!(ada.send(&other).await, Error::Refused { policy: "request_reused", .. });
    let other_verb = ada.op_numbered(number, locking(&["a"]));
    refused!(ada.send(&other_verb).await, Error::Refused { policy: "request_reused", .. });
    assert_eq!(scene.csn().await, before);
}

/// A body's blobs belong to it: the same number with another text is another body.
pub async fn a_number_with_another_blob_is_refused(scene: Scene) {
    let ada = scene.agent("ada").await;
    let body = OpenThread::new("a question", Some("first".to_owned()));
    let op = ada.op(body.clone());
    ada.send(&op).await.expect("accepted");
    let other = ada.op_numbered(op.request.0, OpenThread { text: Some("second".to_owned()), ..body });
    refused!(ada.send(&other).await, Error::Refused { policy: "request_reused", .. });
}

/// The same numbers of another client are other requests.
pub async fn numbers_belong_to_their_client(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let (one, two) = (ada.op_numbered(77, entry("{}")), bob.op_numbered(77, entry("{}")));
    let (one, two) = (ada.send(&one).await.expect("accepted"), bob.send(&two).await.expect("accepted"));
    assert_eq!((one.seq, two.seq), (1, 2));
}

/// A number a whole window below the newest in its slot gets no guess.
pub async fn a_number_below_the_window_is_too_old(scene: Scene) {
    let ada = scene.agent("ada").await;
    let old = ada.op_numbered(20, entry("{}"));
    ada.send(&old).await.expect("accepted");
    let new = ada.op_numbered(20 + limits::REPLAY_WINDOW, entry("{}"));
    ada.send(&new).await.expect("accepted");
    let before = scene.csn().await;
    refused!(ada.send(&old).await, Error::TooOld { request } if request == old.request);
    assert_eq!(scene.csn().await, before);
}

/// The newest 256 requests are all remembered, and only they.
pub async fn the_window_holds_the_newest_requests(scene: Scene) {
    let person = scene.human("grace").await;
    let mut answers = Vec::new();
    for number in 1..=limits::REPLAY_WINDOW + 10 {
        let op = person.op_numbered(number, entry(&format!("{{\"n\":{number}}}")));
        answers.push((person.send(&op).await.expect("accepted"), op));
    }
    let before = scene.csn().await;
    for (number, (answer, op)) in (1..).zip(&answers) {
        if number <= 10 {
            refused!(person.send(op).await, Error::TooOld { .. });
        } else {
            assert_eq!(person.send(op).await.expect("repeated"), *answer);
        }
    }
    assert_eq!(scene.csn().await, before);
}

/// A refused request has done nothing, and may be asked again under its number when things have changed.
pub async fn a_refused_request_may_be_asked_again(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let held = ada.hold(&["a"]).await;
    let body = agentcoord_core::lock::AcquireLock { wait: Some(0), ..locking(&["a"]) };
    let op = bob.op(body);
    let before = scene.csn().await;
    assert!(matches!(bob.send(&op).await, Ok(agentcoord_core::lock::Acquire::Contended { .. })));
    assert_eq!(scene.csn().await, before, "an answer that changed nothing leaves nothing");
    ada.release(held.token).await.expect("held");
    granted(bob.send(&op).await.expect("accepted"));
}

/// Withdrawing something that was no lock request takes nothing away and fails nobody.
pub async fn withdrawing_another_kind_of_request_does_nothing(scene: Scene) {
    let ada = scene.agent("ada").await;
    let create = ada.op(CreateTasks::new(vec![NewTask::titled("a task")]));
    ada.send(&create).await.expect("accepted");
    let released = ada.ask(WithdrawLock { request: create.request, confirm: None }).await.expect("accepted");
    assert!(released.paths.is_empty());
    assert!(!ada.send(&create).await.expect("still answered").items[0].duplicate);
    let append = ada.op(entry("{}"));
    ada.send(&append).await.expect("accepted");
    assert_eq!(ada.withdraw_task(append.request).await, None);
}

/// A client's replay slots go when it has been silent for long, and not before.
pub async fn replay_slots_live_an_hour_past_the_last_use(scene: Scene) {
    let person = scene.human("grace").await;
    let op = person.op(entry("{}"));
    person.send(&op).await.expect("accepted");
    scene.pass(limits::REPLAY_TTL).await;
    scene.settle().await;
    assert_eq!(person.send(&op).await.expect("repeated").seq, 1);
    scene.pass(2 * limits::REPLAY_TTL).await;
    scene.settle().await;
    let slot = RingRecord::key(person.client(), op.request);
    let fetched = scene.store().engine().fetch(Table::Ring, &[slot]).await.expect("readable");
    assert_eq!(fetched, [None]);
}

/// One mutation, one event, numbered without gaps, with who did it, what it is called and what it touched.
pub async fn every_mutation_is_one_event(scene: Scene) {
    let ada = scene.agent("ada").await;
    let before = scene.csn().await;
    let op = ada.op(locking(&["a", "b"]));
    let grant = granted(ada.send(&op).await.expect("accepted"));
    ada.create_titled("a task").await;
    ada.release(grant.token).await.expect("held");
    let events = scene.events(before).await;
    assert_eq!(
        events.iter().map(|e| e.verb.as_str()).collect::<Vec<_>>(),
        ["lock/acquire", "task/create", "lock/release"]
    );
    assert!(events.iter().zip(before.0 + 1..).all(|(e, csn)| e.csn.0 == csn));
    assert_eq!((&events[0].client, events[0].request, &events[0].actor), (&op.client, op.request, &op.actor));
    let image = events[2].images.iter().find(|i| i.table == Table::Lock).expect("the lock is in it");
    assert_eq!((image.key.as_str(), image.record.len()), (grant.token.to_string().as_str(), 0), "gone");
    assert_eq!(scene.store().events(before, 2).await.expect("readable"), events[..2]);
}

/// An operation for another epoch did not happen.
pub async fn an_operation_of_another_epoch_does_not_happen(scene: Scene) {
    let person = scene.human("grace").await;
    let mut op = person.op(entry("{}"));
    op.epoch = Epoch(op.epoch.0 + 1);
    let error = person.send(&op).await.expect_err("it is fenced out");
    assert_eq!(error.disposition(), Disposition::Unavailable, "{error:?}");
    assert_eq!(scene.store().audit().extent().await.expect("readable").entries, 0);
}

/// A repeat that arrives at the same time as the first is one request.
pub async fn simultaneous_repeats_are_one_request(scene: Scene) {
    let person = std::sync::Arc::new(scene.human("grace").await);
    let number = person.op(()).request.0;
    let mut running = Vec::new();
    for _ in 0..8 {
        let person = person.clone();
        running.push(tokio::spawn(async move { person.send(&person.op_numbered(number, entry("{}"))).await }));
    }
    for task in running {
        assert_eq!(task.await.expect("no panic").expect("accepted").seq, 1);
    }
    assert_eq!(scene.store().audit().extent().await.expect("readable").entries, 1);
}

/// An empty state has nothing due and counts nothing.
pub async fn an_empty_state_is_empty(scene: Scene) {
    let (state, _) = scene.store().engine().state().await.expect("readable");
    assert_eq!((state.csn.0, state.token, state.audit), (0, 0, 0));
    assert_eq!((state.next_due, state.next_calendar), (NEVER, NEVER));
    assert!(scene.store().locks().list().await.expect("readable").is_empty());
    assert!(scene.store().approvals().list(None).await.expect("readable").is_empty());
}

/// A client that has lost an answer asks again. What it hears then is final, also for the first copy of the request when
/// that arrives after all: nobody would know of what it did.
pub async fn late_copy_of_a_request_asked_again_does_nothing(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let held = bob.hold(&["a"]).await;
    let first = ada.op(AcquireLock { wait: Some(0), ..locking(&["a"]) });
    let mut again = Call::encode(&first).expect("a valid request");
    again.again = true;
    let heard = scene.store().engine().step(again).await.expect("an answer");
    contended(answer::<AcquireLock>(&heard).expect("no refusal"));
    bob.release(held.token).await.expect("held");
    contended(ada.send(&first).await.expect("the answer that was heard"));
    assert!(scene.holders("a").await.is_empty());
}

/// A request of a client that has ended is settled: it has happened, or never will, also when it arrives late.
pub async fn a_voided_request_never_happens(scene: Scene) {
    let (ada, bob, system) = (scene.agent("ada").await, scene.agent("bob").await, scene.system().await);
    let (done, late) = (ada.op(entry("{\"a\":1}")), ada.op(entry("{\"a\":2}")));
    let seq = ada.send(&done).await.expect("accepted");
    let void = |op: &Op<AppendAudit>| VoidRequest { client: op.client.clone(), request: op.request };
    assert!(system.ask(void(&done)).await.expect("accepted").settled, "it has happened");
    assert!(!system.ask(void(&late)).await.expect("accepted").settled, "it has not");
    let csn = scene.csn().await;
    assert!(matches!(ada.send(&late).await, Err(Error::TooOld { .. })), "it came too late");
    assert_eq!(ada.send(&done).await.expect("repeated"), seq);
    assert!(system.ask(void(&late)).await.expect("accepted").settled, "nothing is left to settle");
    refused!(bob.ask(void(&late)).await, Error::Refused { policy: "system_only", .. });
    assert_eq!(scene.csn().await, csn);
}

/// The same holds for refusals.
pub async fn late_copy_of_a_request_refused_again_does_nothing(scene: Scene) {
    let ada = scene.agent("ada").await;
    let first = ada.op(PostMessage::new("0".repeat(8), "x"));
    let mut again = Call::encode(&first).expect("a valid request");
    again.again = true;
    let heard = scene.store().engine().step(again.clone()).await.expect("an answer");
    assert!(matches!(answer::<PostMessage>(&heard), Err(Error::NotFound { .. })));
    let csn = scene.csn().await;
    assert!(matches!(ada.send(&first).await, Err(Error::NotFound { .. })));
    assert_eq!(scene.store().engine().step(again).await.expect("the same answer"), heard);
    assert_eq!(scene.csn().await, csn, "the refusal was remembered once");
}

/// A client that has gone silent leaves up to a window of replay slots: a step that forgets one leaves the next to a later step.
pub async fn a_step_that_has_settled_much_leaves_the_rest(scene: Scene) {
    for _ in 0..2 {
        let client = scene.system().await;
        for _ in 0..limits::WORK_PER_STEP {
            client.ask(entry("{}")).await.expect("accepted");
        }
    }
    scene.pass(3 * limits::REPLAY_TTL).await;
    let system = scene.system().await;
    for next_in in [Some(0), Some(2 * limits::REPLAY_TTL)] {
        let ticked = system.ask(Tick { most: 64 }).await.expect("accepted");
        assert_eq!((ticked.settled, ticked.next_in), (1, next_in));
    }
}
