//! What the scripts promise whatever the server does: all or nothing, few calls, replay.

use agentcoord_core::Error;
use agentcoord_core::agent::{Deregister, Heartbeat, Tick};
use agentcoord_core::approval::{ConsumeApproval, RequestApproval};
use agentcoord_core::board::OpenThread;
use agentcoord_core::engine::Engine;
use agentcoord_core::ids::{Csn, RequestNo};
use agentcoord_core::lock::{Acquire, ReleaseLock, WithdrawLock};
use agentcoord_core::op::{Actor, answer};
use agentcoord_core::record::{AgentRecord, RingRecord};
use agentcoord_core::table::{Range, Table};
use agentcoord_core::task::{Claim, ClaimTask, CompleteTask, CreateTasks, NewTask, TaskStatus, WithdrawTask};

use crate::server::{Desk, Server, acquire, register, unavailable};

#[tokio::test]
async fn a_registered_agent_takes_a_lock_and_another_one_queues() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, registered) = desk.register("ann").await;
    let (bob, _) = desk.register("bob").await;
    assert_eq!(registered.name, "ann");

    let Acquire::Granted(grant) = desk.send(&ann, acquire("src/a.rs")).await.unwrap() else { panic!("not granted") };
    assert_eq!(grant.token.epoch(), desk.admission.epoch);
    let queued = desk.call(&bob, acquire("src/a.rs"));
    let reply = answer::<agentcoord_core::lock::AcquireLock>(&desk.engine.step(queued).await.unwrap()).unwrap();
    let Acquire::Queued { ticket, .. } = reply else { panic!("not queued: {reply:?}") };

    desk.send(&ann, ReleaseLock { token: grant.token, paths: Vec::new() }).await.unwrap();
    let confirm = agentcoord_core::lock::ConfirmLock { ticket };
    let Acquire::Granted(second) = desk.send(&bob, confirm).await.unwrap() else { panic!("not handed over") };
    assert!(second.token > grant.token);

    let (state, reading) = desk.engine.state().await.unwrap();
    assert_eq!((state.counts.sessions, state.counts.locks, state.counts.lock_waiters), (2, 1, 0));
    assert!(reading.wall > 1_600_000_000_000);
    let events = desk.engine.events(Csn(0), 100).await.unwrap();
    let numbers: Vec<u64> = events.iter().map(|e| e.csn.0).collect();
    assert_eq!(numbers, (1..=state.csn.0).collect::<Vec<_>>());
    assert_eq!(events[4].wakes.len(), 1, "the release woke the waiter: {:?}", events[4]);
}

#[tokio::test]
async fn records_and_answers_that_scripts_write_are_what_rust_reads() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let mut body = register("ann");
    body.process = Some(agentcoord_core::agent::ProcessIdentity { pid: 7, started: 1 << 40, ..Default::default() });
    let registered = desk.send(&Actor::System, body).await.unwrap();
    let bytes = desk.engine.fetch(Table::Agent, std::slice::from_ref(&registered.agent)).await.unwrap();
    let agent: AgentRecord = agentcoord_core::op::decode(bytes[0].as_ref().unwrap(), "agent").unwrap();
    assert_eq!(agent.capabilities, Vec::<String>::new());
    let slot = RingRecord::key(&desk.client, RequestNo(1));
    let bytes = desk.engine.fetch(Table::Ring, &[slot, "nobody/1".to_owned()]).await.unwrap();
    let ring: RingRecord = agentcoord_core::op::decode(bytes[0].as_ref().unwrap(), "ring").unwrap();
    assert_eq!(answer::<agentcoord_core::agent::Register>(&ring.answer).unwrap(), registered);
    assert_eq!(bytes[1], None);
    assert!(desk.engine.scan(&Range::under(&["live"]), 10).await.unwrap().len() == 1);
}

#[tokio::test]
async fn an_answer_without_any_field_is_readable() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let withdrawn = desk.send(&Actor::System, WithdrawTask { request: RequestNo(99), confirm: None }).await.unwrap();
    assert_eq!(withdrawn.key, None);
    let released = desk.send(&Actor::System, WithdrawLock { request: RequestNo(98), confirm: None }).await.unwrap();
    assert!(released.paths.is_empty());
    let ticked = desk.send(&Actor::System, Tick { most: 64 }).await.unwrap();
    assert!(ticked.next_in.is_some(), "the replay slots of this client are due some day");
}

