//! Approvals: people decide, once, on exactly what they saw.

use agentcoord_core::Error;
use agentcoord_core::approval::{ApprovalStatus, CancelApproval, CastVote, RequestApproval, Verdict};
use agentcoord_core::limits;
use agentcoord_core::store::Backend;

use crate::actor::{Scene, id, strings, verdict, vote};
use crate::refused;

fn deployment() -> RequestApproval {
    RequestApproval::new("deployment", "deploy version 7")
}

/// A repeated request with the same key attaches to the same approval; another action under it is refused.
pub async fn request_with_the_same_key_attaches_again(scene: Scene) {
    let ada = scene.agent("ada").await;
    let keyed = || RequestApproval { key: Some("release 7".to_owned()), ..deployment() };
    let first = ada.ask(keyed().seal()).await.expect("accepted");
    assert!(!first.duplicate);
    scene.human("eve").await.approve(&first.key).await.expect("pending");
    let again = ada.ask(keyed().seal()).await.expect("accepted");
    assert_eq!(
        (again.key.as_str(), again.duplicate, again.status),
        (first.key.as_str(), true, ApprovalStatus::Approved)
    );
    let other = RequestApproval { description: "deploy version 8".to_owned(), ..keyed() };
    refused!(ada.ask(other.seal()).await, Error::Refused { policy: "key_reused", .. });
}

/// Only people vote: not an agent, under any name, and not AgentCoord itself.
pub async fn agents_never_vote(scene: Scene) {
    let ada = scene.agent("ada").await;
    let approval = ada.request(deployment()).await;
    let before = scene.csn().await;
    for player in [&ada, &scene.agent("eve").await, &scene.system().await] {
        refused!(player.approve(&approval).await, Error::Refused { policy: "humans_only", .. });
    }
    let votes = scene.store().approvals().find(&id(&approval)).await.expect("there").votes;
    assert!(votes.is_empty());
    assert!(scene.events(before).await.iter().all(|e| e.verb != "approval/vote"));
}

/// A person who requested an approval cannot vote on it.
pub async fn requester_does_not_vote(scene: Scene) {
    let (grace, eve) = (scene.human("grace").await, scene.human("eve").await);
    let approval = grace.request(deployment()).await;
    refused!(grace.approve(&approval).await, Error::Refused { policy: "own_request", .. });
    refused!(grace.reject(&approval).await, Error::Refused { policy: "own_request", .. });
    for spelling in ["Grace", "GRACE"] {
        let also_grace = scene.human(spelling).await;
        refused!(also_grace.approve(&approval).await, Error::Refused { policy: "own_request", .. });
    }
    for spelling in ["human:grace", " grace", "gra\u{200b}ce", "Human:grace"] {
        refused!(scene.human(spelling).await.approve(&approval).await, Error::Invalid { field: "by", .. });
    }
    assert_eq!(eve.approve(&approval).await.expect("another person").status, ApprovalStatus::Approved);
}

/// A person's second vote is refused, whatever it says.
pub async fn one_vote_per_person(scene: Scene) {
    let ada = scene.agent("ada").await;
    let eve = scene.human("eve").await;
    let approval = ada.request(RequestApproval { quorum: 2, rejections: 2, ..deployment() }).await;
    assert_eq!(eve.approve(&approval).await.expect("pending").status, ApprovalStatus::Pending);
    refused!(eve.approve(&approval).await, Error::Refused { policy: "already_voted", .. });
    refused!(scene.human("eve").await.reject(&approval).await, Error::Refused { policy: "already_voted", .. });
    refused!(scene.human("Eve").await.approve(&approval).await, Error::Refused { policy: "already_voted", .. });
    let decided = scene.human("trent").await.approve(&approval).await.expect("pending");
    assert_eq!(decided.status, ApprovalStatus::Approved);
}

