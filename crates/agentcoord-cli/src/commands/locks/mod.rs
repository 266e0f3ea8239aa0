//! `locks`: who holds which file, and taking and giving back.

mod acquire;
mod list;
mod release;
mod renew;
mod revoke;
mod run;
mod show;
mod verify;
mod view;
mod wait;

super::noun! {
    /// What to do with locks.
    enum Verb {
        /// Who holds and waits for what
        List(list),
        /// Take files: all or none
        Acquire(acquire),
        /// Give files back
        Release(release),
        /// Move the deadline
        Renew(renew),
        /// Take a file from whoever holds it; for people
        Revoke(revoke),
        /// Run a command while holding files
        Run(run),
        /// Wait until files are free, without taking them
        Wait(wait),
        /// Is this token still the one that protects the file? Exit 9: no
        Verify(verify),
        /// Who holds and waits for one file
        Show(show),
    }
}
