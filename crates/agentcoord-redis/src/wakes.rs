//! Wake-ups: a subscriber on a thread of its own, so that a blocked executor does not delay them.
//!
//! It only listens. The state is in the store; a wake-up says where to look. After a reconnect, news may have been
//! missed, so everything is looked at again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use agentcoord_core::engine::{Channel, Wake, WakeSink, Wakes};
use agentcoord_core::{Error, Result};
use async_trait::async_trait;
use fred::clients::SubscriberClient;
use fred::prelude::{Builder, ClientLike, EventInterface, PubsubInterface, ReconnectPolicy};
use fred::types::MultipleStrings;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, oneshot};

use crate::config::{Deadlines, RedisUrl};
use crate::keys::Keys;

/// Milliseconds between two attempts to reconnect.
const RECONNECT: u32 = 50;
/// Wake-ups that may wait to be delivered; when more come, everything is looked at instead.
const BACKLOG: usize = 1_024;

/// The wake-ups of one namespace. Its thread and its connection begin with the first subscription.
pub struct RedisWakes {
    url: RedisUrl,
    keys: Keys,
    deadlines: Deadlines,
    sink: WakeSink,
    orders: Mutex<Option<mpsc::UnboundedSender<Order>>>,
}

/// What the thread is asked to do.
struct Order {
    subscribe: bool,
    channel: String,
    done: oneshot::Sender<Result<()>>,
}

impl std::fmt::Debug for RedisWakes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisWakes").field("url", &self.url).finish_non_exhaustive()
    }
}

impl RedisWakes {
    /// Wake-ups of a namespace, delivered to `sink` from a thread of their own.
    ///
    /// # Errors
    /// `Invalid` for a name that cannot be a namespace. Connecting comes later.
    pub fn new(url: RedisUrl, namespace: &str, deadlines: Deadlines, sink: WakeSink) -> Result<Self> {
        // Channels are the same in every generation.
        let keys = Keys::new(namespace, "")?;
        Ok(Self { url, keys, deadlines, sink, orders: Mutex::default() })
    }

    /// Gives an order to the thread; begins it when there is none, or when it has gone.
    fn give(&self, order: Order) -> Result<()> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let order = match orders.as_ref() {
            Some(sender) => match sender.send(order) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::SendError(order)) => order,
            },
            None if order.subscribe => order,
            None => {
                // Nothing was ever subscribed to.
                drop(order.done.send(Ok(())));
                return Ok(());
            }
        };
        let (sender, receiver) = mpsc::unbounded_channel();
        let listener = Listener { url: self.url.clone(), deadlines: self.deadlines, sink: self.sink.clone() };
        std::thread::Builder::new()
            .name("agentcoord-wakes".to_owned())
            .spawn(move || listener.run(receiver))
            .map_err(|e| Error::backend("the thread for wake-ups cannot be started", e))?;
        drop(sender.send(order));
        *orders = Some(sender);
        Ok(())
    }

    async fn order(&self, subscribe: bool, channel: &Channel) -> Result<()> {
        let (done, answer) = oneshot::channel();
        self.give(Order { subscribe, channel: self.keys.channel(channel), done })?;
        answer.await.unwrap_or_else(|_| Err(Error::unavailable("the thread for wake-ups has ended")))
    }
}

#[async_trait]
impl Wakes for RedisWakes {
    async fn subscribe(&self, channel: &Channel) -> Result<()> {
        self.order(true, channel).await
    }

    async fn unsubscribe(&self, channel: &Channel) -> Result<()> {
        self.order(false, channel).await
    }
}

/// What runs on the thread. It ends when the [`RedisWakes`] is dropped, or when it cannot connect at first.
struct Listener {
    url: RedisUrl,
    deadlines: Deadlines,
    sink: WakeSink,
}

