//! What coordination means: types, async traits, Lua scripts and the pure rules of AgentCoord. No I/O.
//!
//! The rules exist twice, side by side and nowhere else: `lua/<noun>/<verb>.lua` is what Redis runs, and
//! [`machine`] is the same as pure functions over a small row port, for the memory and the file engine.
//! Users hold the concrete types of the crate `agentcoord`; this crate is for engines, tests and the curious.

pub mod agent;
pub mod approval;
pub mod audit;
pub mod board;
mod check;
pub mod engine;
pub mod error;
pub mod hidden;
pub mod history;
pub mod ids;
pub mod limits;
pub mod lock;
pub mod machine;
pub mod memory;
pub mod mode;
pub mod op;
pub mod record;
pub mod replica;
pub mod request;
pub mod script;
pub mod snapshot;
pub mod store;
pub mod table;
pub mod task;
pub mod time;
pub mod waypoint;

pub use error::{Disposition, Error, Noun, Result};
pub use store::Store;
