//! `audit`: decisions worth keeping. Nothing here edits or deletes.

mod list;
mod log;
mod view;

super::noun! {
    /// What to do with the audit log.
    enum Verb {
        /// The newest entries, oldest of them first
        List(list),
        /// Log a decision
        Log(log),
    }
}
