//! The memory engine against the conformance cases.

use agentcoord_testkit::harness::MemoryHarness;

agentcoord_testkit::conformance!(MemoryHarness);
