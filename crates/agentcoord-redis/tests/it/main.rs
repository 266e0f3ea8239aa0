//! The engine against a real server. Every test has its own namespace; those that stop or limit a server have their own.
#![allow(clippy::unwrap_used)]

mod admission;
mod conformance;
mod costs;
mod namespace;
mod purge;
mod scripts;
mod server;
mod wakes;
