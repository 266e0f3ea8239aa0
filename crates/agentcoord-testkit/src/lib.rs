//! agentcoord-testkit
