//! Request numbers: every mutation of a process has one, and a number is given out only when its replay slot is free.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentcoord_core::ids::{Id, RequestNo};
use agentcoord_core::limits::REPLAY_WINDOW;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Slots that only upkeep takes, so that what makes slots free never waits for one.
const SPARE: usize = 8;

/// The numbers of one client. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    shared: Arc<Shared>,
    common: Arc<Semaphore>,
    spare: Arc<Semaphore>,
}

/// Gets a client and one of its numbers.
type Over = dyn Fn(&Id, RequestNo) + Send + Sync;

struct Shared {
    client: Id,
    // A std mutex: never held across an await.
    window: Mutex<Window>,
    /// Told every number that is resolved.
    over: Box<Over>,
}

impl Shared {
    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("client", &self.client).field("window", &self.window).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Window {
    last: u64,
    /// The slots of unresolved numbers.
    taken: BTreeSet<u64>,
}

/// A number that has been given out. Dropping it says that its outcome is known, or will never be asked for.
#[derive(Debug)]
pub(crate) struct Unresolved {
    pub(crate) number: RequestNo,
    shared: Arc<Shared>,
    /// Given back after the slot.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Requests {
    /// The numbers of a new client. `over` is told each one once nobody asks for its outcome any more.
    pub(crate) fn new(over: impl Fn(&Id, RequestNo) + Send + Sync + 'static) -> Self {
        let slots = usize::try_from(REPLAY_WINDOW).unwrap_or(usize::MAX);
        Self {
            shared: Arc::new(Shared { client: Id::random(), window: Mutex::default(), over: Box::new(over) }),
            common: Arc::new(Semaphore::new(slots - SPARE)),
            spare: Arc::new(Semaphore::new(SPARE)),
        }
    }

    pub(crate) fn client(&self) -> &Id {
        &self.shared.client
    }

    /// The next number whose slot no unresolved number has; waits while there is none.
    pub(crate) async fn next(&self) -> Unresolved {
        self.take(&self.common).await
    }

    /// A number for a withdrawal or a heartbeat: it does not wait for what others have asked.
    pub(crate) async fn next_for_upkeep(&self) -> Unresolved {
        self.take(&self.spare).await
    }

    async fn take(&self, slots: &Arc<Semaphore>) -> Unresolved {
        // Nobody closes it.
        let permit = Arc::clone(slots).acquire_owned().await.ok();
        let number = RequestNo(self.shared.window().take());
        Unresolved { number, shared: Arc::clone(&self.shared), _permit: permit }
    }
}

fn slot(number: u64) -> u64 {
    number % REPLAY_WINDOW
}

impl Window {
    /// The caller has a permit, so a slot is free.
    fn take(&mut self) -> u64 {
        self.last += 1;
        while !self.taken.insert(slot(self.last)) {
            self.last += 1;
        }
        self.last
    }
}

impl Drop for Unresolved {
    fn drop(&mut self) {
        self.shared.window().taken.remove(&slot(self.number.0));
        (self.shared.over)(&self.shared.client, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_number_whose_slot_is_taken_is_passed_over() {
        let requests = Requests::new(|_, _| ());
        let first = requests.next().await;
        for number in 2..=REPLAY_WINDOW {
            assert_eq!(requests.next().await.number, RequestNo(number));
        }
        assert_eq!(requests.next().await.number, RequestNo(REPLAY_WINDOW + 2));
        drop(first);
        for number in 3..=REPLAY_WINDOW {
            assert_eq!(requests.next().await.number, RequestNo(REPLAY_WINDOW + number));
        }
        assert_eq!(requests.next().await.number, RequestNo(2 * REPLAY_WINDOW + 1));
    }

    #[tokio::test]
    async fn numbers_wait_for_a_slot_and_those_for_upkeep_do_not() {
        let requests = Requests::new(|_, _| ());
        let mut held = Vec::new();
        for _ in 0..REPLAY_WINDOW - SPARE as u64 {
            held.push(requests.next().await);
        }
        let waiting = requests.next();
        tokio::pin!(waiting);
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("all slots but the spare ones are taken"),
            upkeep = requests.next_for_upkeep() => drop(upkeep),
        }
        held.pop();
        assert_eq!(waiting.await.number, RequestNo(REPLAY_WINDOW - SPARE as u64 + 2));
    }
}
