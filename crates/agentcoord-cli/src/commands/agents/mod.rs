//! `agents`: who is here, and what a shell agent says about itself.

mod deregister;
mod evict;
mod heartbeat;
mod list;
mod register;
mod show;
mod update;
pub(crate) mod view;

super::noun! {
    /// What to do with agents.
    enum Verb {
        /// Who is here
        List(list),
        /// Introduce this shell as an agent
        Register(register),
        /// Say that this agent is alive
        Heartbeat(heartbeat),
        /// Say what this agent does
        Update(update),
        /// Leave: locks pass on, tasks return to their queue
        Deregister(deregister),
        /// End an agent that hangs: for people
        Evict(evict),
        /// One agent
        Show(show),
    }
}
