//! The turnstile before every write transaction: two locks, so that writers take turns.
//!
//! SQLite's own busy handler sleeps and tries again, and starves writers for seconds when another one commits with
//! fsync. One lock in front is not enough, because whoever lets go takes it again before the woken waiter runs. With two,
//! only one waiter at a time competes for the second, and the one that comes from behind queues at the first.

use crate::gate::{Gate, PATIENCE};
use crate::layout::Files;

/// The turnstile of a namespace.
pub(crate) fn turnstile(files: &Files) -> Gate {
    Gate::new("the store", vec![files.queue_lock.clone(), files.writer_lock.clone()], PATIENCE)
}
