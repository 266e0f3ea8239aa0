//! What holds the engines to the contract: conformance cases, harnesses, and a differential test against the machine.
//!
//! Depends on core only. An engine's crate implements [`harness::Harness`] in its tests, expands [`conformance!`] and
//! calls [`differential::run`]. Nothing here knows how an engine stores anything.

// Every part of this crate runs inside tests, where a panic is how a failure is told.
#![allow(clippy::missing_panics_doc)]

pub mod actor;
pub mod cases;
pub mod clock;
pub mod describe;
pub mod differential;
pub mod fault_proxy;
pub mod harness;
pub mod history;
mod list;
mod port;
pub mod random;
pub mod redis_server;
