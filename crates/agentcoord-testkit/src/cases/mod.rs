//! The conformance cases: one function a behaviour, run on every engine by [`conformance!`](crate::conformance!).

pub mod agents;
pub mod approvals;
pub mod audit;
pub mod board;
pub mod deadlocks;
pub mod dependencies;
pub mod dispatch;
pub mod fences;
pub mod history;
pub mod inboxes;
pub mod leases;
pub mod locks;
pub mod onlookers;
pub mod overlaps;
pub mod requests;
pub mod retries;
pub mod tasks;
