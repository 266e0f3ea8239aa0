//! Writes that are made under a lock, and what a token says about a path.

use agentcoord_core::Error;
use agentcoord_core::agent::Register;
use agentcoord_core::approval::RequestApproval;
use agentcoord_core::audit::AppendAudit;
use agentcoord_core::board::{OpenThread, PostMessage};
use agentcoord_core::error::Noun;
use agentcoord_core::ids::Token;
use agentcoord_core::limits;
use agentcoord_core::lock::{AcquireLock, RevokeLock};
use agentcoord_core::store::Backend;
use agentcoord_core::task::{CreateTasks, NewTask, ReleaseTask};

use crate::actor::{Player, Scene, granted, lock_path, locking, queued, registration};
use crate::refused;

fn entry() -> AppendAudit {
    AppendAudit { entry: "{}".to_owned() }
}

async fn stale(player: &Player, fence: Token) {
    refused!(player.ask_under(fence, entry()).await, Error::Stale { noun: Noun::Lock, id, .. } if id == fence.to_string());
}

/// Tasks, threads, approvals and audit entries are written while the lock is held, and none of them afterwards.
pub async fn a_write_under_a_lost_lock_is_refused(scene: Scene) {
    let (ada, bob) = (scene.agent("ada").await, scene.agent("bob").await);
    let held = granted(ada.ask(AcquireLock { ttl: Some(1_000), ..locking(&["a"]) }).await.expect("accepted")).token;
    ada.ask_under(held, CreateTasks::new(vec![NewTask::titled("under the lock")])).await.expect("it is held");
    let claim = ada.claim().await;
    let thread = ada.ask_under(held, OpenThread::new("news", None)).await.expect("it is held").thread;
    ada.ask_under(held, entry()).await.expect("it is held");
    scene.pass(1_000).await;
    bob.hold(&["a"]).await;
    let before = scene.csn().await;
    stale(&ada, held).await;
    let post = PostMessage::new(thread, "late");
    refused!(ada.ask_under(held, post).await, Error::Stale { noun: Noun::Lock, .. });
    let request = RequestApproval::new("deploy", "late").seal();
    refused!(ada.ask_under(held, request).await, Error::Stale { noun: Noun::Lock, .. });
    let back = ReleaseTask { key: claim.key.clone(), token: claim.token };
    refused!(ada.ask_under(held, back.clone()).await, Error::Stale { noun: Noun::Lock, .. });
    assert_eq!(scene.csn().await, before, "nothing was written");
    ada.ask(back).await.expect("without the lock it is as ever");
}

/// However a lock ends, what is done under it is over: release, revocation, the end of its session by a call or by time.
/// A lock that is only offered, or was never given, carries nothing.
pub async fn a_fence_ends_with_its_lock(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.human("eve").await);
    stale(&ada, Token(7)).await;
    let released = ada.hold(&["a"]).await.token;
    ada.release(released).await.expect("held");
    stale(&ada, released).await;
    let revoked = ada.hold(&["a"]).await.token;
    eve.ask(RevokeLock { path: lock_path("a"), audit: "{}".to_owned() }).await.expect("a person may");
    stale(&ada, revoked).await;
    let left = ada.hold(&["a"]).await.token;
    let ticket = queued(bob.lock(&["a"]).await);
    ada.leave().await;
    stale(&bob, left).await;
    stale(&bob, Token(left.0 + 1)).await;
    let mine = granted(bob.confirm_lock(&ticket).await).token;
    bob.ask_under(mine, entry()).await.expect("it is held");
    scene.pass(limits::SESSION_TTL).await;
    stale(&eve, mine).await;
}

/// What counts is the lock, not who holds it: a command may write under the lock of the process that started it.
pub async fn a_fence_is_the_lock_of_any_session(scene: Scene) {
    let ada = scene.agent("ada").await;
    let child = scene.agent_as(Register { parent: Some(ada.session().clone()), ..registration("ada") }).await;
    let held = child.hold(&["a"]).await.token;
    ada.ask_under(held, entry()).await.expect("it is held");
    child.leave().await;
    stale(&ada, held).await;
}

/// A request that was answered is answered again, whatever became of its lock.
pub async fn a_repeat_is_answered_after_its_lock(scene: Scene) {
    let ada = scene.agent("ada").await;
    let held = ada.hold(&["a"]).await.token;
    let mut op = ada.op(entry());
    op.fence = Some(held);
    let first = ada.send(&op).await.expect("it is held");
    ada.release(held).await.expect("held");
    assert_eq!(ada.send(&op).await.expect("answered before"), first);
}

/// A file is held by the lock on a subtree that it lies in; a lock inside a subtree does not hold the subtree.
pub async fn a_file_in_a_held_subtree_is_held(scene: Scene) {
    let (ada, bob, eve) = (scene.agent("ada").await, scene.agent("bob").await, scene.agent("eve").await);
    let tree = ada.hold(&["src/"]).await.token;
    queued(bob.lock(&["src/deep/a"]).await);
    for path in ["src/deep/a", "src/deep/", "src/", "src"] {
        assert!(scene.is_current(path, tree).await, "{path}");
    }
    assert!(!scene.is_current("srcs/a", tree).await);
    let around = async |path: &str| {
        let around = scene.store().locks().around(&lock_path(path)).await.expect("readable");
        let told = around.into_iter().map(|(path, state)| (path.to_string(), state.holders.len(), state.waiters.len()));
        told.collect::<Vec<_>>()
    };
    assert_eq!(around("src/deep/a").await, [("src/".to_owned(), 1, 0), ("src/deep/a".to_owned(), 0, 1)]);
    assert_eq!(around("src/other").await, [("src/".to_owned(), 1, 0)]);
    assert_eq!(around("docs/").await, []);
    let inside = eve.hold(&["docs/a"]).await.token;
    assert_eq!(around("docs/").await, [("docs/a".to_owned(), 1, 0)]);
    assert!(!scene.is_current("docs/", inside).await);
}
