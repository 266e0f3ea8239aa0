//! Who in this process waits for what: wake-ups from the engine come in here and go to the one that waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use agentcoord_core::Result;
use agentcoord_core::engine::{EngineKind, Wake, WakeSink, Wakes};
use agentcoord_core::ids::Epoch;
use tokio::sync::Notify;

/// The waiting parts of this process, by topic (a ticket, or `approval/<key>`). Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    // A std mutex: the engine's thread delivers here, and it is never held across an await.
    topics: Arc<Mutex<HashMap<String, Waiting>>>,
    /// Where they come from: one source for all links to an engine.
    source: Arc<Mutex<Option<Source>>>,
}

#[derive(Debug)]
struct Source {
    engine: (EngineKind, Epoch),
    wakes: Weak<dyn Wakes>,
}

#[derive(Debug, Default)]
struct Waiting {
    notify: Arc<Notify>,
    listeners: usize,
}

/// A registered interest; ends when dropped.
#[derive(Debug)]
pub(crate) struct Interest {
    topic: String,
    notify: Arc<Notify>,
    news: News,
}

impl News {
    /// The source of an engine's wake-ups: the one that other links have opened, or a new one that delivers here.
    pub(crate) fn source<W: Wakes + 'static>(
        &self,
        engine: EngineKind,
        epoch: Epoch,
        open: impl FnOnce(WakeSink) -> Result<W>,
    ) -> Result<Arc<dyn Wakes>> {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let known = source.as_ref().filter(|known| known.engine == (engine, epoch));
        if let Some(wakes) = known.and_then(|known| known.wakes.upgrade()) {
            return Ok(wakes);
        }
        // Only the topics: what the source delivers to must not keep the source.
        let topics = Self { topics: Arc::clone(&self.topics), source: Arc::default() };
        let wakes: Arc<dyn Wakes> = Arc::new(open(Arc::new(move |wake| topics.deliver(&wake)))?);
        *source = Some(Source { engine: (engine, epoch), wakes: Arc::downgrade(&wakes) });
        Ok(wakes)
    }

    /// Registers an interest; news from now on are not missed.
    pub(crate) fn listen(&self, topic: &str) -> Interest {
        let mut topics = self.topics();
        let waiting = topics.entry(topic.to_owned()).or_default();
        waiting.listeners += 1;
        Interest { topic: topic.to_owned(), notify: Arc::clone(&waiting.notify), news: self.clone() }
    }

    fn deliver(&self, wake: &Wake) {
        let topics = self.topics();
        match wake {
            Wake::Topic(topic) => {
                if let Some(waiting) = topics.get(topic) {
                    waiting.tell();
                }
            }
            Wake::Everything => topics.values().for_each(Waiting::tell),
        }
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Wakes all that wait now, and leaves a permit for one that is about to.
    fn tell(&self) {
        self.notify.notify_waiters();
        self.notify.notify_one();
    }
}

impl Interest {
    /// Whether nobody else in this process waits for the same.
    pub(crate) fn is_alone(&self) -> bool {
        self.news.topics().get(&self.topic).is_none_or(|waiting| waiting.listeners == 1)
    }

    /// Resolves when there is news.
    pub(crate) async fn changed(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        let mut topics = self.news.topics();
        if let Some(waiting) = topics.get_mut(&self.topic) {
            waiting.listeners -= 1;
            if waiting.listeners == 0 {
                topics.remove(&self.topic);
            }
        }
    }
}
