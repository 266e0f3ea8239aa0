//! The real binary, as people and agents call it.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod configuration;
mod contention;
mod crowd;
mod escapes;
mod formats;
mod identity;
mod liveness;
mod reference;
mod running;
mod terminal;
