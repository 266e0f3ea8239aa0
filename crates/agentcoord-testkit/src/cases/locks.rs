//! File locks: exclusive, fair, fenced, all or none.

use agentcoord_core::Error;
use agentcoord_core::ids::Token;
use agentcoord_core::limits;
use agentcoord_core::lock::{Acquire, AcquireLock, LockPath, ReleaseLock, RenewLock, WithdrawLock};
use agentcoord_core::store::Backend;

use crate::actor::{Scene, contended, granted, lock_path, locking, queued};
use crate::refused;

/// Of two agents only one holds a path; the other is told who, why and since when.
pub async fn acquire_is_exclusive(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let body = AcquireLock { intent: Some("refactoring".to_owned()), ..locking(&["src/main.rs"]) };
    granted(ada.ask(body).await.expect("accepted"));
    let conflicts = contended(bob.try_lock(&["src/main.rs"]).await);
    assert_eq!(conflicts.len(), 1);
    assert_eq!((conflicts[0].name.as_str(), conflicts[0].agent.as_str()), ("ada", ada.agent()));
    assert_eq!(conflicts[0].intent.as_deref(), Some("refactoring"));
    assert!(!conflicts[0].waiting);
    assert_eq!(scene.holders("src/main.rs").await, ["ada"]);
}

/// With one path taken, none of the request's paths is held, whether it queues or not.
pub async fn acquire_is_all_or_none(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    ada.hold(&["b"]).await;
    contended(bob.try_lock(&["a", "b", "c"]).await);
    granted(eve.try_lock(&["a"]).await);
    queued(bob.lock(&["b", "c"]).await);
    assert!(scene.holders("c").await.is_empty());
}

/// A request that conflicts with an older waiter waits behind it, also when its path is free.
pub async fn acquire_is_fair(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    ada.hold(&["a"]).await;
    queued(bob.lock(&["a", "b"]).await);
    let conflicts = contended(eve.try_lock(&["b"]).await);
    assert!(conflicts[0].waiting, "bob does not hold it but comes first");
    assert_eq!(conflicts[0].name, "bob");
    queued(eve.lock(&["b"]).await);
    assert_eq!(scene.waiters("b").await, ["bob", "eve"]);
}

/// The same paths in the same lane give the same token, also while others wait for them.
pub async fn acquire_again_is_the_same_lease(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let first = ada.hold(&["a", "b"]).await;
    queued(bob.lock(&["a"]).await);
    let again = ada.hold(&["b", "a"]).await;
    assert_eq!(again.token, first.token);
    assert!(again.reacquired && !first.reacquired);
    ada.release(first.token).await.expect("held");
    assert!(scene.holders("b").await.is_empty(), "one release is enough");
}

/// Every new grant has a higher token than all before it, whoever gets it and however.
pub async fn tokens_strictly_increase(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let mut last = Token(0);
    for _ in 0..5 {
        let held = ada.hold(&["a"]).await.token;
        let ticket = queued(bob.lock(&["a"]).await);
        ada.release(held).await.expect("held");
        let passed_on = granted(bob.confirm_lock(&ticket).await).token;
        bob.release(passed_on).await.expect("held");
        let other = ada.hold(&["other"]).await.token;
        ada.release(other).await.expect("held");
        assert!(last < held && held < passed_on && passed_on < other);
        last = other;
    }
    assert!(last.0 < 1 << 53);
}

/// Repeating a request returns the first answer, also after the lock is gone.
pub async fn acquire_is_idempotent(scene: Scene) {
    let ada = scene.agent("ada").await;
    let op = ada.op(locking(&["a"]));
    let first = granted(ada.send(&op).await.expect("accepted"));
    assert_eq!(granted(ada.send(&op).await.expect("accepted")), first);
    ada.release(first.token).await.expect("held");
    assert_eq!(granted(ada.send(&op).await.expect("accepted")), first);
    assert!(scene.holders("a").await.is_empty(), "a repeat does nothing");
}

