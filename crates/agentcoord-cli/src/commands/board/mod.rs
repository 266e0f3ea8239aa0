//! `board`: threads that everybody reads, and the caller's inbox. Posting never rewrites what stands there.

mod addressee;
mod list;
mod post;
mod read;
mod reopen;
mod reply;
mod resolve;
mod search;
mod show;
mod update;
mod view;

super::noun! {
    /// What to do with the board.
    enum Verb {
        /// Threads, urgent ones first, then the newest
        List(list),
        /// Open a thread
        Post(post),
        /// Append a message to a thread; everybody who takes part in it receives it
        Reply(reply),
        /// What others have written to you; then it counts as read
        Read(read),
        /// A thread with its messages
        Show(show),
        /// Find threads by words in titles, tags and messages
        Search(search),
        /// Close a thread
        Resolve(resolve),
        /// Open a closed thread again
        Reopen(reopen),
        /// Change a thread's state, urgency or tags
        Update(update),
    }
}
