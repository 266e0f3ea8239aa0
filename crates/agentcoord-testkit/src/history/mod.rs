//! What processes that work at the same time did and saw, recorded as it happened, and judged afterwards.
//!
//! Every process writes its own file: each call before it is made and each outcome after it has come, with the time of
//! a clock that all processes of the host share. A file survives the kill of its process; a call without an outcome then
//! is one that may or may not have happened. What the calls mean is the business of [`locks`] and [`tasks`].

mod linear;
pub mod locks;
pub mod tasks;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Nanoseconds of a clock that never goes back and that all processes of the host share.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// A line of a file.
#[derive(Serialize, Deserialize)]
enum Line<C, O> {
    Invoked { at: u64, number: u64, call: C },
    Returned { at: u64, number: u64, outcome: O },
}

/// A call of a process with what it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<C, O> {
    /// Who called.
    pub process: u32,
    /// Which call of the process, from 0.
    pub number: u64,
    /// When it was about to call.
    pub invoked: u64,
    /// What it called.
    pub call: C,
    /// When the outcome had come, and the outcome; none when it never heard of it.
    pub returned: Option<(u64, O)>,
}

/// Writes what one process does and sees.
#[derive(Debug)]
pub struct Recorder {
    file: File,
    next: u64,
}

impl Recorder {
    /// Begins the file of a process, whose number must be new in this directory.
    ///
    /// # Panics
    /// When the file cannot be made; so do the other methods when it cannot be written.
    #[must_use]
    pub fn create(directory: &Path, process: u32) -> Self {
        let file = File::create_new(directory.join(process.to_string())).expect("a new file for the history");
        Self { file, next: 0 }
    }

    /// Records a call that is about to be made. Returns its number.
    pub fn invoke<C: Serialize>(&mut self, call: C) -> u64 {
        let number = self.next;
        self.next += 1;
        self.write(&Line::<C, ()>::Invoked { at: now(), number, call });
        number
    }

    /// Records what has come of a call.
    pub fn complete<O: Serialize>(&mut self, number: u64, outcome: O) {
        self.write(&Line::<(), O>::Returned { at: now(), number, outcome });
    }

    /// In one write, past all buffers of the process: a kill loses nothing that was recorded.
    fn write<C: Serialize, O: Serialize>(&mut self, line: &Line<C, O>) {
        let mut bytes = serde_json::to_vec(line).expect("a line is JSON");
        bytes.push(b'\n');
        self.file.write_all(&bytes).expect("the history can be written");
    }
}

/// Reads the files of all processes, in the order of the calls.
///
/// # Panics
/// When a file is not what a [`Recorder`] writes.
#[must_use]
pub fn read<C: DeserializeOwned, O: DeserializeOwned>(directory: &Path) -> Vec<Operation<C, O>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).expect("the directory of the histories") {
        let entry = entry.expect("an entry of the directory");
        let process = entry.file_name().to_string_lossy().parse().expect("a process' number");
        let text = fs::read_to_string(entry.path()).expect("a history is text");
        let mut operations = BTreeMap::new();
        for line in text.lines() {
            match serde_json::from_str(line).expect("a line of a history") {
                Line::Invoked { at, number, call } => {
                    operations.insert(number, Operation { process, number, invoked: at, call, returned: None });
                }
                Line::Returned { at, number, outcome } => {
                    operations.get_mut(&number).expect("a call before its outcome").returned = Some((at, outcome));
                }
            }
        }
        all.extend(operations.into_values());
    }
    all.sort_by_key(|operation| operation.invoked);
    all
}

/// The calls of a history, one a line, with milliseconds since the first: for whoever must find out what went wrong.
fn told<C: std::fmt::Debug, O: std::fmt::Debug>(history: &[&Operation<C, O>]) -> String {
    let begun = history.first().map_or(0, |first| first.invoked);
    let millis = |at: u64| (at.saturating_sub(begun)) as f64 / 1e6;
    let line = |o: &&Operation<C, O>| match &o.returned {
        Some((at, outcome)) => format!(
            "  {:>9.3} to {:>9.3}  process {}: {:?} -> {outcome:?}",
            millis(o.invoked),
            millis(*at),
            o.process,
            o.call
        ),
        None => format!("  {:>9.3} to       ?    process {}: {:?}", millis(o.invoked), o.process, o.call),
    };
    history.iter().map(line).collect::<Vec<_>>().join("\n")
}