/// What is decided stays decided: no later vote, cancel or time changes it.
pub async fn a_decided_approval_stays_decided(scene: Scene) {
    let ada = scene.agent("ada").await;
    let (eve, trent) = (scene.human("eve").await, scene.human("trent").await);
    let approval = ada.request(RequestApproval { expires_in: 1_000, ..deployment() }).await;
    let before = scene.csn().await;
    eve.approve(&approval).await.expect("pending");
    let key = approval.clone();
    assert_eq!(scene.wakes(before).await, [format!("approval/{key}")]);
    refused!(trent.reject(&approval).await, Error::WrongState { actual, .. } if actual == "approved");
    refused!(ada.ask(CancelApproval { approval: key }).await, Error::WrongState { .. });
    scene.pass(1_000).await;
    scene.settle().await;
    let found = scene.store().approvals().find(&id(&approval)).await.expect("there");
    assert_eq!((found.status, found.votes.len()), (ApprovalStatus::Approved, 1));
    assert_eq!(found.deciding_vote().map(|v| v.by.as_str()), Some("human:eve"));
}

/// The call that returns an approval consumes it, and only one does.
pub async fn approval_is_consumed_once(scene: Scene) {
    let ada = scene.agent("ada").await;
    let approval = ada.request(deployment()).await;
    let early = ada.consume(&approval).await;
    assert_eq!((early.status, early.consumed), (ApprovalStatus::Pending, false));
    scene.human("eve").await.approve(&approval).await.expect("pending");
    assert!(ada.consume(&approval).await.consumed);
    let again = ada.consume(&approval).await;
    assert_eq!((again.status, again.consumed), (ApprovalStatus::Approved, false));
    assert!(scene.store().approvals().find(&id(&approval)).await.expect("there").consumed);
}

/// The verdict is for the agent that asked, in whatever session, and for whoever names the key it was asked under.
pub async fn only_who_asked_takes_the_verdict(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.human("eve").await);
    let keyed = RequestApproval { key: Some("release 7".to_owned()), ..deployment() };
    let approval = ada.request(keyed).await;
    let strangers = [&bob, &eve, &scene.human("ada").await, &scene.system().await];
    for stranger in strangers {
        for key in [None, Some("release 8")] {
            let asked = stranger.ask(verdict(&approval, key)).await;
            refused!(asked, Error::Refused { policy: "not_requester", .. });
        }
    }
    eve.approve(&approval).await.expect("pending");
    refused!(bob.ask(verdict(&approval, None)).await, Error::Refused { policy: "not_requester", .. });
    let taken = bob.ask(verdict(&approval, Some("release 7"))).await.expect("bob knows the key");
    assert!(taken.consumed);
    assert_eq!((taken.votes.len(), taken.requested_by.as_str()), (1, "agent:ada"));

    let approval = ada.request(deployment()).await;
    eve.approve(&approval).await.expect("pending");
    ada.leave().await;
    assert!(scene.agent("ada").await.consume(&approval).await.consumed, "ada again, in another session");
}

/// An approval that demands signatures takes no vote without one. What the signature is worth is not looked into here.
pub async fn an_approval_can_demand_signatures(scene: Scene) {
    let (ada, eve) = (scene.agent("ada").await, scene.human("eve").await);
    let approval = ada.request(RequestApproval { signed: true, ..deployment() }).await;
    refused!(eve.approve(&approval).await, Error::Refused { policy: "unsigned", .. });
    let found = scene.store().approvals().find(&id(&approval)).await.expect("there");
    let signature = Some("armor".to_owned());
    let digest = Some(found.digest);
    let about_nothing = CastVote { signature: signature.clone(), ..vote(&approval, Verdict::Approve) };
    refused!(eve.ask(about_nothing).await, Error::Invalid { field: "digest", .. });
    eve.ask(CastVote { signature, digest, ..vote(&approval, Verdict::Approve) }).await.expect("signed");
    assert_eq!(ada.consume(&approval).await.votes[0].signature.as_deref(), Some("armor"));
}

/// A rejected approval is never consumed.
pub async fn a_rejected_approval_is_never_consumed(scene: Scene) {
    let ada = scene.agent("ada").await;
    let approval = ada.request(deployment()).await;
    scene.human("eve").await.reject(&approval).await.expect("pending");
    let answer = ada.consume(&approval).await;
    assert_eq!((answer.status, answer.consumed), (ApprovalStatus::Rejected, false));
}

