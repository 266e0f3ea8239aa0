//! agentcoord-redis
