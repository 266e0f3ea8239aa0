//! Request numbers: every mutation of a process has one, and a number is given out only when the replay window allows.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentcoord_core::ids::{Id, RequestNo};
use agentcoord_core::limits::REPLAY_WINDOW;
use tokio::sync::Notify;

/// The numbers of one client. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    shared: Arc<Shared>,
}

/// Gets a client and one of its numbers.
type Over = dyn Fn(&Id, RequestNo) + Send + Sync;

struct Shared {
    client: Id,
    // A std mutex: never held across an await.
    window: Mutex<Window>,
    resolved: Notify,
    /// Told every number that is resolved.
    over: Box<Over>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("client", &self.client).field("window", &self.window).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Window {
    last: u64,
    unresolved: BTreeSet<u64>,
}

/// A number that has been given out. Dropping it says that its outcome is known, or will never be asked for.
#[derive(Debug)]
pub(crate) struct Unresolved {
    pub(crate) number: RequestNo,
    shared: Arc<Shared>,
}

impl Requests {
    /// The numbers of a new client. `over` is told each one once nobody asks for its outcome any more.
    pub(crate) fn new(over: impl Fn(&Id, RequestNo) + Send + Sync + 'static) -> Self {
        let (window, resolved) = (Mutex::default(), Notify::new());
        Self { shared: Arc::new(Shared { client: Id::random(), window, resolved, over: Box::new(over) }) }
    }

    pub(crate) fn client(&self) -> &Id {
        &self.shared.client
    }

    /// The next number; waits while number `n - 256` is unresolved, so that no replay slot is overwritten too early.
    pub(crate) async fn next(&self) -> Unresolved {
        loop {
            let resolved = self.shared.resolved.notified();
            if let Some(number) = self.shared.window().take() {
                return Unresolved { number: RequestNo(number), shared: Arc::clone(&self.shared) };
            }
            resolved.await;
        }
    }
}

impl Shared {
    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn take(&mut self) -> Option<u64> {
        let number = self.last + 1;
        if self.unresolved.first().is_some_and(|oldest| oldest + REPLAY_WINDOW <= number) {
            return None;
        }
        self.last = number;
        self.unresolved.insert(number);
        Some(number)
    }
}

impl Drop for Unresolved {
    fn drop(&mut self) {
        self.shared.window().unresolved.remove(&self.number.0);
        self.shared.resolved.notify_waiters();
        (self.shared.over)(&self.shared.client, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn number_waits_for_the_slot_it_would_overwrite() {
        let requests = Requests::new(|_, _| ());
        let mut held = Vec::new();
        for _ in 0..REPLAY_WINDOW {
            held.push(requests.next().await);
        }
        let waiting = requests.next();
        tokio::pin!(waiting);
        assert!(futures_poll(waiting.as_mut()).await.is_none(), "number 257 must wait for number 1");
        held.remove(0);
        assert_eq!(waiting.await.number, RequestNo(REPLAY_WINDOW + 1));
    }

    async fn futures_poll<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut future).poll(cx) {
                std::task::Poll::Ready(out) => Some(out),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
