//! `tasks`: the queue. An agent claims, works, and says how it went.

mod add;
mod cancel;
mod claim;
mod done;
mod extend;
mod fail;
mod held;
mod import;
mod list;
mod progress;
mod redrive;
mod release;
mod show;
mod start;
pub(crate) mod view;
mod work;

super::noun! {
    /// What to do with tasks.
    enum Verb {
        /// Tasks, by state and then in the order they will be claimed
        List(list),
        /// Put a task into the queue
        Add(add),
        /// Put many tasks into the queue, from JSON lines
        Import(import),
        /// Take the best task, or a certain one
        Claim(claim),
        /// Say that work has begun
        Start(start),
        /// Say how far the work is
        Progress(progress),
        /// Move the deadline of the claim
        Extend(extend),
        /// Say that the task is done
        Done(done),
        /// Say that the task could not be done
        Fail(fail),
        /// Put a claimed task back to its place in the queue
        Release(release),
        /// Call a task off, also a claimed one
        Cancel(cancel),
        /// Put a failed, cancelled or dead task back, with all its attempts before it
        Redrive(redrive),
        /// One task with its long texts
        Show(show),
        /// Run a command for each task, until it is told to stop
        Work(work),
    }
}
