//! The engine against the conformance cases and against the machine, on a server of its own for each case.

use std::sync::Arc;
use std::time::Duration;

use agentcoord_core::engine::Engine;
use agentcoord_core::ids::{Epoch, Id};
use agentcoord_core::time::Clock;
use agentcoord_redis::{Admission, Deadlines, Meta, RedisEngine, RedisUrl, found, survey};
use agentcoord_testkit::clock::ManualClock;
use agentcoord_testkit::harness::{Harness, block_on};
use agentcoord_testkit::redis_server::RedisServer;
use agentcoord_testkit::{conformance, differential};
use async_trait::async_trait;

/// Nothing here is about deadlines, and a busy machine is no fault of the engine.
const PATIENT: Deadlines = Deadlines { connect: Duration::from_secs(10), call: Duration::from_secs(20) };
const NAMESPACE: &str = "conformance";

struct RedisHarness {
    server: RedisServer,
    admission: Admission,
    clock: Arc<ManualClock>,
    engine: Arc<dyn Engine>,
}

impl RedisHarness {
    fn open(server: &RedisServer, admission: &Admission, clock: &Arc<ManualClock>) -> Arc<dyn Engine> {
        let url = RedisUrl::parse(&server.url()).unwrap();
        Arc::new(RedisEngine::new(url, NAMESPACE, admission.clone(), PATIENT, clock.clone()).unwrap())
    }

    fn freeze(&self) {
        let wall = self.clock.read().wall.to_string();
        self.server.command(&["HSET", &format!("ac:{{{NAMESPACE}}}:meta"), "freeze_wall", &wall]);
    }
}

#[async_trait]
impl Harness for RedisHarness {
    fn variants() -> Vec<String> {
        RedisServer::binaries()
    }

    async fn start(variant: &str) -> Self {
        let server = RedisServer::start_with(variant, &[]);
        let url = RedisUrl::parse(&server.url()).unwrap();
        let meta = Meta::new(Epoch(1), Id::random().to_string(), "1", "owner");
        let meta = found(&url, NAMESPACE, &meta, PATIENT).await.unwrap();
        let run_id = survey(&url, NAMESPACE, PATIENT).await.unwrap().run_id;
        let Meta { instance, epoch, generation, owner, .. } = meta;
        let admission = Admission { run_id, instance, epoch, generation, owner };
        let clock = Arc::new(ManualClock::default());
        let engine = Self::open(&server, &admission, &clock);
        let harness = Self { server, admission, clock, engine };
        harness.freeze();
        harness
    }

    fn clock(&self) -> Arc<ManualClock> {
        self.clock.clone()
    }

    async fn clock_moved(&self) {
        self.freeze();
    }

    fn engine(&self) -> Arc<dyn Engine> {
        self.engine.clone()
    }

    async fn peer(&self) -> Arc<dyn Engine> {
        Self::open(&self.server, &self.admission, &self.clock)
    }
}

conformance!(RedisHarness);

#[test]
fn the_scripts_and_the_machine_are_one_meaning() {
    block_on(async {
        for (seed, variant) in (1..).zip(RedisHarness::variants()) {
            for (seed, operations) in differential::sequences(seed) {
                let harness = RedisHarness::start(&variant).await;
                let moved = async || harness.clock_moved().await;
                let run = differential::run(harness.engine(), harness.clock(), moved, seed, operations);
                let report = run.await.unwrap_or_else(|difference| panic!("{variant}: {difference}"));
                assert!(report.done * 2 > report.operations, "most operations should do something: {report:?}");
            }
        }
    });
}
