//! Reads that follow the workspace: from whichever engine serves, with short absences waited out.

use std::sync::Arc;
use std::time::Instant;

use agentcoord_core::Result;
use agentcoord_core::engine::{Engine, EngineKind};
use agentcoord_core::ids::{Csn, Epoch};
use agentcoord_core::op::Call;
use agentcoord_core::record::{Event, State};
use agentcoord_core::table::{Entry, Range, Table};
use agentcoord_core::time::Reading;
use async_trait::async_trait;

use crate::connection::Connection;
use crate::host::Opened;

/// The engine that serves, whichever it is when it is asked.
#[derive(Debug)]
pub(crate) struct Following {
    connection: Connection,
    kind: EngineKind,
    epoch: Epoch,
}

impl Following {
    /// `opened` is what served when this was made; kind and epoch are those of that moment.
    pub(crate) fn new(connection: Connection, opened: &Opened) -> Self {
        Self { connection, kind: opened.serving.engine, epoch: opened.epoch }
    }

    async fn read<T, F>(&self, read: impl Fn(Arc<dyn Engine>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut patience = self.connection.patience();
        loop {
            let begun = Instant::now();
            let failed = match self.connection.opened().await {
                Ok(opened) => match read(Arc::clone(opened.store.engine())).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => {
                        self.connection.has_failed(&opened, &error, begun).await;
                        error
                    }
                },
                Err(error) => error,
            };
            patience.bear(failed).await?;
        }
    }
}

#[async_trait]
impl Engine for Following {
    fn kind(&self) -> EngineKind {
        self.kind
    }

    fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Mutations have numbers of their own: [`Connection::run`].
    async fn step(&self, call: Call) -> Result<Vec<u8>> {
        self.connection.opened().await?.store.engine().step(call).await
    }

    async fn fetch(&self, table: Table, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        self.read(|engine| async move { engine.fetch(table, keys).await }).await
    }

    async fn blobs(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        self.read(|engine| async move { engine.blobs(names).await }).await
    }

    async fn scan(&self, range: &Range, limit: usize) -> Result<Vec<Entry>> {
        self.read(|engine| async move { engine.scan(range, limit).await }).await
    }

    async fn state(&self) -> Result<(State, Reading)> {
        self.read(|engine| async move { engine.state().await }).await
    }

    async fn events(&self, after: Csn, limit: usize) -> Result<Vec<Event>> {
        self.read(|engine| async move { engine.events(after, limit).await }).await
    }
}
