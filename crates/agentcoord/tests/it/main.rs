//! The client library on real engines.
#![allow(clippy::unwrap_used)]

/// Runs a test on files and on a private Redis.
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {
        mod files {
            $(#[tokio::test] async fn $name() { super::$name(&super::Place::files()).await; })+
        }
        mod redis {
            $(#[tokio::test] async fn $name() { super::$name(&super::Place::redis()).await; })+
        }
    };
}

mod approvals;
mod board;
mod child;
mod claims;
mod crashes;
mod engines;
mod events;
mod failover;
mod liveness;
mod lives;
mod next;
mod people;
mod place;
mod races;
mod sessions;
mod signatures;
mod tampering;
mod waits;
mod worker;
