//! The real binary, as people and agents call it.
#![allow(clippy::unwrap_used)]

mod approvals;
mod audit;
mod bad_input;
mod board;
mod configuration;
mod contention;
mod crowd;
mod demo;
mod escapes;
mod formats;
mod identity;
mod importing;
mod liveness;
mod lives;
mod readme;
mod reference;
mod running;
mod signatures;
mod store;
mod tasks;
mod terminal;
mod watch;
mod working;
