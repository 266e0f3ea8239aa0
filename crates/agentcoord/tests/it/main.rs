//! The client library on real engines.
#![allow(clippy::unwrap_used)]

mod engines;
mod place;
mod sessions;
