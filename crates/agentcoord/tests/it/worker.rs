//! Workers: what becomes of tasks when handlers succeed, fail, panic, hang, and when the worker or its process ends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agentcoord::core::ids::IdPrefix;
use agentcoord::core::store::Backend;
use agentcoord::core::task::{CreateTasks, NewTask, TaskDetail, TaskStatus};
use agentcoord::{CoordinationClient, Error, Failure, Worked};
use agentcoord_testkit::fault_proxy::{FaultProxy, Requests};
use agentcoord_testkit::redis_server::RedisServer;
use serde_json::json;
use tokio::sync::{Barrier, Notify, mpsc, oneshot};

use crate::child::Process;
use crate::place::Place;

/// The pause between two looks of one whom no news reaches.
const SLOW_LOOK: Duration = Duration::from_secs(5);

on_both_engines!(
    worker_gets_tasks_as_they_are_created_and_keeps_their_results,
    handler_that_fails_or_panics_fails_its_task_with_the_reason,
    result_that_no_record_takes_fails_the_task_for_good,
    slots_work_at_the_same_time_and_no_more_than_asked,
    stopped_worker_finishes_what_runs_and_claims_no_more,
    worker_past_its_grace_puts_back_what_runs,
    dropped_worker_puts_back_what_runs,
    lost_claim_drops_the_handler_and_writes_nothing,
    end_that_comes_with_a_claim_that_is_too_complex_counts,
    worker_of_a_lost_session_ends,
    task_of_a_killed_worker_runs_again_elsewhere,
);

async fn create(client: &CoordinationClient, titles: &[&str]) -> Vec<String> {
    let tasks = titles.iter().map(|title| NewTask::titled(*title)).collect();
    let created = client.run(CreateTasks::new(tasks)).await.unwrap();
    created.items.into_iter().map(|task| task.key).collect()
}

async fn show(client: &CoordinationClient, key: &str) -> TaskDetail {
    client.store().await.unwrap().tasks().show(&IdPrefix::parse("id", key).unwrap()).await.unwrap()
}

/// Sends when it is dropped.
struct Dropped(Option<oneshot::Sender<()>>);

impl Dropped {
    fn new() -> (Self, oneshot::Receiver<()>) {
        let (sender, dropped) = oneshot::channel();
        (Self(Some(sender)), dropped)
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.take().unwrap().send(()).ok();
    }
}

async fn worker_gets_tasks_as_they_are_created_and_keeps_their_results(place: &Place) {
    let (lead, agent) = (place.session("lead").await.unwrap(), place.session("worker").await.unwrap());
    let worker = agent.worker(["t"]).limit(3).run(|task| async move {
        let number: u64 = task.payload()?;
        Ok(json!({"twice": 2 * number}))
    });
    let creating = async {
        let mut keys = Vec::new();
        for n in 1..=3 {
            let mut task = NewTask::titled("double it");
            task.tags = vec!["t".into()];
            task.payload = Some(n.to_string());
            keys.push(lead.create_task(task).await.unwrap().key);
        }
        keys
    };
    let (worked, keys) = tokio::join!(worker, creating);
    assert_eq!(worked.unwrap(), Worked { completed: 3, ..Worked::default() });
    for (n, key) in keys.iter().enumerate() {
        let detail = show(&lead, key).await;
        assert_eq!(detail.task.status, TaskStatus::Completed);
        assert_eq!(detail.result, Some(json!({"twice": 2 * (n + 1)}).to_string()));
    }
}

async fn handler_that_fails_or_panics_fails_its_task_with_the_reason(place: &Place) {
    let agent = place.session("worker").await.unwrap();
    let keys = create(&agent, &["done", "fatal", "retry", "panic"]).await;
    let handler = |task: Arc<agentcoord::Task>| async move {
        match (task.title(), task.attempt()) {
            ("fatal", _) => return Err(Failure::fatal("cannot be")),
            ("retry", 1) => drop(std::fs::read("/nowhere/at/all")?),
            ("panic", 1) => panic!("lost my head"),
            _ => {}
        }
        Ok(())
    };
    let worked = agent.worker(["none"; 0]).limit(6).run(handler).await.unwrap();
    assert_eq!(worked, Worked { completed: 3, failed: 3, ..Worked::default() });
    let mut said = Vec::new();
    for key in &keys {
        let TaskDetail { task, result, .. } = show(&agent, key).await;
        assert_eq!(result, None, "`()` is no result");
        said.push((task.status, task.attempt, task.error.unwrap_or_default()));
    }
    assert_eq!(said[0], (TaskStatus::Completed, 1, String::new()));
    assert_eq!(said[1], (TaskStatus::Failed, 1, "cannot be".to_owned()));
    assert_eq!((said[2].0, said[2].1), (TaskStatus::Completed, 2));
    assert!(said[2].2.contains("No such file"), "{said:?}");
    assert_eq!(said[3], (TaskStatus::Completed, 2, "panicked: lost my head".to_owned()));
}

