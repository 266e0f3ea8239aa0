//! Waiting for what others write: a look, then news, then another look. Nothing is registered in the store, so there is
//! nothing to withdraw.

use agentcoord_core::Result;
use agentcoord_core::engine::Channel;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::news::Interest;
use crate::wait::SAFETY;

/// Listens to some channels from its making on.
#[derive(Debug)]
pub(crate) struct Listening<'a> {
    connection: &'a Connection,
    channels: Vec<Channel>,
    interests: Vec<Interest>,
    /// The opening of the engine on which the channels are subscribed.
    heard: Option<u64>,
    switches: watch::Receiver<u64>,
}

impl<'a> Listening<'a> {
    pub(crate) fn to(connection: &'a Connection, channels: impl IntoIterator<Item = Channel>) -> Self {
        let channels: Vec<Channel> = channels.into_iter().collect();
        let interests = channels.iter().map(|channel| connection.news().listen(&channel.name())).collect();
        Self { connection, channels, interests, heard: None, switches: connection.host().switches() }
    }

    /// Waits for news after a look that found nothing, at most until `deadline` or until a slow look is due. The first
    /// wait on an engine returns at once: what came before the subscription is to be looked for.
    pub(crate) async fn wait(&mut self, deadline: Option<Instant>) -> Result<()> {
        let mut patience = self.connection.patience();
        loop {
            match self.hear().await {
                Ok(false) => break,
                Ok(true) => return Ok(()),
                Err(error) => patience.bear(error).await?,
            }
        }
        let pause = Instant::now() + SAFETY;
        tokio::select! {
            () = any(&self.interests) => {}
            _ = self.switches.changed() => {}
            () = tokio::time::sleep_until(deadline.map_or(pause, |at| at.min(pause))) => {}
        }
        Ok(())
    }
}

impl Listening<'_> {
    /// Listens on the engine that serves. True when that has just begun.
    async fn hear(&mut self) -> Result<bool> {
        let begun = std::time::Instant::now();
        let opened = self.connection.opened().await?;
        if self.heard == Some(opened.serial) {
            return Ok(false);
        }
        for channel in &self.channels {
            if let Err(error) = opened.wakes.subscribe(channel).await {
                self.connection.has_failed(&opened, &error, begun).await;
                return Err(error);
            }
        }
        self.heard = Some(opened.serial);
        Ok(true)
    }
}

/// Resolves when there is news of any interest.
async fn any(interests: &[Interest]) {
    let mut waits: Vec<_> = interests.iter().map(|interest| Box::pin(interest.changed())).collect();
    std::future::poll_fn(|context| {
        let ready = waits.iter_mut().any(|wait| wait.as_mut().poll(context).is_ready());
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
