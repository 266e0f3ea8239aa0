//! Runs requests in write transactions: as many as wait in one commit, each in a savepoint of its own.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentcoord_core::ids::RequestNo;
use agentcoord_core::machine::{self, Stepped};
use agentcoord_core::op::Call;
use agentcoord_core::time::Clock;
use agentcoord_core::{Error, Result};
use rusqlite::Connection;

use crate::database::{self, Synced};
use crate::error::Fault;
use crate::feed;
use crate::gate::Passage;
use crate::mode::{self, ModeEngine, ModeRow};
use crate::namespace::Namespace;
use crate::rows::SqliteRows;

/// Requests in one commit at most.
const BATCH: usize = 256;
/// A commit takes up no further requests after this long, so that other processes get their turn.
const HOLD: Duration = Duration::from_millis(5);

/// A request on its way, with whatever its sender needs to be answered.
pub(crate) trait Request {
    fn call(&self) -> &Call;
}

/// Each request with its answer.
pub(crate) type Answered<R> = Vec<(R, Result<Vec<u8>>)>;

/// Why a whole commit failed.
enum Failure {
    /// It surely did not happen.
    Text(String),
    /// See [`Fault::at_commit`].
    AtCommit(Fault),
}

impl Failure {
    fn of(&self, request: RequestNo) -> Error {
        match self {
            Self::Text(reason) => Error::unavailable(reason),
            Self::AtCommit(fault) => fault.clone().at_commit(request),
        }
    }
}

/// The one that writes, within a process.
#[derive(Debug)]
pub(crate) struct Committer {
    namespace: Namespace,
    clock: Arc<dyn Clock>,
    conn: Connection,
    /// Rung for those who follow the log of events.
    feed: File,
}

impl Committer {
    pub(crate) fn open(namespace: Namespace, clock: Arc<dyn Clock>, synced: Synced) -> Result<Self> {
        let conn = database::connect(&namespace.files().database, synced)?;
        let path = &namespace.files().feed;
        let feed = feed::open(path).map_err(Fault::io("open", path))?;
        Ok(Self { namespace, clock, conn, feed })
    }

    /// Runs a request, and those that `next` brings meanwhile, in one transaction. When it returns, all is committed
    /// (or not), and whoever waits in other processes has been rung.
    pub(crate) fn commit<R: Request>(&mut self, first: R, mut next: impl FnMut() -> Option<R>) -> Answered<R> {
        let (conn, clock) = (&self.conn, &*self.clock);
        let passage = match begin(&self.namespace, conn) {
            Ok(passage) => passage,
            Err(fault) => {
                // Those who came meanwhile have waited too, and would wait as long again.
                let all = std::iter::once(first).chain(std::iter::from_fn(next));
                return all.map(|r| (r, Err(fault.clone().into()))).collect();
            }
        };
        let begun = Instant::now();
        let mut rows = SqliteRows::new(conn);
        // Nobody can change the row while this transaction is open.
        let mode = mode::read_row(conn).map_err(|e| e.to_string());
        let mut done: Vec<(R, Result<Stepped>)> = Vec::new();
        let mut request = Some(first);
        while let Some(r) = request {
            let stepped = admit(&mode, r.call()).and_then(|()| step(conn, &mut rows, r.call(), clock));
            done.push((r, stepped));
            let full = done.len() >= BATCH || begun.elapsed() >= HOLD || conn.is_autocommit();
            request = if full { None } else { next() };
        }
        let ended = end(conn, &mut rows);
        drop(passage);
        if let Err(failure) = ended {
            let fail = |(r, stepped): (R, Result<Stepped>)| {
                let error = stepped.err().unwrap_or_else(|| failure.of(r.call().request));
                (r, Err(error))
            };
            return done.into_iter().map(fail).collect();
        }
        if done.iter().any(|(_, stepped)| stepped.as_ref().is_ok_and(|s| !s.wakes.is_empty())) {
            // A lost ring costs waiters a second, and the work is committed: no reason to fail.
            drop(self.namespace.bell().write_all_at(b".", 0));
        }
        feed::ring(&self.feed);
        done.into_iter().map(|(r, stepped)| (r, stepped.map(|s| s.answer))).collect()
    }
}

/// A step may run when this engine serves in the epoch of the call.
fn admit(mode: &Result<Option<ModeRow>, String>, call: &Call) -> Result<()> {
    match mode {
        Err(reason) => Err(Error::unavailable(reason)),
        Ok(None) => Err(Fault::NoMode.into()),
        Ok(Some(row)) if row.word().serves(call.epoch, ModeEngine::Files) => Ok(()),
        Ok(Some(row)) => {
            let reason = format!("{} is {} in epoch {}", row.engine.word(), row.phase.word(), row.epoch);
            Err(Error::Fenced { epoch: call.epoch, reason })
        }
    }
}

fn begin<'n>(namespace: &'n Namespace, conn: &Connection) -> Result<Passage<'n>, Fault> {
    let passage = namespace.turnstile().pass()?;
    namespace.still_there()?;
    // A panic in a rule may have left a transaction open.
    give_up(conn);
    run(conn, "BEGIN IMMEDIATE").map_err(Fault::sqlite("begin to write"))?;
    Ok(passage)
}

fn step(conn: &Connection, rows: &mut SqliteRows<'_>, call: &Call, clock: &dyn Clock) -> Result<Stepped> {
    let saved = rows.save();
    run(conn, "SAVEPOINT step").map_err(Fault::sqlite("begin to write"))?;
    let stepped = machine::run(rows, call, &clock.read());
    // SQLite ends the whole transaction after some failures (a full disk, say); then there is nothing to go back to.
    if stepped.is_err() && !conn.is_autocommit() {
        rows.restore(saved);
        if run(conn, "ROLLBACK TO step").is_err() {
            give_up(conn);
        }
    }
    if !conn.is_autocommit()
        && let Err(e) = run(conn, "RELEASE step")
    {
        give_up(conn);
        return Err(Fault::sqlite("write")(e).into());
    }
    stepped
}

fn end(conn: &Connection, rows: &mut SqliteRows<'_>) -> Result<(), Failure> {
    if conn.is_autocommit() {
        return Err(Failure::Text("the commit was given up because another request in it met a failure".into()));
    }
    let ended = rows
        .flush()
        .map_err(|e| Failure::Text(e.to_string()))
        .and_then(|()| run(conn, "COMMIT").map_err(|e| Failure::AtCommit(Fault::sqlite("commit")(e))));
    give_up(conn);
    ended
}

/// Takes back whatever is not committed.
fn give_up(conn: &Connection) {
    if !conn.is_autocommit() {
        // If this fails too, the next BEGIN does, and says so.
        drop(run(conn, "ROLLBACK"));
    }
}

fn run(conn: &Connection, sql: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(sql)?.execute([]).map(|_| ())
}
