//! Exclusive file locks with a bounded wait, one behind the other.
//!
//! A gate has one or more doors (files). Passing it locks each door in turn and lets go of the one before, so that only
//! one process at a time competes for the last door. flock(2) hands over roughly in order of arrival but knows no
//! time-out, and trying again and again would lose the place in the queue. So the wait happens on a thread of its own,
//! started at the first contention; who waits for that thread can give up. Locks vanish with their process and are never broken.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::Fault;

/// How long to wait at a gate.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a pid as it stands in a door.
const PID_BYTES: usize = 11;

type Doors = Vec<File>;
type Outcome = Result<Doors, (usize, Errno)>;

/// A gate, for all threads of a process.
#[derive(Debug)]
pub(crate) struct Gate {
    what: &'static str,
    paths: Vec<PathBuf>,
    patience: Duration,
    /// The places of those who have passed or have given up. Whoever comes next goes on with one of them, so that there are
    /// never more threads and files than have waited at one time.
    places: Mutex<Vec<Place>>,
}

/// What it takes to pass.
#[derive(Debug, Default)]
struct Place {
    /// Open and unlocked; none while they are held or waited with.
    idle: Option<Doors>,
    porter: Option<Porter>,
}

/// The thread that waits.
#[derive(Debug)]
struct Porter {
    jobs: Sender<Doors>,
    /// Who wants the locks that the thread is waiting for; none when it gave up.
    customer: Arc<Mutex<Customer>>,
}

#[derive(Debug, Default)]
struct Customer {
    waits: Option<Sender<Outcome>>,
    under_way: bool,
}

/// The last door is locked until this is dropped.
#[derive(Debug)]
pub(crate) struct Passage<'g> {
    gate: &'g Gate,
    place: Place,
    doors: Doors,
}

impl Gate {
    /// A gate; `what` says in an error what is busy.
    pub(crate) fn new(what: &'static str, paths: Vec<PathBuf>, patience: Duration) -> Self {
        Self { what, paths, patience, places: Mutex::default() }
    }

    /// Passes, waiting at most as long as the patience lasts.
    pub(crate) fn pass(&self) -> Result<Passage<'_>, Fault> {
        let place = self.places().pop().unwrap_or_default();
        let mut passage = Passage { gate: self, place, doors: Doors::new() };
        passage.doors = self.lock(&mut passage.place)?;
        sign(&passage.doors[passage.doors.len() - 1]);
        Ok(passage)
    }

    fn lock(&self, place: &mut Place) -> Result<Doors, Fault> {
        if place.porter.as_ref().is_some_and(Porter::is_under_way) {
            return self.wait(place, None);
        }
        match Self::at_once(self.doors(place)?) {
            Ok(doors) => Ok(doors),
            Err((doors, Errno::WOULDBLOCK)) => self.wait(place, Some(doors)),
            Err((_, errno)) => Err(Fault::errno("lock", &self.paths[0])(errno)),
        }
    }

    fn doors(&self, place: &mut Place) -> Result<Doors, Fault> {
        if let Some(doors) = place.idle.take() {
            return Ok(doors);
        }
        self.paths
            .iter()
            .map(|path| {
                // The standard library opens with O_CLOEXEC: children do not inherit the lock.
                let options =
                    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
                options.open(path).map_err(Fault::io("open", path))
            })
            .collect()
    }

    /// Tries without waiting. On failure some doors may be locked; waiting goes on from there.
    fn at_once(doors: Doors) -> Result<Doors, (Doors, Errno)> {
        match lock_all(&doors, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(doors),
            Err((_, errno)) => Err((doors, errno)),
        }
    }

    /// Waits on the porter's thread, with new doors or for those that it is waiting with since an earlier time-out.
    fn wait(&self, place: &mut Place, doors: Option<Doors>) -> Result<Doors, Fault> {
        if place.porter.is_none() {
            place.porter = Some(Porter::start().map_err(Fault::io("start a thread to wait for", &self.paths[0]))?);
        }
        let Some(porter) = &place.porter else { return Err(self.stuck()) };
        let answer = match porter.ask(doors) {
            Ok(answer) => answer,
            // It finished with the earlier doors in this moment: begin afresh.
            Err(NothingUnderWay) => {
                let doors = self.doors(place)?;
                let Some(porter) = &place.porter else { return Err(self.stuck()) };
                porter.ask(Some(doors)).map_err(|NothingUnderWay| self.stuck())?
            }
        };
        let outcome = match answer.recv_timeout(self.patience) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => {
                place.porter.as_ref().and_then(Porter::give_up);
                // It may have been answered between the time-out and giving up.
                answer.try_recv().ok()
            }
            Err(RecvTimeoutError::Disconnected) => {
                place.porter = None;
                None
            }
        };
        match outcome {
            Some(Ok(doors)) => Ok(doors),
            Some(Err((door, errno))) => Err(Fault::errno("lock", &self.paths[door])(errno)),
            None => Err(self.stuck()),
        }
    }

    /// Names the process that sits in the gate: the one in the last door, or else the last one that is held.
    fn stuck(&self) -> Fault {
        let held = self.paths.iter().rev().find(|path| {
            let Ok(file) = File::open(path) else { return false };
            flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
        });
        let pid = held.and_then(|path| std::fs::read_to_string(path).ok()).and_then(|text| text.trim().parse().ok());
        Fault::Stuck { what: self.what, pid, waited: self.patience }
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passage<'_> {
    /// The last door, locked for as long as the file is open.
    pub(crate) fn keep(mut self) -> Option<File> {
        std::mem::take(&mut self.doors).pop()
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        let doors = std::mem::take(&mut self.doors);
        // Closing unlocks too, so doors that cannot be unlocked are not kept.
        if doors.last().is_some_and(|door| flock(door, FlockOperation::Unlock).is_ok()) {
            self.place.idle = Some(doors);
        }
        self.gate.places().push(std::mem::take(&mut self.place));
    }
}

