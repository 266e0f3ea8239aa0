//! Request numbers: every mutation of a process has one, and a number is given out only when its replay slot is free.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentcoord_core::ids::{Id, RequestNo};
use agentcoord_core::limits::REPLAY_WINDOW;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Slots that only upkeep takes, so that what makes slots free never waits for one.
const SPARE: usize = 8;

/// The numbers of one client. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    client: Id,
    // A std mutex: never held across an await.
    window: Arc<Mutex<Window>>,
    common: Arc<Semaphore>,
    spare: Arc<Semaphore>,
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
    window: Arc<Mutex<Window>>,
    /// Given back after the slot.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Requests {
    pub(crate) fn new() -> Self {
        let slots = usize::try_from(REPLAY_WINDOW).unwrap_or(usize::MAX);
        Self {
            client: Id::random(),
            window: Arc::default(),
            common: Arc::new(Semaphore::new(slots - SPARE)),
            spare: Arc::new(Semaphore::new(SPARE)),
        }
    }

    pub(crate) fn client(&self) -> &Id {
        &self.client
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
        let number = RequestNo(lock(&self.window).take());
        Unresolved { number, window: Arc::clone(&self.window), _permit: permit }
    }
}

fn lock(window: &Mutex<Window>) -> MutexGuard<'_, Window> {
    window.lock().unwrap_or_else(PoisonError::into_inner)
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
        lock(&self.window).taken.remove(&slot(self.number.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_number_whose_slot_is_taken_is_passed_over() {
        let requests = Requests::new();
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
        let requests = Requests::new();
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
