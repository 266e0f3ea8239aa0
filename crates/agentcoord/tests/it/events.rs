//! The stream of events through the library: whole, in order, and honest about what is missing.

use std::time::Duration;

use agentcoord::core::audit::AppendAudit;
use agentcoord::core::engine::EngineKind;
use agentcoord::core::ids::{Csn, RequestNo};
use agentcoord::core::op::{Actor, Op};
use agentcoord::{EventStream, Live, Store};
use agentcoord_testkit::redis_server::RedisServer;

use crate::place::Place;

/// Longer than any news may take; the slow look behind it takes five seconds.
const SOON: Duration = Duration::from_secs(4);

async fn next(stream: &mut EventStream) -> Live {
    tokio::time::timeout(SOON, stream.next()).await.expect("told before the slow look").unwrap()
}

/// The number of the next event, which must be one.
async fn number(stream: &mut EventStream) -> u64 {
    match next(stream).await {
        Live::Event(event) => event.csn.0,
        other => panic!("{other:?}"),
    }
}

async fn last(store: &Store) -> Csn {
    store.state().await.unwrap().csn
}

#[tokio::test]
async fn stream_gives_every_event_once_while_many_write() {
    for place in [Place::files(), Place::redis()] {
        let watcher = place.session("watcher").await.unwrap();
        let mut stream = watcher.events(None);
        stream.begin().await.unwrap();
        let begun = last(&watcher.store().await.unwrap()).await.0;
        let mut writing = Vec::new();
        for name in ["ada", "bob", "cyd", "dan"] {
            let client = place.session(name).await.unwrap();
            writing.push(tokio::spawn(async move {
                for number in 0..50 {
                    client.log_decision("test", format!("{number}"), "because").await.unwrap();
                }
                client.close().await.unwrap();
            }));
        }
        for task in writing {
            task.await.unwrap();
        }
        let end = last(&watcher.store().await.unwrap()).await.0;
        assert!(end >= begun + 4 * 52);
        for expected in begun + 1..=end {
            assert_eq!(number(&mut stream).await, expected);
        }
        // From any place in the log, the same again.
        let mut again = watcher.events(Some(Csn(begun + 7)));
        assert_eq!(number(&mut again).await, begun + 8);
        watcher.close().await.unwrap();
    }
}

#[tokio::test]
async fn event_reaches_a_waiting_stream_without_a_poll() {
    for place in [Place::files(), Place::redis()] {
        let watcher = place.session("watcher").await.unwrap();
        let other = place.session("other").await.unwrap();
        let mut stream = watcher.events(None);
        stream.begin().await.unwrap();
        for _ in 0..3 {
            // Given up while it waits: the next call begins where this one was.
            assert!(tokio::time::timeout(Duration::from_millis(20), stream.next()).await.is_err());
            let seq = other.log_decision("test", "x", "y").await.unwrap();
            let Live::Event(event) = next(&mut stream).await else { panic!("no event") };
            assert_eq!((event.verb.as_str(), event.images[0].key.clone()), ("audit/append", seq.to_string()));
        }
        other.close().await.unwrap();
        watcher.close().await.unwrap();
    }
}

#[tokio::test]
async fn switch_of_the_engine_is_followed() {
    let server = RedisServer::start();
    let place = Place::on(&server.url());
    let one = place.session("one").await.unwrap();
    one.log_decision("test", "before", "x").await.unwrap();
    let connection = one.connection().clone();
    one.close().await.unwrap();
    // Nothing is left for a keeper to do, so nothing happens any more.
    agentcoord::audit::seal(&connection, u64::MAX).await.unwrap();
    let end = last(&connection.store().await.unwrap()).await;
    let mut early = connection.events(Some(Csn(0)));
    assert_eq!(number(&mut early).await, 1);
    let mut late = connection.events(Some(end));
    late.begin().await.unwrap();
    connection.switch(EngineKind::Files, "human:eve").await.unwrap();
    let two = place.session("two").await.unwrap();
    let begun = number(&mut late).await;
    assert_eq!(begun, end.0 + 1, "the numbers go on where they were");
    // What the one had not read of the old log is not in the new one.
    let mut missing = Vec::new();
    loop {
        match next(&mut early).await {
            Live::Event(event) if event.csn.0 <= end.0 => missing.push(event.csn.0),
            Live::Gap { from, to } => {
                assert_eq!((from.0, to.0), (missing.last().copied().unwrap_or(1) + 1, end.0));
                break;
            }
            Live::Event(event) => {
                assert_eq!(missing.last().copied(), Some(end.0), "{event:?} came without a gap");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    two.close().await.unwrap();
}

#[tokio::test]
async fn cursor_older_than_the_log_gets_a_gap() {
    let server = RedisServer::start();
    let place = Place::on(&server.url());
    let ada = place.session("ada").await.unwrap();
    for number in 0..10 {
        ada.log_decision("test", format!("{number}"), "because").await.unwrap();
    }
    let end = last(&ada.store().await.unwrap()).await.0;
    // What the server would do in time: the oldest events go.
    let mut redis = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*:events").query(&mut redis).unwrap();
    let minimum = format!("{}-0", end - 2);
    redis::cmd("XTRIM").arg(&keys[0]).arg("MINID").arg(minimum).exec(&mut redis).unwrap();
    let mut stream = ada.events(Some(Csn(2)));
    assert_eq!(next(&mut stream).await, Live::Gap { from: Csn(3), to: Csn(end - 3) });
    for expected in end - 2..=end {
        assert_eq!(number(&mut stream).await, expected);
    }
    ada.close().await.unwrap();
}

#[tokio::test]
async fn cursor_beyond_the_log_is_told_so() {
    let place = Place::files();
    let ada = place.session("ada").await.unwrap();
    let end = last(&ada.store().await.unwrap()).await.0;
    let mut stream = ada.events(Some(Csn(end + 5)));
    assert_eq!(next(&mut stream).await, Live::Lost { from: Csn(end + 1), to: Csn(end + 5) });
    ada.log_decision("test", "x", "y").await.unwrap();
    assert_eq!(number(&mut stream).await, end + 1);
    ada.close().await.unwrap();
}

/// The file engine rings for followers only while there are some; nobody must be left without a ring.
#[tokio::test]
async fn step_through_another_connection_is_heard_on_files() {
    let place = Place::files();
    let ada = place.session("ada").await.unwrap();
    let mut stream = ada.events(None);
    stream.begin().await.unwrap();
    let store = ada.store().await.unwrap();
    let stranger = agentcoord::core::ids::Id::random();
    for number in 1..=20 {
        let body = AppendAudit { entry: "{}".to_owned() };
        let (client, request) = (stranger.clone(), RequestNo(number));
        let epoch = store.engine().epoch();
        store.run(&Op { epoch, client, request, actor: Actor::System, fence: None, body }).await.unwrap();
        let event = loop {
            let Live::Event(event) = next(&mut stream).await else { panic!("no event") };
            // The keeper of the session has its own work, such as seals.
            if event.client == stranger {
                break event;
            }
        };
        assert_eq!(event.request, RequestNo(number));
    }
    ada.close().await.unwrap();
}
