//! What dropped futures and guards of this client have left behind, until it is withdrawn.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use agentcoord_core::{Disposition, Result};
use tokio::sync::{Notify, watch};

use crate::connection::Connection;
use crate::wait::Withdrawal;

/// The withdrawals of one client that are not over yet.
#[derive(Debug)]
pub(crate) struct Withdrawals {
    // A std mutex: never held across an await.
    waiting: Mutex<VecDeque<Withdrawal>>,
    ready: Notify,
    /// Those that wait and those that are under way.
    outstanding: watch::Sender<usize>,
}

/// A withdrawal under way. Dropped before it is over, it waits for another try.
#[derive(Debug)]
pub(crate) struct UnderWay<'a> {
    withdrawals: &'a Withdrawals,
    withdrawal: Option<Withdrawal>,
}

impl Withdrawals {
    pub(crate) fn new() -> Self {
        Self { waiting: Mutex::default(), ready: Notify::new(), outstanding: watch::Sender::new(0) }
    }

    pub(crate) fn add(&self, withdrawal: Withdrawal) {
        self.outstanding.send_modify(|n| *n += 1);
        self.waiting().push_back(withdrawal);
        self.ready.notify_one();
    }

    /// Resolves when one has been added, or all that wait are to be tried again.
    pub(crate) async fn ready(&self) {
        self.ready.notified().await;
    }

    pub(crate) fn try_again(&self) {
        self.ready.notify_one();
    }

    /// Takes the one that has waited longest.
    pub(crate) fn begin(&self) -> Option<UnderWay<'_>> {
        let withdrawal = self.waiting().pop_front()?;
        Some(UnderWay { withdrawals: self, withdrawal: Some(withdrawal) })
    }

    /// Resolves when all are over.
    pub(crate) async fn all_over(&self) {
        // It fails only without a sender, and this is it.
        drop(self.outstanding.subscribe().wait_for(|n| *n == 0).await);
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Withdrawal>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay<'_> {
    /// Withdraws it. What the engine has not answered is tried again another time.
    pub(crate) async fn run(mut self, connection: &Connection) -> Result<()> {
        let Some(withdrawal) = &self.withdrawal else { return Ok(()) };
        let outcome = withdrawal.run(connection).await;
        if outcome.as_ref().err().is_none_or(|error| error.disposition() == Disposition::Permanent) {
            self.withdrawal = None;
        }
        outcome
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        match self.withdrawal.take() {
            Some(withdrawal) => self.withdrawals.waiting().push_back(withdrawal),
            None => self.withdrawals.outstanding.send_modify(|n| *n -= 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use agentcoord_core::ids::Token;
    use agentcoord_core::op::Actor;

    use super::*;

    #[tokio::test]
    async fn a_withdrawal_that_was_dropped_under_way_waits_for_another_try() {
        let withdrawals = Withdrawals::new();
        withdrawals.add(Withdrawal::Release(Actor::System, Token(1)));
        withdrawals.add(Withdrawal::Release(Actor::System, Token(2)));
        drop(withdrawals.begin());
        let mut order = Vec::new();
        while let Some(mut under_way) = withdrawals.begin() {
            order.extend(under_way.withdrawal.take());
        }
        assert!(matches!(order[..], [Withdrawal::Release(_, Token(2)), Withdrawal::Release(_, Token(1))]), "{order:?}");
        withdrawals.all_over().await;
    }
}
