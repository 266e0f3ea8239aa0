//! agentcoord