#[tokio::test]
async fn a_task_goes_from_hand_to_hand() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    let mut new = NewTask::titled("build");
    new.payload = Some("{\"a\":1}".to_owned());
    let created = desk.send(&Actor::Human("eve".into()), CreateTasks::new(vec![new.clone()])).await.unwrap();
    let Claim::Claimed(claim) = desk.send(&ann, ClaimTask::new(Vec::new())).await.unwrap() else { panic!("nothing") };
    assert_eq!(claim.key, created.items[0].key);
    let done = CompleteTask::new(claim.key, new.id.clone(), claim.token, Some("\"done\"".to_owned()));
    assert_eq!(desk.send(&ann, done).await.unwrap().status, TaskStatus::Completed);
    let names = [format!("task/{}/payload", new.id), format!("task/{}/result", new.id), "task/x/y".to_owned()];
    let blobs = desk.engine.blobs(&names).await.unwrap();
    assert_eq!(blobs, [Some(b"{\"a\":1}".to_vec()), Some(b"\"done\"".to_vec()), None]);
}

#[tokio::test]
async fn an_approval_that_expires_is_not_rejected() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    let meta = format!("ac:{{{}}}:meta", desk.namespace);
    let () = server.run(&["HSET", &meta, "freeze_wall", "1000000"]).await;
    let asked = desk.send(&ann, RequestApproval::new("deployment", "to production").seal()).await.unwrap();
    let () = server.run(&["HSET", &meta, "freeze_wall", "9000000"]).await;
    assert_eq!(desk.engine.state().await.unwrap().1.wall, 9_000_000);
    let verdict = desk.send(&ann, ConsumeApproval { approval: asked.key, key: None }).await.unwrap();
    assert_eq!(verdict.status, agentcoord_core::approval::ApprovalStatus::Expired);
}