/// When nobody decides in time it is expired, which is no person's refusal.
pub async fn expiry_is_not_rejection(scene: Scene) {
    let ada = scene.agent("ada").await;
    let approval = ada.request(RequestApproval { expires_in: 10_000, ..deployment() }).await;
    scene.pass(9_999).await;
    assert_eq!(ada.consume(&approval).await.status, ApprovalStatus::Pending);
    let before = scene.csn().await;
    scene.pass(1).await;
    assert_eq!(ada.consume(&approval).await.status, ApprovalStatus::Expired);
    assert_eq!(scene.wakes(before).await, [format!("approval/{approval}")]);
    refused!(scene.human("eve").await.approve(&approval).await, Error::WrongState { actual, .. } if actual == "expired");
    let found = scene.store().approvals().find(&id(&approval)).await.expect("there");
    assert!(found.deciding_vote().is_none() && found.votes.is_empty());
}

/// Time decides even when many things are due at once: an approval past its time takes no vote and yields nothing.
pub async fn no_vote_counts_after_the_time_however_much_is_due(scene: Scene) {
    let ada = scene.agent("ada").await;
    let mut approvals = Vec::new();
    for _ in 0..4 * limits::REAP_PER_STEP {
        approvals.push(ada.request(RequestApproval { expires_in: 1_000, ..deployment() }).await);
    }
    scene.pass(1_000).await;
    // What is due at the same time is settled in the order of its key.
    let last = approvals.iter().max().expect("there are some");
    refused!(scene.human("eve").await.approve(last).await, Error::WrongState { actual, .. } if actual == "expired");
    refused!(ada.ask(CancelApproval { approval: last.clone() }).await, Error::WrongState { actual, .. } if actual == "expired");
    assert_eq!(ada.consume(last).await.status, ApprovalStatus::Expired);
    scene.settle().await;
    let expired = scene.store().approvals().list(Some(ApprovalStatus::Expired)).await.expect("readable");
    assert_eq!(expired.len(), approvals.len());
}

/// Enough people for either side decide; until then it is pending.
pub async fn a_quorum_decides(scene: Scene) {
    let ada = scene.agent("ada").await;
    let approval = ada.request(RequestApproval { quorum: 3, rejections: 2, ..deployment() }).await;
    let mut last = ApprovalStatus::Pending;
    for (name, yes) in [("a", true), ("b", false), ("c", true), ("d", false)] {
        assert_eq!(last, ApprovalStatus::Pending);
        let person = scene.human(name).await;
        let cast = if yes { person.approve(&approval).await } else { person.reject(&approval).await };
        last = cast.expect("pending").status;
    }
    assert_eq!(last, ApprovalStatus::Rejected);
}

/// An approval that names its voters takes no other votes.
pub async fn only_eligible_people_vote(scene: Scene) {
    let ada = scene.agent("ada").await;
    let approval = ada.request(RequestApproval { eligible: strings(&["grace"]), ..deployment() }).await;
    refused!(scene.human("eve").await.approve(&approval).await, Error::Refused { policy: "not_eligible", .. });
    scene.human("Grace").await.approve(&approval).await.expect("eligible, whatever the case of letters");
}

/// A vote on another content than the one that waits is refused.
pub async fn a_vote_is_bound_to_the_content(scene: Scene) {
    let (ada, eve) = (scene.agent("ada").await, scene.human("eve").await);
    let approval = ada.request(RequestApproval { diff: Some("+ a line".to_owned()), ..deployment() }).await;
    let seen = scene.store().approvals().show(&id(&approval)).await.expect("there");
    assert_eq!(seen.diff.as_deref(), Some("+ a line"));
    let other = deployment().seal().digest;
    assert_eq!(seen.digest(), seen.approval.digest, "what is stored is what was asked for");
    let stricter = RequestApproval { quorum: 2, diff: seen.diff.clone(), ..deployment() };
    assert_ne!(stricter.seal().digest, seen.approval.digest, "who decides is part of it");
    assert_ne!(other, seen.approval.digest);
    let wrong = CastVote { digest: Some(other), ..vote(&approval, Verdict::Approve) };
    refused!(eve.ask(wrong).await, Error::Refused { policy: "digest_mismatch", .. });
    let right = CastVote { digest: Some(seen.approval.digest), ..vote(&approval, Verdict::Approve) };
    eve.ask(right).await.expect("the same content");
}

