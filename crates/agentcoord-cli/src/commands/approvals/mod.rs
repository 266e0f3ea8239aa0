//! `approvals`: an agent asks and blocks, a person decides (`approve`, `reject`).

mod cancel;
mod list;
mod request;
mod show;
mod statement;
mod view;
pub(super) mod vote;
mod wait;

super::noun! {
    /// What to do with approvals.
    enum Verb {
        /// Approvals that wait for a person
        List(list),
        /// Ask people to approve an action
        Request(request),
        /// Wait for the verdict; the call that gets the yes takes it up, once
        Wait(wait),
        /// What is asked for, exactly
        Show(show),
        /// The text that a signed vote signs
        Statement(statement),
        /// Call an own request off
        Cancel(cancel),
    }
}
