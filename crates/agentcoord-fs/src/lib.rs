//! AgentCoord on an embedded SQLite file, shared by all processes of one host. No server.
//!
//! This crate opens a transaction, runs the rules of `agentcoord-core` over rows, and commits; it takes no decision
//! about domain state. Which engine a host uses is decided elsewhere too: the mode row and word live here
//! ([`mode`]), and a step is refused when they do not name this engine and the caller's epoch.
//!
//! Start with [`StateDir::open`], then [`Namespace::open`], then [`FsEngine::open`].

#[cfg(not(target_os = "linux"))]
compile_error!("the file engine needs Linux: inotify, flock, /proc and CLOCK_BOOTTIME");

mod carry;
pub mod clock;
mod commit;
mod database;
pub mod engine;
mod error;
mod extent;
pub mod feed;
mod gate;
mod inotify;
pub mod journal;
mod kept_head;
mod layout;
pub mod mode;
mod mode_watch;
pub mod namespace;
pub mod process;
mod purge;
mod reads;
pub mod replica;
mod rows;
mod schema;
pub mod state_dir;
mod turnstile;
pub mod wakes;
pub mod watch;
mod writer;

pub use clock::SystemClock;
pub use engine::{Durability, FsEngine, Threading};
pub use feed::FsFeed;
pub use journal::Journal;
pub use mode::{ModeEngine, ModeLock, ModeRow, ModeWord, Phase};
pub use mode_watch::ModeWatch;
pub use namespace::Namespace;
pub use replica::Replica;
pub use state_dir::StateDir;
pub use wakes::FsWakes;