/// Only its requester calls an approval off; it is cancelled then, which is no refusal.
pub async fn only_the_requester_cancels(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let approval = ada.request(deployment()).await;
    let cancel = || CancelApproval { approval: approval.clone() };
    refused!(bob.ask(cancel()).await, Error::Stale { owner: Some(owner), .. } if owner == "agent:ada");
    refused!(scene.human("ada").await.ask(cancel()).await, Error::Stale { .. });
    assert_eq!(ada.ask(cancel()).await.expect("ada asked").status, ApprovalStatus::Cancelled);
    refused!(scene.human("eve").await.approve(&approval).await, Error::WrongState { actual, .. } if actual == "cancelled");
}

/// Each vote leaves its audit entry in the same step.
pub async fn every_vote_is_audited(scene: Scene) {
    let ada = scene.agent("ada").await;
    let approval = ada.request(RequestApproval { quorum: 2, ..deployment() }).await;
    scene.human("eve").await.approve(&approval).await.expect("pending");
    refused!(scene.human("eve").await.approve(&approval).await, Error::Refused { .. });
    scene.human("trent").await.approve(&approval).await.expect("pending");
    let page = scene.store().audit().read(0, 10).await.expect("readable");
    assert_eq!(page.items.len(), 2, "a refused vote leaves none");
    assert_eq!(page.items[0].entry, vote(&approval, Verdict::Approve).audit);
}

/// An agent that waits for an approval is shown as waiting for it.
pub async fn a_requester_is_shown_as_waiting(scene: Scene) {
    let ada = scene.agent("ada").await;
    let approval = ada.request(deployment()).await;
    let waits = async || scene.store().agents().find("ada").await.expect("there").waiting_for;
    assert!(waits().await.is_some_and(|w| w.contains(&approval)));
    scene.human("eve").await.approve(&approval).await.expect("pending");
    assert_eq!(waits().await, None);
}

/// An id names one approval.
pub async fn an_approval_id_is_used_once(scene: Scene) {
    let ada = scene.agent("ada").await;
    let body = deployment();
    ada.request(body.clone()).await;
    let again = RequestApproval { description: "deploy version 8".to_owned(), ..body };
    refused!(ada.ask(again.seal()).await, Error::Refused { policy: "id_taken", .. });
}

/// Bad input is refused with the field's name before anything is written.
pub async fn bad_approval_requests_write_nothing(scene: Scene) {
    let ada = scene.agent("ada").await;
    let before = scene.csn().await;
    let good = deployment();
    for (field, bad) in [
        ("action_type", RequestApproval { action_type: String::new(), ..good.clone() }),
        ("description", RequestApproval { description: " ".to_owned(), ..good.clone() }),
        ("quorum", RequestApproval { quorum: 0, ..good.clone() }),
        ("quorum", RequestApproval { quorum: 2, eligible: strings(&["grace"]), ..good.clone() }),
        ("rejections", RequestApproval { rejections: 0, ..good.clone() }),
        ("timeout", RequestApproval { expires_in: 0, ..good.clone() }),
        ("key", RequestApproval { key: Some(String::new()), ..good.clone() }),
        ("diff", RequestApproval { diff: Some("x".repeat(limits::BLOB_BYTES + 1)), ..good.clone() }),
    ] {
        refused!(ada.ask(bad.seal()).await, Error::Invalid { field: named, .. } if named == field);
    }
    refused!(ada.ask(good).await, Error::Invalid { field: "digest", .. });
    let unexplained = CastVote { note: None, ..vote("01234567", Verdict::Reject) };
    refused!(scene.human("eve").await.ask(unexplained).await, Error::Invalid { field: "reason", .. });
    assert_eq!(scene.csn().await, before);
}
