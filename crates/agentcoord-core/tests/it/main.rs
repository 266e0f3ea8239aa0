//! The machine in memory against the contract.
#![allow(clippy::unwrap_used)]

mod conformance;
mod differential;
