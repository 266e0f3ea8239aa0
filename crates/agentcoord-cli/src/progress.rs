//! How far a long command is: one line on stderr that is drawn over, and only for people.

use crate::context::Context;
use crate::output::{draw, is_watched};

/// Cells of the bar.
const WIDTH: u64 = 30;

/// A progress bar. Without a terminal, or when quiet was asked for, it draws nothing.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    total: u64,
    shown: bool,
}

impl Progress {
    /// A bar for so many items.
    pub(crate) fn new(context: &Context, what: &'static str, total: u64) -> Self {
        let shown = !context.settings().quiet && is_watched();
        Self { what, total: total.max(1), shown }
    }

    /// So many are done.
    pub(crate) fn at(&self, done: u64) {
        if self.shown {
            let full = (done.min(self.total) * WIDTH / self.total) as usize;
            let bar = "#".repeat(full) + &".".repeat(WIDTH as usize - full);
            draw(&format!("\r{} {bar} {done}/{}", self.what, self.total));
        }
    }

    /// Makes room for a message that must be seen.
    pub(crate) fn clear(&self) {
        if self.shown {
            draw("\r\u{1b}[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
