//! The file engine against a real directory, with real processes.
#![allow(clippy::unwrap_used, reason = "a failing step of a test is a failing test")]

mod basics;
mod commits;
mod conformance;
mod mode;
mod peer;
mod processes;
mod purge;
mod stage;
mod state_dir;
mod wakes;
