//! The test kit itself: no case is forgotten, and its tools do what they say.

mod cases;
mod differential;
mod failover_model;
mod fault_proxy;
mod history;
mod redis_server;
