//! Whether a history can be put into one order that explains it. The search is `todc-utils`' (Wing and Gong, with Lowe's
//! memory of what was tried); here are calls that never returned, and the shortest beginning that shows a fault.

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

/// A step that took effect at one moment within its time, or did not: then it has no end.
#[derive(Clone, Debug)]
pub(super) struct Span<T> {
    pub(super) from: u64,
    pub(super) to: Option<u64>,
    pub(super) step: T,
}

/// Whether there is an order of the steps, each within its time, in which each does what the specification allows.
///
/// A step without an end counts as one that ends after all others. Its specification must allow it always: what the
/// order puts at the end has had no effect that anybody saw.
pub(super) fn is_linearizable<S>(spans: &[Span<S::Operation>]) -> bool
where
    S: Specification,
    S::Operation: Clone,
{
    if spans.is_empty() {
        return true;
    }
    let mut moments: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * spans.len());
    for (at, span) in spans.iter().enumerate() {
        moments.push((span.from, false, at));
        moments.push((span.to.unwrap_or(u64::MAX), true, at));
    }
    // What begins when another ends may have come first.
    moments.sort_unstable();
    let action = |(_, ends, at): (u64, bool, usize)| {
        let step = spans[at].step.clone();
        // Every step is a process of its own: only the times order them.
        (at, if ends { Action::Response(step) } else { Action::Call(step) })
    };
    WGLChecker::<S>::is_linearizable(History::from_actions(moments.into_iter().map(action).collect()))
}
