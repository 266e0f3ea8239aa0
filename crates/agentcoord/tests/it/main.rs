//! The client library on real engines.
#![allow(clippy::unwrap_used)]

mod sessions;
