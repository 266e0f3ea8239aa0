//! File locks, agents, tasks, board, approvals and audit for many AI agents and a few people on one code base.
//!
//! One engine serves a workspace at any time: Redis, or an embedded file when there is no Redis. Which one is a single
//! durable decision of the host, so that no two processes ever lock the same file in two places.
//!
//! Start with [`CoordinationClient::session`].
//!
//! ```no_run
//! # async fn example() -> agentcoord::Result<()> {
//! use agentcoord::CoordinationClient;
//!
//! let coord = CoordinationClient::session("Engineer", "Agent-1").await?;
//! if let Some(task) = coord.claim_task(["backend"]).await? {
//!     let lock = coord.lock_file("backend/main.py").intent(task.title()).await?;
//!     // Safe to edit here.
//!     lock.release().await?;
//!     task.complete(None).await?;
//! }
//! coord.close().await
//! # }
//! ```

mod approval;
mod approver;
pub mod audit;
mod background;
mod board;
mod client;
mod config;
mod connection;
mod decide;
mod events;
mod failover;
mod following;
mod host;
mod keeper;
mod listen;
mod lock;
mod news;
mod next;
mod requests;
mod task;
mod vote;
mod wait;
mod withdrawals;
mod worker;
mod workspace;

pub use agentcoord_core as core;
pub use agentcoord_core::{Disposition, Error, Noun, Result, Store};
pub use agentcoord_fs::process;
pub use approval::{Approval, ApprovalBuilder, Decision};
pub use approver::{Approvers, Doubt, Roll, SIGNATURE_NAMESPACE, statement};
pub use board::{Mailbox, ReplyBuilder, ThreadBuilder, ThreadFeed};
pub use client::{CoordinationClient, SessionBuilder};
pub use config::{BackendChoice, Config, DEFAULT_REDIS_URL, Durability};
pub use connection::Connection;
pub use decide::{Extent, Purge, Purged, Switched};
pub use events::{EventStream, Live};
pub use failover::condition::{Condition, RedisNow};
pub use host::{Opened, Serving, Style, machine_name};
pub use lock::{FileLock, LockBuilder};
pub use next::NextBuilder;
pub use task::{ClaimBuilder, Task};
pub use vote::{Asked, Ballot};
pub use worker::{Failure, Worked, Worker};
pub use workspace::{Workspace, lock_path, lock_paths};