/// The release itself moves the grant to the oldest waiter and wakes only it; confirming takes it up.
pub async fn release_grants_to_the_oldest_waiter(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    let held = ada.hold(&["a"]).await;
    let (first, second) = (queued(bob.lock(&["a"]).await), queued(eve.lock(&["a"]).await));
    let before = scene.csn().await;
    ada.release(held.token).await.expect("held");
    assert_eq!(scene.wakes(before).await, [first.as_str()]);
    assert_eq!(queued(eve.confirm_lock(&second).await), second, "it is not eve's turn");
    let grant = granted(bob.confirm_lock(&first).await);
    assert!(scene.is_current("a", grant.token).await);
    assert_eq!(scene.holders("a").await, ["bob"]);
    contended(ada.try_lock(&["a"]).await);
}

/// A waiter that does not confirm within the offer time loses the grant to the next and waits on behind it.
pub async fn unconfirmed_offer_moves_on(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    let held = ada.hold(&["a"]).await;
    let (first, second) = (queued(bob.lock(&["a"]).await), queued(eve.lock(&["a"]).await));
    ada.release(held.token).await.expect("held");
    scene.pass(limits::OFFER).await;
    scene.settle().await;
    let grant = granted(eve.confirm_lock(&second).await);
    assert_eq!(queued(bob.confirm_lock(&first).await), first);
    eve.release(grant.token).await.expect("held");
    granted(bob.confirm_lock(&first).await);
}

/// An offer that is confirmed in time is a lock like any other.
pub async fn an_offer_protects_its_path_until_it_lapses(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    let held = ada.hold(&["a"]).await;
    let ticket = queued(bob.lock(&["a"]).await);
    ada.release(held.token).await.expect("held");
    scene.pass(limits::OFFER - 1).await;
    contended(eve.try_lock(&["a"]).await);
    granted(bob.confirm_lock(&ticket).await);
}

/// Only the holding session may renew; others are told who holds it, and nothing is written.
pub async fn renew_checks_the_owner(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let held = granted(ada.ask(AcquireLock { ttl: Some(1_000), ..locking(&["a"]) }).await.expect("accepted"));
    let before = scene.csn().await;
    let stolen = bob.ask(RenewLock { token: held.token, ttl: Some(60_000) }).await;
    refused!(stolen, Error::Stale { owner: Some(owner), .. } if owner == "ada");
    assert_eq!(scene.csn().await, before);
    ada.ask(RenewLock { token: held.token, ttl: Some(5_000) }).await.expect("ada holds it");
    scene.pass(4_999).await;
    assert!(scene.is_current("a", held.token).await);
    scene.pass(1).await;
    assert!(!scene.is_current("a", held.token).await);
}

/// A stale token releases nothing.
pub async fn release_never_frees_anothers_lock(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let held = ada.hold(&["a"]).await;
    refused!(bob.release(held.token).await, Error::Stale { .. });
    refused!(bob.release(Token(held.token.0 + 1)).await, Error::Stale { .. });
    assert_eq!(scene.holders("a").await, ["ada"]);
}

/// The original deleted whoever's lock was there when a release came late.
pub async fn late_release_never_frees_anothers_lock(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let held = granted(ada.ask(AcquireLock { ttl: Some(1_000), ..locking(&["a"]) }).await.expect("accepted"));
    scene.pass(1_000).await;
    let new = bob.hold(&["a"]).await;
    refused!(ada.release(held.token).await, Error::Stale { .. });
    assert!(scene.is_current("a", new.token).await);
    assert_eq!(scene.holders("a").await, ["bob"]);
}

/// In the original a stale holder's release deleted the same agent's newer lock.
pub async fn an_old_token_never_frees_the_same_agents_newer_lock(scene: Scene) {
    let ada = scene.agent("ada").await;
    let old = granted(ada.ask(AcquireLock { ttl: Some(1_000), ..locking(&["a"]) }).await.expect("accepted"));
    scene.pass(1_000).await;
    let new = ada.hold(&["a"]).await;
    assert_ne!(old.token, new.token);
    refused!(ada.release(old.token).await, Error::Stale { .. });
    assert!(scene.is_current("a", new.token).await);
}

/// A released path is free at once, for anybody.
pub async fn release_frees_the_path_at_once(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let held = ada.hold(&["a"]).await;
    let released = ada.release(held.token).await.expect("held");
    assert_eq!(released.paths, [lock_path("a")]);
    bob.hold(&["a"]).await;
    refused!(ada.release(held.token).await, Error::Stale { .. });
}

