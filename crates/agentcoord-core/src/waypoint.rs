//! Named places on the way of a request and of a switch, where a test can end or hold the process.
//!
//! Without a hook a place costs one load. Nothing else looks at them.

use std::sync::OnceLock;

static HOOK: OnceLock<fn(&'static str)> = OnceLock::new();

/// Every place, in the order of the protocol; see `docs/failover.md`.
pub const ALL: [&str; 16] = [
    "request/intended",
    "request/answered",
    "request/noted",
    "request/confirmed",
    "replica/read",
    "replica/applied",
    "mode/row",
    "take-over/preparing",
    "take-over/read",
    "take-over/installed",
    "return/copied",
    "return/leaving",
    "return/closed",
    "return/written",
    "return/opened",
    "return/arrived",
];

/// Has every place that is reached from now on told to a test. Only the first hook of a process counts.
pub fn hook(hook: fn(&'static str)) {
    // A second one would be a mistake of the test; the first one goes on.
    let _ = HOOK.set(hook);
}

/// A place is reached.
pub fn reached(place: &'static str) {
    if let Some(hook) = HOOK.get() {
        hook(place);
    }
}
