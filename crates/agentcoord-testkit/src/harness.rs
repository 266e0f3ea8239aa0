//! How a case meets an engine: started empty, with a clock that stands still.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use agentcoord_core::engine::Engine;
use agentcoord_core::ids::Epoch;
use agentcoord_core::memory::MemoryEngine;
use async_trait::async_trait;

use crate::actor::Scene;
use crate::clock::ManualClock;

/// An empty, private state and ways to reach it.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// What the cases run on one after the other, such as server binaries; one unnamed variant when there is no choice.
    fn variants() -> Vec<String>
    where
        Self: Sized,
    {
        vec![String::new()]
    }

    /// Starts a variant.
    async fn start(variant: &str) -> Self
    where
        Self: Sized;

    /// The clock that all engines of this harness read.
    fn clock(&self) -> Arc<ManualClock>;

    /// Tells a store with a wall clock of its own what the clock reads now. Called after each move of the clock.
    async fn clock_moved(&self) {}

    /// A client of the state.
    fn engine(&self) -> Arc<dyn Engine>;

    /// Another client of the same state, as independent of the first as another process would be.
    async fn peer(&self) -> Arc<dyn Engine>;

    /// Moves the clock.
    async fn advance(&self, by: Duration) {
        self.clock().advance(by);
        self.clock_moved().await;
    }

    /// Sets the wall clock without time passing.
    async fn set_wall_by(&self, ms: i64) {
        self.clock().set_wall_by(ms);
        self.clock_moved().await;
    }
}

/// The engine in memory.
#[derive(Debug)]
pub struct MemoryHarness {
    engine: MemoryEngine,
    clock: Arc<ManualClock>,
}

#[async_trait]
impl Harness for MemoryHarness {
    async fn start(_variant: &str) -> Self {
        let clock = Arc::new(ManualClock::default());
        Self { engine: MemoryEngine::new(Epoch(1), clock.clone(), Box::new(|_| {})), clock }
    }

    fn clock(&self) -> Arc<ManualClock> {
        self.clock.clone()
    }

    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.engine.clone())
    }

    async fn peer(&self) -> Arc<dyn Engine> {
        Arc::new(self.engine.clone())
    }
}

/// Runs a future to its end on a runtime of its own, with the panic of a failing test passed on.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts in a test");
    runtime.block_on(future)
}

/// Runs one case on every variant of a harness.
pub fn run_case<H: Harness, F: Future<Output = ()>>(case: fn(Scene) -> F) {
    block_on(async {
        for variant in H::variants() {
            case(Scene::new(H::start(&variant).await)).await;
        }
    });
}