/// Some paths of a grant may be given back; the others stay held under the same token.
pub async fn part_of_a_grant_may_be_released(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let held = ada.hold(&["a", "b", "c"]).await;
    let ticket = queued(bob.lock(&["b"]).await);
    let part = ReleaseLock { token: held.token, paths: vec![lock_path("b"), lock_path("not/held")] };
    assert_eq!(ada.ask(part).await.expect("held").paths, [lock_path("b")]);
    granted(bob.confirm_lock(&ticket).await);
    assert!(scene.is_current("a", held.token).await && scene.is_current("c", held.token).await);
    assert!(!scene.is_current("b", held.token).await);
}

/// A withdrawn waiter is out of the queue and those behind it move up.
pub async fn withdraw_leaves_the_queue(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    let held = ada.hold(&["a"]).await;
    let op = bob.op(locking(&["a", "b"]));
    queued(bob.send(&op).await.expect("accepted"));
    let behind = queued(eve.lock(&["b"]).await);
    assert!(bob.withdraw_lock(op.request).await.paths.is_empty());
    granted(eve.confirm_lock(&behind).await);
    assert!(scene.waiters("a").await.is_empty());
    ada.release(held.token).await.expect("held");
    assert!(scene.holders("a").await.is_empty());
}

/// A grant whose answer nobody waits for any more goes back: one given at once, one offered, one confirmed.
pub async fn withdraw_gives_the_grant_back(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let at_once = ada.op(locking(&["a"]));
    granted(ada.send(&at_once).await.expect("accepted"));
    assert_eq!(ada.withdraw_lock(at_once.request).await.paths, [lock_path("a")]);
    assert!(scene.holders("a").await.is_empty());

    let held = bob.hold(&["a"]).await;
    let offered = ada.op(locking(&["a"]));
    queued(ada.send(&offered).await.expect("accepted"));
    bob.release(held.token).await.expect("held");
    assert_eq!(ada.withdraw_lock(offered.request).await.paths, [lock_path("a")]);

    let held = bob.hold(&["a"]).await;
    let confirmed = ada.op(locking(&["a"]));
    let ticket = queued(ada.send(&confirmed).await.expect("accepted"));
    bob.release(held.token).await.expect("held");
    let confirm = ada.op(agentcoord_core::lock::ConfirmLock { ticket });
    granted(ada.send(&confirm).await.expect("accepted"));
    let both = WithdrawLock { request: confirmed.request, confirm: Some(confirm.request) };
    assert_eq!(ada.ask(both).await.expect("accepted").paths, [lock_path("a")]);
    bob.hold(&["a"]).await;
}

/// A request that arrives after its withdrawal does nothing.
pub async fn withdraw_voids_a_late_request(scene: Scene) {
    let ada = scene.agent("ada").await;
    let late = ada.op(locking(&["a"]));
    ada.withdraw_lock(late.request).await;
    refused!(ada.send(&late).await, Error::TooOld { .. });
    assert!(scene.holders("a").await.is_empty());
}

/// A withdrawal never takes a lock that the lane had before the withdrawn request.
pub async fn withdrawing_a_repeated_acquire_keeps_the_lock(scene: Scene) {
    let ada = scene.agent("ada").await;
    let held = ada.hold(&["a"]).await;
    let again = ada.op(locking(&["a"]));
    assert!(granted(ada.send(&again).await.expect("accepted")).reacquired);
    ada.withdraw_lock(again.request).await;
    assert!(scene.is_current("a", held.token).await);
}

/// After release, expiry or the session's end a token is not current.
pub async fn verify_knows_stale_tokens(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let released = ada.hold(&["a"]).await.token;
    assert!(scene.is_current("a", released).await);
    ada.release(released).await.expect("held");
    assert!(!scene.is_current("a", released).await);
    let newer = bob.hold(&["a"]).await.token;
    let verified = scene.store().locks().verify(&lock_path("a"), released).await.expect("readable");
    assert_eq!((verified.current, verified.current_token), (false, Some(newer)));
    bob.leave().await;
    assert!(!scene.is_current("a", newer).await);
    let silent = scene.agent("eve").await.hold(&["a"]).await.token;
    scene.pass(limits::SESSION_TTL).await;
    assert!(!scene.is_current("a", silent).await, "nobody has settled it yet, but it is over");
}

