//! A request that arrives long after its process has died.

use agentcoord::core::engine::EngineKind;
use agentcoord::core::task::{TaskFilter, TaskQueue};
use agentcoord::{Config, Connection, CoordinationClient, Style};
use agentcoord_testkit::fault_proxy::{FaultProxy, Requests};
use agentcoord_testkit::redis_server::RedisServer;

use super::process::{Orders, PATIENCE, Process, histories, let_all_go, quick};
use crate::failover::settled;
use crate::place::Place;

/// It stands in the request and nowhere else.
const TITLE: &str = "late-packet";

/// A process behind a network that keeps its last request.
struct Network {
    _server: RedisServer,
    proxy: FaultProxy,
    place: Place,
    dies: Process,
}

impl Network {
    async fn new() -> Self {
        let server = RedisServer::start();
        let (proxy, place) = (FaultProxy::start(server.port()), Place::on(&server.url()));
        proxy.hold_requests(Requests::containing(TITLE));
        let orders = Orders { only: Some(TITLE.to_owned()), ..Orders::new(1, place.dir.path(), &proxy.url()) };
        std::fs::create_dir_all(histories(place.dir.path())).unwrap();
        let mut dies = orders.start();
        dies.ready().await;
        Self { _server: server, proxy, place, dies }
    }

    /// The process has asked, and is dead; its request is on its way.
    async fn process_dies(&mut self) {
        let_all_go(self.place.dir.path());
        assert!(self.proxy.wait_held(1, PATIENCE), "it has not asked");
        self.dies.is_killed().await;
    }

    /// What was on its way arrives.
    fn arrives(&self) {
        let held = self.proxy.held();
        self.proxy.release_requests();
        assert!(self.proxy.wait_delivered(held, PATIENCE), "the server has not got it");
    }

    /// A session with a direct way to Redis, as keeper if there is no other.
    async fn session(&self, name: &str) -> CoordinationClient {
        quick(self.place.session(name)).await.unwrap()
    }
}

async fn tasks(client: &CoordinationClient) -> usize {
    let filter = TaskFilter { text: Some(TITLE.to_owned()), limit: 10, ..TaskFilter::default() };
    TaskQueue::list(&client.store().await.unwrap(), &filter).await.unwrap().items.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_of_a_dead_process_that_arrives_late_does_nothing() {
    let mut network = Network::new().await;
    let session = network.session("keeper").await;
    let since = session.store().await.unwrap().state().await.unwrap().csn;
    network.process_dies().await;
    settled(&session, since, &network.dies.client()).await;
    network.arrives();
    assert_eq!(tasks(&session).await, 0);
    session.close().await.unwrap();
}

/// Nobody has settled it, but the workspace was on files meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_of_a_dead_process_that_arrives_after_two_switches_does_nothing() {
    let mut network = Network::new().await;
    network.process_dies().await;
    let mut config = Config::new(network.place.dir.path(), network.place.dir.path().join("state"));
    config.redis_url.clone_from(&network.place.redis_url);
    let person = Connection::unopened(config, Style::OneShot).unwrap();
    for engine in [EngineKind::Files, EngineKind::Redis] {
        person.switch(engine, "human:eve").await.unwrap();
    }
    network.arrives();
    let session = network.session("keeper").await;
    assert_eq!(tasks(&session).await, 0);
    session.close().await.unwrap();
}

/// The counterpart, which shows that the packet would do something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_of_a_dead_process_counts_while_nobody_has_settled_it() {
    let mut network = Network::new().await;
    network.process_dies().await;
    network.arrives();
    let session = network.session("keeper").await;
    assert_eq!(tasks(&session).await, 1, "also when it was asked more than once");
    session.close().await.unwrap();
}
