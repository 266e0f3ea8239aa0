//! Redis goes and comes back while agents work.

mod by_hand;
mod copies;
mod guards;
mod outages;
mod partial;
mod shared;

use std::time::{Duration, Instant};

use agentcoord::core::engine::EngineKind;
use agentcoord::core::ids::Csn;
use agentcoord::core::op::Verb;
use agentcoord::core::request::VoidRequest;
use agentcoord::core::table::Table;
use agentcoord::core::task::{TaskFilter, TaskQueue};
use agentcoord::{Connection, CoordinationClient, SessionBuilder};
use agentcoord_fs::{Namespace, StateDir};

use crate::place::Place;

/// Redis that was healthy for so long gets everything back.
const RETURN_AFTER: Duration = Duration::from_millis(300);

/// Short times, so that tests need not wait.
fn quick(builder: SessionBuilder) -> SessionBuilder {
    builder.detection(Duration::from_millis(400)).return_after(RETURN_AFTER)
}

/// The engine that answers a heartbeat.
async fn engine(client: &CoordinationClient) -> EngineKind {
    client.run(agentcoord::core::agent::Heartbeat { progress: false }).await.unwrap();
    client.connection().opened().await.unwrap().serving.engine
}

/// Waits until an engine serves.
async fn served_by(client: &CoordinationClient, wanted: EngineKind) {
    let give_up = Instant::now() + Duration::from_secs(30);
    while engine(client).await != wanted {
        assert!(
            Instant::now() < give_up,
            "{wanted:?} did not come to serve: {:?}",
            client.connection().condition().await
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the log after `since` says that a request of this client was settled.
pub(crate) async fn settled(session: &CoordinationClient, since: Csn, client: &str) {
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        let store = session.store().await.unwrap();
        let events = store.engine().events(since, 500).await.unwrap();
        let voids = events.iter().filter(|event| event.verb == VoidRequest::NAME);
        let mut slots = voids.flat_map(|event| &event.images).filter(|image| image.table == Table::Ring);
        if slots.any(|slot| slot.key.starts_with(client)) {
            return;
        }
        assert!(Instant::now() < give_up, "the request was not settled");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The files of a workspace, behind its back.
fn namespace(place: &Place, connection: &Connection) -> Namespace {
    let state_dir = StateDir::open(place.dir.path().join("state")).unwrap();
    Namespace::open(&state_dir, connection.namespace()).unwrap()
}

/// Waits until no keeper is left, which might still write.
async fn keeper_has_ended(namespace: &Namespace) {
    let give_up = Instant::now() + Duration::from_secs(10);
    while namespace.try_become_keeper().is_none() {
        assert!(Instant::now() < give_up, "the keeper does not end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The titles of all tasks, sorted.
async fn titles(client: &CoordinationClient) -> Vec<String> {
    let page =
        TaskQueue::list(&client.store().await.unwrap(), &TaskFilter { limit: 100, ..TaskFilter::default() }).await;
    let mut titles: Vec<String> = page.unwrap().items.into_iter().map(|task| task.title).collect();
    titles.sort();
    titles
}