/// All spellings of a path are one lock.
pub async fn spellings_of_one_path_are_one_lock(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    ada.hold(&["./p.py"]).await;
    for spelling in ["p.py", "x/../p.py", ".//p.py"] {
        contended(bob.try_lock(&[spelling]).await);
    }
}

/// Paths that only begin alike are different locks.
pub async fn paths_that_begin_alike_are_different_locks(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    ada.hold(&["src/main.rs"]).await;
    for other in ["src/main", "src/main.rs.bak", "src/main.rs/x", "SRC/main.rs", "@src/main.rs", "src\u{e4}/main.rs"] {
        bob.hold(&[other]).await;
    }
}

/// Two independent tasks of one program do not share a lock.
pub async fn two_lanes_of_one_program_exclude_each_other(scene: Scene) {
    let ada = scene.agent("ada").await;
    let one = AcquireLock { lane: "one".to_owned(), wait: Some(0), ..locking(&["a"]) };
    let two = AcquireLock { lane: "two".to_owned(), ..one.clone() };
    granted(ada.ask(one).await.expect("accepted"));
    contended(ada.ask(two).await.expect("accepted"));
}

/// A lane may add paths to those it holds, without waiting for itself.
pub async fn a_lane_never_waits_for_itself(scene: Scene) {
    let ada = scene.agent("ada").await;
    let first = ada.hold(&["a"]).await;
    let more = ada.hold(&["a", "b"]).await;
    assert!(more.token > first.token && !more.reacquired);
    ada.release(more.token).await.expect("held");
    assert_eq!(scene.holders("a").await, ["ada"], "the first grant still covers it");
}

/// A grant with a deadline of its own ends at it, heartbeats or not.
pub async fn a_deadline_ends_a_lock_despite_heartbeats(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    granted(ada.ask(AcquireLock { ttl: Some(5_000), ..locking(&["a"]) }).await.expect("accepted"));
    let ticket = queued(bob.lock(&["a"]).await);
    for _ in 0..5 {
        scene.pass(1_000).await;
        ada.beat().await;
        bob.beat().await;
    }
    granted(bob.confirm_lock(&ticket).await);
}

/// A queued answer says when looking again may help.
pub async fn a_queued_answer_says_when_to_look_again(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    granted(ada.ask(AcquireLock { ttl: Some(5_000), ..locking(&["a"]) }).await.expect("accepted"));
    let answer = bob.ask(AcquireLock { wait: Some(60_000), ..locking(&["a"]) }).await.expect("accepted");
    assert!(matches!(answer, Acquire::Queued { tick_in: Some(5_000), .. }), "{answer:?}");
}

/// A wait ends at its own deadline, and its end hurts nobody.
pub async fn a_wait_that_times_out_hurts_nobody(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    let held = ada.hold(&["a"]).await;
    let short = queued(bob.ask(AcquireLock { wait: Some(2_000), ..locking(&["a", "b"]) }).await.expect("accepted"));
    let (front, behind) = (queued(eve.lock(&["a"]).await), queued(eve.lock(&["b"]).await));
    scene.pass(2_000).await;
    let before = scene.csn().await;
    scene.settle().await;
    assert!(scene.wakes(before).await.contains(&short.to_string()), "it is told");
    assert!(matches!(bob.confirm_lock(&short).await, Acquire::Lapsed { .. }));
    granted(eve.confirm_lock(&behind).await);
    ada.release(held.token).await.expect("held");
    granted(eve.confirm_lock(&front).await);
}

/// A lock is never passed to a waiter whose session has ended.
pub async fn a_grant_never_goes_to_a_dead_waiter(scene: Scene) {
    let ada = scene.agent("ada").await;
    let (dead, eve) = (scene.agent("bob").await, scene.agent("eve").await);
    let held = ada.hold(&["a"]).await;
    queued(dead.lock(&["a"]).await);
    let ticket = queued(eve.lock(&["a"]).await);
    for _ in 0..4 {
        scene.pass(limits::SESSION_TTL / 4).await;
        ada.beat().await;
        eve.beat().await;
    }
    ada.release(held.token).await.expect("held");
    granted(eve.confirm_lock(&ticket).await);
}

