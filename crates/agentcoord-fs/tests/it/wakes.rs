//! Wake-ups across processes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentcoord_core::engine::{Channel, Wake, Wakes};
use agentcoord_core::lock::{Acquire, ConfirmLock, ReleaseLock};
use agentcoord_fs::{FsWakes, Threading};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::peer::{Peer, listen, say};
use crate::stage::{Agent, Store, engine, lock, open, run};

const ROUNDS: u32 = 20;
/// Longer than any wake-up may take, the slow look included.
const LIMIT: Duration = Duration::from_secs(10);

/// Role: takes a lock, and at every line of input lets it go and takes it again behind whoever waits.
pub(crate) fn release_on_command(dir: &Path) {
    run(async {
        let namespace = open(dir);
        let agent = Agent::register(engine(&namespace, Threading::Direct), "releaser").await;
        let mut acquired = agent.run(lock("a", None)).await.unwrap();
        for _ in 0..ROUNDS {
            let Acquire::Granted(grant) = acquired else { panic!("{acquired:?}") };
            say("held");
            assert_eq!(listen(), "release");
            let _released = agent.run(ReleaseLock { token: grant.token, paths: vec![] }).await.unwrap();
            say("released");
            assert_eq!(listen(), "acquire");
            acquired = agent.run(lock("a", None)).await.unwrap();
        }
    });
}

fn hear(store: &Store) -> (FsWakes, UnboundedReceiver<Wake>) {
    let (sender, woken) = tokio::sync::mpsc::unbounded_channel();
    let wakes = FsWakes::new(&store.namespace, Arc::new(move |wake| drop(sender.send(wake)))).unwrap();
    (wakes, woken)
}

async fn next(woken: &mut UnboundedReceiver<Wake>) -> Wake {
    tokio::time::timeout(LIMIT, woken.recv()).await.expect("a wake-up comes").unwrap()
}

#[test]
fn waiter_is_woken_by_another_process_through_the_bell() {
    run(async {
        let store = Store::new();
        let (wakes, mut woken) = hear(&store);
        let waiter = Agent::register(store.engine(Threading::Threaded), "waiter").await;
        wakes.subscribe(&Channel::Client(waiter.client.clone())).await.unwrap();
        let mut peer = Peer::start("releaser", store.dir.path());
        let mut waited = Duration::ZERO;
        for _ in 0..ROUNDS {
            assert_eq!(peer.hear().as_deref(), Some("held"));
            let Acquire::Queued { ticket, .. } = waiter.run(lock("a", None)).await.unwrap() else { panic!("free") };
            let begun = Instant::now();
            peer.tell("release");
            assert_eq!(next(&mut woken).await, Wake::Topic(ticket.as_str().to_owned()));
            waited += begun.elapsed();
            assert_eq!(peer.hear().as_deref(), Some("released"));
            let Acquire::Granted(grant) = waiter.run(ConfirmLock { ticket }).await.unwrap() else { panic!("no grant") };
            let _released = waiter.run(ReleaseLock { token: grant.token, paths: vec![] }).await.unwrap();
            peer.tell("acquire");
        }
        // The slow look alone, once a second, would take half a second a round.
        assert!(waited < ROUNDS * Duration::from_millis(250), "{waited:?} for {ROUNDS} wake-ups");
    });
}

#[test]
fn only_what_was_subscribed_to_is_delivered() {
    run(async {
        let store = Store::new();
        let (wakes, mut woken) = hear(&store);
        let engine = store.engine(Threading::Threaded);
        let holder = Agent::register(engine.clone(), "holder").await;
        let (deaf, waiter) = (Agent::register(engine.clone(), "deaf").await, Agent::register(engine, "waiter").await);
        let channel = Channel::Client(deaf.client.clone());
        wakes.subscribe(&channel).await.unwrap();
        wakes.unsubscribe(&channel).await.unwrap();
        wakes.subscribe(&Channel::Client(waiter.client.clone())).await.unwrap();
        for (agent, path) in [(&deaf, "a"), (&waiter, "b")] {
            let Acquire::Granted(grant) = holder.run(lock(path, None)).await.unwrap() else { panic!("not granted") };
            let _queued = agent.run(lock(path, None)).await.unwrap();
            let _released = holder.run(ReleaseLock { token: grant.token, paths: vec![] }).await.unwrap();
        }
        assert_eq!(next(&mut woken).await, Wake::Topic(waiter.last_ticket().as_str().to_owned()));
    });
}

#[test]
fn waiter_hears_of_events_beyond_a_gap_and_without_a_bell() {
    run(async {
        let store = Store::new();
        let (wakes, mut woken) = hear(&store);
        let engine = store.engine(Threading::Threaded);
        let (holder, waiter) =
            (Agent::register(engine.clone(), "holder").await, Agent::register(engine, "waiter").await);
        wakes.subscribe(&Channel::Client(waiter.client.clone())).await.unwrap();
        // The bell goes: whoever waits looks again at everything, and from then on is woken by looking.
        std::fs::remove_file(store.file("bell")).unwrap();
        let Acquire::Granted(grant) = holder.run(lock("a", None)).await.unwrap() else { panic!("not granted") };
        let _queued = waiter.run(lock("a", None)).await.unwrap();
        let _released = holder.run(ReleaseLock { token: grant.token, paths: vec![] }).await.unwrap();
        let mut heard = vec![next(&mut woken).await, next(&mut woken).await];
        heard.sort_by_key(|wake| *wake == Wake::Everything);
        assert_eq!(heard, [Wake::Topic(waiter.last_ticket().as_str().to_owned()), Wake::Everything]);
        // Events that are gone before they were looked at.
        let conn = rusqlite::Connection::open(store.file("agentcoord.db")).unwrap();
        conn.execute("UPDATE event SET csn = csn + 1000", []).unwrap();
        assert_eq!(next(&mut woken).await, Wake::Everything);
    });
}