async fn result_that_no_record_takes_fails_the_task_for_good(place: &Place) {
    let agent = place.session("worker").await.unwrap();
    let keys = create(&agent, &["talkative"]).await;
    let worked = agent.worker(["none"; 0]).limit(1).run(|_| async { Ok("x".repeat(1 << 20)) }).await.unwrap();
    assert_eq!(worked.failed, 1);
    let task = show(&agent, &keys[0]).await.task;
    assert_eq!(task.status, TaskStatus::Failed);
    assert!(task.error.unwrap().contains("result"));
}

async fn slots_work_at_the_same_time_and_no_more_than_asked(place: &Place) {
    let agent = place.session("worker").await.unwrap();
    create(&agent, &["a"; 12]).await;
    let (together, at_work, most) = (Arc::new(Barrier::new(4)), Arc::default(), Arc::new(AtomicUsize::new(0)));
    let (meeting, peak) = (Arc::clone(&together), Arc::clone(&most));
    let worker = agent.worker(["none"; 0]).concurrency(4).until_empty().run(move |_| {
        let (meeting, at_work, peak): (_, Arc<AtomicUsize>, _) =
            (Arc::clone(&meeting), Arc::clone(&at_work), Arc::clone(&peak));
        async move {
            peak.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // Nobody passes before four are here.
            meeting.wait().await;
            at_work.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    });
    assert_eq!(worker.await.unwrap().completed, 12);
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

async fn stopped_worker_finishes_what_runs_and_claims_no_more(place: &Place) {
    let agent = place.session("worker").await.unwrap();
    let keys = create(&agent, &["first", "second"]).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let stop = std::sync::Mutex::new(Some(stop));
    let worker = agent.worker(["none"; 0]).until(async { drop(stopped.await) }).run(move |_| {
        let stop = stop.lock().unwrap().take();
        async move {
            // Told to stop in the middle of the work.
            stop.unwrap().send(()).unwrap();
            tokio::task::yield_now().await;
            Ok(())
        }
    });
    assert_eq!(worker.await.unwrap(), Worked { completed: 1, ..Worked::default() });
    assert_eq!(show(&agent, &keys[0]).await.task.status, TaskStatus::Completed);
    assert_eq!(show(&agent, &keys[1]).await.task.status, TaskStatus::Pending);
    let waiting = agent.worker(["other"]).until(async {}).run(|_| async { Ok(()) });
    assert_eq!(waiting.await.unwrap(), Worked::default(), "a worker that waits for tasks stops as well");
}

async fn worker_past_its_grace_puts_back_what_runs(place: &Place) {
    let agent = place.session("worker").await.unwrap();
    let keys = create(&agent, &["endless"]).await;
    let begun = Arc::new(Notify::new());
    let (guard, mut dropped) = Dropped::new();
    let (running, guard) = (Arc::clone(&begun), std::sync::Mutex::new(Some(guard)));
    let worker =
        agent.worker(["none"; 0]).until(async move { begun.notified().await }).grace(Duration::from_millis(20)).run(
            move |_| {
                let (running, guard) = (Arc::clone(&running), guard.lock().unwrap().take());
                async move {
                    running.notify_one();
                    std::future::pending::<()>().await;
                    drop(guard);
                    Ok(())
                }
            },
        );
    assert_eq!(worker.await.unwrap(), Worked { released: 1, ..Worked::default() });
    dropped.try_recv().expect("the handler is dropped before the task is put back");
    let task = show(&agent, &keys[0]).await.task;
    assert_eq!((task.status, task.attempt), (TaskStatus::Pending, 0), "it does not count as an attempt");
}

async fn dropped_worker_puts_back_what_runs(place: &Place) {
    let (one, two) = (place.session("one").await.unwrap(), place.session("two").await.unwrap());
    let keys = create(&one, &["endless"]).await;
    let (begin, mut begun) = mpsc::channel(1);
    let worker = one.worker(["none"; 0]).run(move |_| {
        let begin = begin.clone();
        async move {
            begin.send(()).await.unwrap();
            std::future::pending::<Result<(), Failure>>().await
        }
    });
    tokio::select! {
        ended = worker => panic!("the worker has ended: {ended:?}"),
        _ = begun.recv() => {}
    }
    let task = two.claim_task(["none"; 0]).await.unwrap().unwrap();
    assert_eq!(task.id(), keys[0]);
    task.complete(None).await.unwrap();
}

async fn lost_claim_drops_the_handler_and_writes_nothing(place: &Place) {
    let agent = place.session("worker").await.unwrap();
    let keys = create(&agent, &["hangs once"]).await;
    let (guard, dropped) = Dropped::new();
    let guard = std::sync::Mutex::new(Some(guard));
    let begun = Instant::now();
    let worker = agent.worker(["none"; 0]).lease(Duration::from_millis(100)).limit(2).run(move |_| {
        let guard = guard.lock().unwrap().take();
        async move {
            if let Some(guard) = guard {
                std::future::pending::<()>().await;
                drop(guard);
            }
            Ok(())
        }
    });
    assert_eq!(worker.await.unwrap(), Worked { completed: 1, lost: 1, ..Worked::default() });
    dropped.await.expect("the handler is dropped");
    assert!(begun.elapsed() < SLOW_LOOK, "it is told when its lease ends");
    let task = show(&agent, &keys[0]).await.task;
    assert_eq!((task.status, task.crashes), (TaskStatus::Completed, 1));
}

async fn end_that_comes_with_a_claim_that_is_too_complex_counts(place: &Place) {
    let lead = Arc::new(place.session("lead").await.unwrap());
    let words: Vec<String> = (0..16).map(|n| format!("can {n:02}")).collect();
    let clever = words.iter().fold(place.session("clever"), agentcoord::SessionBuilder::capability).await.unwrap();
    let keys = create(&lead, &["done"]).await;
    // More combinations of what it can do than a claim looks at, none of them enough.
    let demanding = move |n: usize| {
        let requires = words.iter().enumerate().filter(|(bit, _)| n >> bit & 1 == 1).map(|(_, word)| word.clone());
        NewTask { requires: requires.chain(["cannot".to_owned()]).collect(), ..NewTask::titled("beyond it") }
    };
    let fours = (0..1_usize << 16).filter(|n| n.count_ones() == 4);
    let tasks = Mutex::new(Some(fours.map(demanding).collect()));
    let others = Arc::clone(&lead);
    let worker = clever.worker(["none"; 0]).until_empty().run(move |_| {
        let (lead, tasks) = (Arc::clone(&others), tasks.lock().unwrap().take().unwrap());
        async move {
            lead.create_tasks(tasks).await?;
            Ok(())
        }
    });
    let ended = worker.await;
    assert!(matches!(ended, Err(Error::Refused { policy: "too_complex", .. })), "{ended:?}");
    assert_eq!(show(&lead, &keys[0]).await.task.status, TaskStatus::Completed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn end_whose_answer_was_lost_counts_as_what_it_was() {
    let server = RedisServer::start();
    let proxy = Arc::new(FaultProxy::start(server.port()));
    // Without patience, the first answer that does not come leaves the outcome unknown.
    let place = Place::on(&server.url());
    let agent = place.session("worker").redis_url(proxy.url()).patience(Duration::ZERO).await.unwrap();
    create(&agent, &["done", "hopeless"]).await;
    let network = Arc::clone(&proxy);
    let worker = agent.worker(["none"; 0]).limit(2).run(move |task| {
        let network = Arc::clone(&network);
        async move {
            let (end, outcome) = match task.title() {
                "done" => ("task_complete", Ok(())),
                _ => ("task_fail", Err(Failure::fatal("cannot be"))),
            };
            network.cut_replies(Requests::containing(end).times(1));
            outcome
        }
    });
    assert_eq!(worker.await.unwrap(), Worked { completed: 1, failed: 1, ..Worked::default() });
    assert!(proxy.cuts() >= 2, "both answers were lost");
}

async fn worker_of_a_lost_session_ends(place: &Place) {
    let agent = place.session("worker").await.unwrap();
    let worker = agent.worker(["none"; 0]).concurrency(2).run(|_| async { Ok(()) });
    let (worked, closed) = tokio::join!(worker, agent.close());
    closed.unwrap();
    assert!(matches!(worked, Err(Error::Stale { .. })), "{worked:?}");
}

async fn task_of_a_killed_worker_runs_again_elsewhere(place: &Place) {
    let here = place.session("here").await.unwrap();
    let mut process = Process::start(place, "there", Duration::from_secs(30));
    let keys = create(&here, &["rescued"]).await;
    assert_eq!(process.ask("work"), keys[0], "the other process is at work");
    let worker = here.worker(["none"; 0]).limit(1).run(|task| async move { Ok(task.attempt()) });
    let killing = async { process.kill() };
    let (worked, ()) = tokio::join!(worker, killing);
    assert_eq!(worked.unwrap().completed, 1);
    let detail = show(&here, &keys[0]).await;
    assert_eq!((detail.task.crashes, detail.result.as_deref()), (1, Some("1")));
    assert_eq!(detail.task.claimed_by.as_deref(), Some("here"));
}