impl Listener {
    fn run(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "no runtime for wake-ups");
                return;
            }
        };
        runtime.block_on(async {
            match self.connect().await {
                Ok(client) => self.listen(client, orders).await,
                Err(error) => {
                    // The next subscription begins a new thread and tries again.
                    orders.close();
                    let reason = error.to_string();
                    while let Some(order) = orders.recv().await {
                        drop(order.done.send(Err(Error::unavailable(reason.clone()))));
                    }
                }
            }
        });
    }

    async fn connect(&self) -> Result<SubscriberClient> {
        let unavailable = |e: fred::error::Error| Error::Unavailable {
            reason: format!("no connection for wake-ups to {}", self.url),
            source: Some(e.into()),
        };
        let mut builder = Builder::from_config(self.url.for_subscriptions()?);
        builder
            .with_connection_config(|c| {
                c.connection_timeout = self.deadlines.connect;
                c.internal_command_timeout = self.deadlines.call;
            })
            .with_performance_config(|p| {
                p.broadcast_channel_capacity = BACKLOG;
                p.default_command_timeout = self.deadlines.call;
            })
            .set_policy(ReconnectPolicy::Constant { attempts: 0, max_attempts: 0, delay: RECONNECT, jitter: 0 });
        let client = builder.build_subscriber_client().map_err(unavailable)?;
        client.init().await.map_err(unavailable)?;
        Ok(client)
    }

    async fn listen(&self, client: SubscriberClient, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut messages = client.message_rx();
        let mut reconnects = client.reconnect_rx();
        let (mut errors, mut is_up) = (client.error_rx(), true);
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(&client, order).await,
                    None => break,
                },
                message = messages.recv() => match message {
                    Ok(message) => match message.value.as_string() {
                        Some(topic) => (self.sink)(Wake::Topic(topic)),
                        None => (self.sink)(Wake::Everything),
                    },
                    Err(RecvError::Lagged(_)) => (self.sink)(Wake::Everything),
                    Err(RecvError::Closed) => break,
                },
                reconnect = reconnects.recv() => match reconnect {
                    Ok(_) | Err(RecvError::Lagged(_)) => {
                        is_up = true;
                        self.catch_up(&client).await;
                    }
                    Err(RecvError::Closed) => break,
                },
                // Once, when the connection breaks: whoever looks then finds out what has become of the server.
                error = errors.recv() => match error {
                    Ok(_) | Err(RecvError::Lagged(_)) if std::mem::take(&mut is_up) => (self.sink)(Wake::Everything),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => break,
                },
            }
        }
        if let Err(error) = client.quit().await {
            tracing::debug!(%error, "the connection for wake-ups did not close cleanly");
        }
    }

    /// Subscribes anew, then has everything looked at. A failure here means that the connection broke again, and then
    /// there will be another reconnect.
    async fn catch_up(&self, client: &SubscriberClient) {
        let channels: Vec<_> = client.tracked_channels().into_iter().collect();
        if !channels.is_empty()
            && let Err(error) = subscribe(client, channels).await
        {
            tracing::warn!(%error, "wake-up channels could not be subscribed to again");
        }
        (self.sink)(Wake::Everything);
    }

    async fn obey(&self, client: &SubscriberClient, order: Order) {
        let exchange = async {
            if order.subscribe {
                subscribe(client, order.channel.as_str()).await
            } else {
                client.unsubscribe(order.channel.as_str()).await
            }
        };
        let deadline: Duration = self.deadlines.call;
        let answer = match tokio::time::timeout(deadline, exchange).await {
            Ok(answer) => answer.map_err(|e| Error::Unavailable {
                reason: format!("{} did not take the subscription", self.url),
                source: Some(e.into()),
            }),
            Err(_) => Err(Error::unavailable(format!("{} did not confirm the subscription in time", self.url))),
        };
        drop(order.done.send(answer));
    }
}

/// Subscribes, and waits until that holds: the client does not wait for the confirmation, but what is asked next on this
/// connection is answered after it.
async fn subscribe(
    client: &SubscriberClient,
    channels: impl Into<MultipleStrings> + Send,
) -> Result<(), fred::error::Error> {
    client.subscribe(channels).await?;
    client.ping(None).await
}