struct NothingUnderWay;

impl Porter {
    fn start() -> std::io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Doors>();
        let customer = Arc::new(Mutex::new(Customer::default()));
        let shared = Arc::clone(&customer);
        let thread = move || {
            for doors in inbox {
                let outcome = lock_all(&doors, FlockOperation::LockExclusive).map(|()| doors);
                let mut customer = shared.lock().unwrap_or_else(PoisonError::into_inner);
                customer.under_way = false;
                if let Some(waits) = customer.waits.take() {
                    // Nobody there: the doors come back in the error and closing them unlocks them.
                    drop(waits.send(outcome));
                }
            }
        };
        drop(std::thread::Builder::new().name("agentcoord-gate".into()).spawn(thread)?);
        Ok(Self { jobs, customer })
    }

    fn is_under_way(&self) -> bool {
        self.customer.lock().unwrap_or_else(PoisonError::into_inner).under_way
    }

    fn ask(&self, doors: Option<Doors>) -> Result<Receiver<Outcome>, NothingUnderWay> {
        let (waits, answer) = mpsc::channel();
        let mut customer = self.customer.lock().unwrap_or_else(PoisonError::into_inner);
        match doors {
            Some(doors) => self.jobs.send(doors).map_err(|_| NothingUnderWay)?,
            None if customer.under_way => {}
            None => return Err(NothingUnderWay),
        }
        *customer = Customer { waits: Some(waits), under_way: true };
        Ok(answer)
    }

    fn give_up(&self) -> Option<Sender<Outcome>> {
        self.customer.lock().unwrap_or_else(PoisonError::into_inner).waits.take()
    }
}

/// Locks each door and lets go of the one before.
fn lock_all(doors: &[File], how: FlockOperation) -> Result<(), (usize, Errno)> {
    for (i, door) in doors.iter().enumerate() {
        rustix::io::retry_on_intr(|| flock(door, how)).map_err(|errno| (i, errno))?;
        if i + 1 < doors.len() {
            sign(door);
        }
        if i > 0 {
            flock(&doors[i - 1], FlockOperation::Unlock).map_err(|errno| (i - 1, errno))?;
        }
    }
    Ok(())
}

/// Leaves the pid for those who wait too long. It is for people only, so a full disk does not matter.
fn sign(door: &File) {
    let pid = format!("{:<width$}\n", std::process::id(), width = PID_BYTES - 1);
    drop(door.write_all_at(pid.as_bytes(), 0));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(dir: &std::path::Path, patience: Duration) -> Gate {
        Gate::new("the test", vec![dir.join("queue"), dir.join("writer")], patience)
    }

    #[test]
    fn waiter_that_gave_up_does_not_keep_the_gate_shut() {
        let dir = tempfile::tempdir().expect("a directory");
        let holder = gate(dir.path(), PATIENCE);
        let waiter = gate(dir.path(), Duration::from_millis(20));
        let passage = holder.pass().expect("free");
        for _ in 0..3 {
            match waiter.pass().map(|_| ()) {
                Err(Fault::Stuck { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
                other => panic!("{other:?}"),
            }
        }
        drop(passage);
        // The thread that still waits takes the locks when nobody wants them, and lets go at once.
        drop(gate(dir.path(), PATIENCE).pass().expect("free again"));
        drop(waiter.pass().expect("free again"));
    }

    #[test]
    fn waiter_gets_the_gate_when_it_is_freed() {
        let dir = tempfile::tempdir().expect("a directory");
        let holder = gate(dir.path(), PATIENCE);
        let passage = holder.pass().expect("free");
        let waiter = gate(dir.path(), PATIENCE);
        let thread = std::thread::spawn(move || waiter.pass().map(|_| ()).is_ok());
        drop(passage);
        assert!(thread.join().expect("no panic"));
    }
}