/// A wall clock that jumps an hour either way ends no lease and keeps none.
pub async fn a_wall_clock_that_jumps_ends_no_lease(scene: Scene) {
    let ada = scene.agent("ada").await;
    let held = granted(ada.ask(AcquireLock { ttl: Some(5_000), ..locking(&["a"]) }).await.expect("accepted"));
    for jump in [3_600_000, -7_200_000, 3_600_000] {
        scene.set_wall_by(jump).await;
        scene.settle().await;
        assert!(scene.is_current("a", held.token).await, "after a jump of {jump} ms");
    }
    scene.set_wall_by(-3_600_000).await;
    scene.pass(5_000).await;
    assert!(!scene.is_current("a", held.token).await);
}

/// Many who want one path: each gets it once, in the order of asking.
pub async fn everyone_in_the_queue_gets_a_turn(scene: Scene) {
    let mut held = None;
    let mut waiting = Vec::new();
    for number in 0..12 {
        let agent = scene.agent(&format!("agent {number}")).await;
        match agent.lock(&["hot"]).await {
            Acquire::Granted(grant) => held = Some((agent, grant)),
            other => waiting.push((agent, queued(other))),
        }
    }
    let mut turns = 1;
    let (mut holder, mut grant) = held.expect("the first gets it");
    for (agent, ticket) in waiting {
        holder.release(grant.token).await.expect("held");
        grant = granted(agent.confirm_lock(&ticket).await);
        holder = agent;
        turns += 1;
    }
    assert_eq!(turns, 12);
}

/// Requests that come at the same time: exactly one of them is granted.
pub async fn one_of_many_simultaneous_requests_is_granted(scene: Scene) {
    let mut running = Vec::new();
    for number in 0..8 {
        let agent = scene.agent(&format!("agent {number}")).await;
        running.push(tokio::spawn(async move { agent.try_lock(&["a"]).await }));
    }
    let mut grants = 0;
    for task in running {
        grants += usize::from(matches!(task.await.expect("no panic"), Acquire::Granted(_)));
    }
    assert_eq!(grants, 1);
}

/// Listings show holders with their facts, and waiters in order.
pub async fn listings_show_holders_and_waiters(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let held = ada.hold(&["a", "b"]).await;
    queued(bob.lock(&["b"]).await);
    let paths = scene.store().locks().list().await.expect("readable");
    let names: Vec<&str> = paths.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(paths[1].1.holders[0].token, held.token);
    assert_eq!(paths[1].1.waiters[0].name, "bob");
    assert_eq!(scene.store().locks().of_session(ada.session()).await.expect("readable").len(), 1);
    assert!(scene.store().locks().of_session(bob.session()).await.expect("readable").is_empty());
}

/// Bad input is refused with the field's name before anything is written.
pub async fn bad_lock_requests_write_nothing(scene: Scene) {
    let ada = scene.agent("ada").await;
    let before = scene.csn().await;
    let many: Vec<LockPath> = (0..=limits::PATHS).map(|n| lock_path(&format!("p{n:03}"))).collect();
    let good = locking(&["a"]);
    for (field, bad) in [
        ("paths", AcquireLock { paths: Vec::new(), ..good.clone() }),
        ("paths", AcquireLock { paths: many, ..good.clone() }),
        ("paths", AcquireLock { paths: vec![lock_path("b"), lock_path("a")], ..good.clone() }),
        ("lane", AcquireLock { lane: " x".to_owned(), ..good.clone() }),
        ("intent", AcquireLock { intent: Some("x".repeat(limits::NOTE_BYTES + 1)), ..good.clone() }),
        ("ttl", AcquireLock { ttl: Some(0), ..good.clone() }),
        ("wait", AcquireLock { wait: Some(u64::MAX), ..good.clone() }),
    ] {
        refused!(ada.ask(bad).await, Error::Invalid { field: named, .. } if named == field);
    }
    let renewal = RenewLock { token: Token(1), ttl: Some(limits::DURATION + 1) };
    refused!(ada.ask(renewal).await, Error::Invalid { field: "ttl", .. });
    assert_eq!(scene.csn().await, before);
}

/// People and AgentCoord itself hold no locks: there is no session whose end would free them.
pub async fn a_lock_needs_a_session(scene: Scene) {
    let before = scene.csn().await;
    for player in [scene.human("eve").await, scene.system().await] {
        refused!(player.ask(locking(&["a"])).await, Error::Refused { policy: "no_session", .. });
    }
    assert_eq!(scene.csn().await, before);
}
