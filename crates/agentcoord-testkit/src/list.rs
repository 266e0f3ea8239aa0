//! The one list of conformance cases.

/// Expands to one test per case for a [`Harness`](crate::harness::Harness), in one module per noun.
#[macro_export]
macro_rules! conformance {
    ($harness:ty) => {};
}
