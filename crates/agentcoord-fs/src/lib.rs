//! agentcoord-fs
