//! AgentCoord on Redis or Valkey: runs the Lua scripts of `agentcoord-core` and carries its reads.
//!
//! This crate decides nothing about locks, tasks or agents: it builds keys, calls a script, decodes the reply. It never
//! sends a mutation twice by itself: after an [`OutcomeUnknown`](agentcoord_core::Error::OutcomeUnknown) the caller asks
//! again under the same request number, or not at all.

mod carry;
mod config;
mod connection;
mod engine;
mod error;
mod feed;
mod keys;
mod namespace;
mod purge;
mod tail;
mod wakes;
mod writeback;

pub use carry::carry_out;
pub use config::{Deadlines, RedisUrl};
pub use connection::Admission;
pub use engine::{RedisEngine, Stepped};
pub use feed::{RedisFeed, RedisFollower};
pub use namespace::{Meta, Role, Sighting, Survey, close, found, look_for, raise, reopen, survey};
pub use purge::{Closing, purge, retire};
pub use wakes::RedisWakes;
pub use writeback::{Change, Writeback};
