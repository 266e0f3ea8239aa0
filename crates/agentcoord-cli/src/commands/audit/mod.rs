//! `audit`: decisions worth keeping, and the proof that they were kept. Nothing here edits or deletes.

mod anchor;
mod anchors;
mod export;
mod list;
mod log;
mod verify;
mod view;

super::noun! {
    /// What to do with the audit log.
    enum Verb {
        /// The newest entries, oldest of them first
        List(list),
        /// Log a decision
        Log(log),
        /// Find the first entry that was changed, dropped, moved, copied or cut off; exit code 8 when there is one
        Verify(verify),
        /// Keep the log's last hash where whoever changes the log cannot change it
        Anchor(anchor),
        /// The whole log as JSON lines, with the hash of each entry
        Export(export),
    }
}
