//! `board`: threads that everybody reads. Posting never rewrites what stands there.

mod list;
mod post;
mod reply;
mod resolve;
mod show;
mod view;

super::noun! {
    /// What to do with the board.
    enum Verb {
        /// Threads, urgent ones first, then the newest
        List(list),
        /// Open a thread
        Post(post),
        /// Append a message to a thread
        Reply(reply),
        /// A thread with its messages
        Show(show),
        /// Close a thread
        Resolve(resolve),
    }
}
