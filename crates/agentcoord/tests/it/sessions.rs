//! What an agent does in one line each, on both engines.

use std::time::Duration;

use agentcoord::core::agent::AgentRegistry;
use agentcoord::core::lock::{FileLocks, RevokeLock};
use agentcoord::core::op::Actor;
use agentcoord::core::task::NewTask;
use agentcoord::{Ballot, Decision, Error};

use crate::place::Place;

on_both_engines!(
    lock_passes_from_one_session_to_the_next,
    dropped_wait_leaves_the_queue,
    dropped_guard_gives_the_lock_back,
    lock_after_a_dropped_guard_is_a_grant_of_its_own,
    closing_a_session_passes_its_lock_on,
    waiting_claim_gets_the_task_that_is_created,
    approval_blocks_until_a_person_votes,
    revoked_lock_is_lost_and_passes_on,
);

async fn lock_passes_from_one_session_to_the_next(place: &Place) {
    let (one, two) = (place.session("one").await.unwrap(), place.session("two").await.unwrap());
    let first = one.lock_file("src/a.rs").intent("first").await.unwrap();
    let refused = two.lock_file("./src/a.rs").timeout(Duration::ZERO).await;
    assert!(matches!(refused, Err(Error::Held { holder, .. }) if holder == "one"));
    let waiting = two.lock_file("src/a.rs");
    let (second, released) = tokio::join!(waiting, first.release());
    released.unwrap();
    let second = second.unwrap();
    assert_eq!(second.paths()[0].as_str(), "src/a.rs");
    second.release().await.unwrap();
    one.close().await.unwrap();
    two.close().await.unwrap();
}

async fn dropped_wait_leaves_the_queue(place: &Place) {
    let (one, two) = (place.session("one").await.unwrap(), place.session("two").await.unwrap());
    let held = one.lock_file("a").await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(100), two.lock_file("a").into_future()).await;
    assert!(waited.is_err(), "the lock is held");
    two.close().await.unwrap();
    let path = held.paths()[0].clone();
    assert!(one.store().await.unwrap().at(&path).await.unwrap().waiters.is_empty());
    held.release().await.unwrap();
    one.close().await.unwrap();
}

async fn dropped_guard_gives_the_lock_back(place: &Place) {
    let (one, two) = (place.session("one").await.unwrap(), place.session("two").await.unwrap());
    drop(one.lock_file("a").await.unwrap());
    let taken = two.lock_file("a").timeout(Duration::from_secs(10)).await.unwrap();
    taken.release().await.unwrap();
    one.close().await.unwrap();
    two.close().await.unwrap();
}

async fn lock_after_a_dropped_guard_is_a_grant_of_its_own(place: &Place) {
    let one = place.session("one").await.unwrap();
    let first = one.lock_file("a").await.unwrap();
    let before = first.token();
    drop(first);
    let second = one.lock_file("a").await.unwrap();
    assert!(second.token() > before, "what is given back is not taken again");
    second.release().await.unwrap();
    one.close().await.unwrap();
}

async fn closing_a_session_passes_its_lock_on(place: &Place) {
    let (one, two) = (place.session("one").await.unwrap(), place.session("two").await.unwrap());
    let held = one.lock_file("a").await.unwrap();
    let (taken, closed) = tokio::join!(two.lock_file("a").into_future(), one.close());
    closed.unwrap();
    held.lost().await;
    assert!(matches!(held.release().await, Err(Error::Stale { .. })));
    taken.unwrap().release().await.unwrap();
    two.close().await.unwrap();
}

async fn waiting_claim_gets_the_task_that_is_created(place: &Place) {
    let (lead, worker) = (place.session("lead").await.unwrap(), place.session("worker").await.unwrap());
    let mut task = NewTask::titled("build it");
    task.tags = vec!["backend".into()];
    task.description = Some("with care".into());
    let (claimed, created) = tokio::join!(worker.claim_task(["backend"]).into_future(), lead.create_task(task));
    let claimed = claimed.unwrap().unwrap();
    assert_eq!(claimed.id(), created.unwrap().key);
    assert_eq!(claimed.detail().description.as_deref(), Some("with care"));
    claimed.complete(Some("{}".into())).await.unwrap();
    assert!(worker.claim_task(["backend"]).timeout(Duration::ZERO).await.unwrap().is_none());
    lead.close().await.unwrap();
    worker.close().await.unwrap();
}

async fn approval_blocks_until_a_person_votes(place: &Place) {
    let agent = place.session("agent").await.unwrap();
    let approval = agent.request_approval("deployment", "ship 2.0").await.unwrap();
    assert_eq!(approval.decision_within(Duration::ZERO).await.unwrap(), Decision::Pending);
    let asked = approval.look().await.unwrap();
    let vote = agent.connection().vote("ada", &asked, Ballot::approve());
    let (decision, voted) = tokio::join!(approval.decision(), vote);
    voted.unwrap();
    assert_eq!(decision.unwrap(), Decision::Approved);
    assert_eq!(approval.decision().await.unwrap(), Decision::ConsumedBefore);
    agent.close().await.unwrap();
}

async fn revoked_lock_is_lost_and_passes_on(place: &Place) {
    let (one, two) = (place.session("one").await.unwrap(), place.session("two").await.unwrap());
    let held = one.lock_file("a").await.unwrap();
    let audit = agentcoord::audit::Entry::new("human:ada", "revocation", "lock on a", "it hangs").encode().unwrap();
    let revoke = RevokeLock { path: held.paths()[0].clone(), audit };
    let human = Actor::Human("ada".into());
    let (taken, revoked) = tokio::join!(two.lock_file("a").into_future(), one.connection().run(&human, revoke));
    assert_eq!(revoked.unwrap().grants[0].token, held.token());
    held.lost().await;
    assert!(matches!(held.release().await, Err(Error::Stale { .. })));
    taken.unwrap().release().await.unwrap();
    one.close().await.unwrap();
    two.close().await.unwrap();
}

#[test]
fn blocked_executor_does_not_lose_the_session() {
    let place = Place::files();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let agent = runtime.block_on(place.session("agent").ttl(Duration::from_millis(600)).into_future()).unwrap();
    let held = runtime.block_on(agent.lock_file("a").into_future()).unwrap();
    // Nothing runs on the agent's executor for three times the session's time to live.
    std::thread::sleep(Duration::from_millis(1_800));
    runtime.block_on(async {
        let store = agent.store().await.unwrap();
        assert!(store.verify(&held.paths()[0], held.token()).await.unwrap().current);
        assert_eq!(
            AgentRegistry::list(&store, false).await.unwrap()[0].state,
            agentcoord::core::agent::AgentState::Active
        );
        held.release().await.unwrap();
        agent.close().await.unwrap();
    });
}