#[tokio::test]
async fn an_uncontended_acquire_takes_at_most_twelve_calls() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    drop(desk.send(&ann, acquire("warm")).await.unwrap());
    let before = server.calls().await;
    let Acquire::Granted(_) = desk.send(&ann, acquire("src/a.rs")).await.unwrap() else { panic!("not granted") };
    let acquiring = server.calls().await - before;
    assert!(acquiring <= 12, "{acquiring} calls");

    let new = NewTask::titled("build");
    desk.send(&ann, CreateTasks::new(vec![new.clone()])).await.unwrap();
    let Claim::Claimed(claim) = desk.send(&ann, ClaimTask::new(Vec::new())).await.unwrap() else { panic!("nothing") };
    let before = server.calls().await;
    desk.send(&ann, CompleteTask::new(claim.key, new.id, claim.token, None)).await.unwrap();
    let completing = server.calls().await - before;
    assert!(completing <= 12, "{completing} calls");

    let before = server.calls().await;
    desk.send(&ann, Heartbeat { progress: false }).await.unwrap();
    let beating = server.calls().await - before;
    assert!(beating <= 5, "{beating} calls");
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_also_after_a_reconnect() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    let call = desk.call(&ann, acquire("a"));
    let first = desk.engine.step(call.clone()).await.unwrap();
    let () = server.run(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    let digest = server.digest().await;
    let again = loop {
        match desk.engine.step(call.clone()).await {
            Ok(bytes) => break bytes,
            Err(Error::OutcomeUnknown { request, .. }) => assert_eq!(request, call.request),
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(again, first);
    assert_eq!(server.digest().await, digest);
    let mut reused = call;
    reused.digest = "0".repeat(16);
    let error = answer::<agentcoord_core::lock::AcquireLock>(&desk.engine.step(reused).await.unwrap()).unwrap_err();
    assert!(matches!(error, Error::Refused { policy: "request_reused", .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_forgets_its_scripts_is_sent_them_again() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    for path in ["a", "b", "c"] {
        let () = server.run(&["FUNCTION", "FLUSH"]).await;
        assert!(matches!(desk.send(&ann, acquire(path)).await.unwrap(), Acquire::Granted(_)));
    }
}

#[tokio::test]
async fn a_key_of_another_type_fails_the_step_and_changes_nothing() {
    let server = Server::start().await;
    for broken in ["hot", "index", "events", "meta"] {
        let desk = Desk::found(&server).await;
        let (ann, _) = desk.register("ann").await;
        let broken = match broken {
            "meta" => format!("ac:{{{}}}:meta", desk.namespace),
            rest => desk.key(rest),
        };
        let () = server.run(&["DEL", &broken]).await;
        let () = server.run(&["LPUSH", &broken, "something else"]).await;
        let digest = server.digest().await;
        let acquired = desk.send(&ann, acquire("a")).await.map(drop);
        // This one looks at no index before it writes.
        let opened = desk.send(&Actor::System, OpenThread::new("title", None)).await.map(drop);
        for result in [acquired, opened] {
            let error = result.unwrap_err();
            assert!(matches!(&error, Error::Corrupt { key, .. } if *key == broken), "{broken}: {error:?}");
        }
        assert_eq!(server.digest().await, digest, "{broken}");
    }
}

#[tokio::test]
async fn an_unreadable_record_is_named_and_nothing_is_changed() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, registered) = desk.register("ann").await;
    let record = desk.key(&format!("session:{}", registered.session));
    for garbage in ["", "\u{7f}", "garbage"] {
        let () = server.run(&["SET", &record, garbage]).await;
        let digest = server.digest().await;
        let error = desk.send(&ann, acquire("a")).await.unwrap_err();
        assert!(matches!(&error, Error::Corrupt { key, .. } if *key == record), "{garbage:?}: {error:?}");
        assert_eq!(server.digest().await, digest);
    }
}

#[tokio::test]
async fn a_full_server_refuses_before_anything_is_written_and_still_takes_things_back() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    let Acquire::Granted(grant) = desk.send(&ann, acquire("a")).await.unwrap() else { panic!("not granted") };
    let dropped = desk.call(&ann, acquire("c"));
    drop(desk.engine.step(dropped.clone()).await.unwrap());
    let () = server.run(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
    let () = server.run(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    let digest = server.digest().await;
    let reason = unavailable(desk.send(&ann, acquire("b")).await);
    assert!(reason.contains("OOM") && reason.contains("maxmemory"), "{reason}");
    assert_eq!(server.digest().await, digest);
    desk.send(&ann, Heartbeat { progress: true }).await.unwrap();
    desk.send(&ann, ReleaseLock { token: grant.token, paths: Vec::new() }).await.unwrap();
    let withdrawn = desk.send(&ann, WithdrawLock { request: dropped.request, confirm: None }).await.unwrap();
    assert_eq!(withdrawn.paths.len(), 1);
    desk.send(&ann, WithdrawTask { request: dropped.request, confirm: None }).await.unwrap();
    desk.send(&ann, Deregister { reason: None }).await.unwrap();
}

#[tokio::test]
async fn a_session_that_stays_silent_loses_its_locks_to_the_next() {
    let server = Server::start().await;
    let desk = Desk::found(&server).await;
    let (ann, _) = desk.register("ann").await;
    let (bob, _) = desk.register("bob").await;
    drop(desk.send(&ann, acquire("a")).await.unwrap());
    let Acquire::Queued { ticket, tick_in } = desk.send(&bob, acquire("a")).await.unwrap() else { panic!("granted") };
    assert_eq!(tick_in, Some(30_000));
    desk.boot.0.fetch_add(20_000, std::sync::atomic::Ordering::SeqCst);
    desk.send(&bob, Heartbeat { progress: false }).await.unwrap();
    desk.boot.0.fetch_add(11_000, std::sync::atomic::Ordering::SeqCst);
    desk.send(&Actor::System, Tick { most: 64 }).await.unwrap();
    let confirmed = desk.send(&bob, agentcoord_core::lock::ConfirmLock { ticket }).await.unwrap();
    assert!(matches!(confirmed, Acquire::Granted(_)), "{confirmed:?}");
    let error = desk.send(&ann, Heartbeat { progress: false }).await.unwrap_err();
    assert!(matches!(error, Error::Stale { .. }), "{error:?}");
}
