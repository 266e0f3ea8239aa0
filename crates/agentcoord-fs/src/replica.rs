//! The files as a replica of Redis: its events applied in order, a state carried in whole, and the take-over.
//!
//! Every transaction here looks at the mode row first: a batch that was read before a switch is not applied after it.

use std::collections::HashMap;

use agentcoord_core::ids::{Csn, Epoch, Id, RequestNo};
use agentcoord_core::machine::{self, rows::Rows};
use agentcoord_core::mode::{ModeEngine, ModeRow};
use agentcoord_core::op::{Actor, Call, Op, encode_compact};
use agentcoord_core::record::{PulseRecord, Shape};
use agentcoord_core::replica::{self, Gap, Logged};
use agentcoord_core::snapshot::Snapshot;
use agentcoord_core::table::{Range, Table};
use agentcoord_core::time::Reading;
use agentcoord_core::{Error, Result, audit::AppendAudit, waypoint};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::carry::replace_all;
use crate::database::{self, Synced};
use crate::engine::Durability;
use crate::error::Fault;
use crate::extent::{Extent, Mark};
use crate::journal::Found;
use crate::layout;
use crate::mode::{ModeLock, read_row, store_row};
use crate::namespace::Namespace;
use crate::reads;
use crate::rows::{SqliteRows, read_entries, read_one, read_state};

/// Who applies the events of Redis to the files.
#[derive(Debug)]
pub struct Replica {
    namespace: Namespace,
    conn: Connection,
    extent: Extent,
}

impl Replica {
    /// Opens the files for this; nothing is applied yet.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn open(namespace: &Namespace, durability: Durability) -> Result<Self> {
        let files = namespace.files();
        let synced = match durability {
            Durability::Process => Synced::AtCheckpoints,
            Durability::Power => Synced::EachCommit,
        };
        let conn = database::connect(&files.database, synced)?;
        let extent = Extent::open(&files.extent).map_err(Fault::io("open", &files.extent))?;
        Ok(Self { namespace: namespace.clone(), conn, extent })
    }

    /// Begins anew with a state of an epoch, read while others wrote: the events after it make it whole.
    ///
    /// # Errors
    /// `Fenced` when that epoch is over; `Corrupt` or `Unavailable`. Nothing was written then.
    pub fn begin_anew(&mut self, epoch: Epoch, snapshot: Snapshot) -> Result<()> {
        let passage = self.namespace.turnstile().pass()?;
        self.namespace.still_there()?;
        let fault = || Fault::sqlite("carry the state in");
        let txn = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault())?;
        of_redis(&txn, epoch)?;
        replace_all(&txn, snapshot)?;
        txn.commit().map_err(fault())?;
        drop(passage);
        Ok(())
    }

    /// Applies events of an epoch that follow on what the replica has; those that it has are passed over. `blobs` are the
    /// texts that they have stored. What is missing before them is in the journals. How far the replica goes then.
    ///
    /// # Errors
    /// `Fenced` when that epoch is over; `Corrupt`, with the [`Gap`], when something is missing, and then nothing was applied.
    pub fn apply(&mut self, epoch: Epoch, mut events: Vec<Logged>, mut blobs: HashMap<String, Vec<u8>>) -> Result<Csn> {
        let last = self.namespace.csn()?;
        if events.first().is_some_and(|first| first.csn.0 > last.0 + 1) {
            let mut found = self.namespace.read_journals(epoch)?;
            found.events.extend(events.drain(..).map(|logged| (logged.csn, logged)));
            let missing = |gap: Gap| Error::corrupt("journals", gap);
            events = replica::continuation(last, found.events).map_err(missing)?;
            blobs.extend(found.blobs);
        }
        let passage = self.namespace.turnstile().pass()?;
        self.namespace.still_there()?;
        let fault = || Fault::sqlite("apply events");
        let txn = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault())?;
        of_redis(&txn, epoch)?;
        let last = apply_all(&txn, &events, &blobs)?;
        txn.commit().map_err(fault())?;
        drop(passage);
        waypoint::reached("replica/applied");
        self.extent.set(Mark::Replica, epoch, last);
        Ok(last)
    }
}

/// Refuses what was read from Redis in another epoch.
fn of_redis(txn: &Transaction<'_>, epoch: Epoch) -> Result<()> {
    match read_row(txn)? {
        Some(row) if row.word().serves(epoch, ModeEngine::Redis) => Ok(()),
        _ => Err(Error::Fenced { epoch, reason: "another epoch is in force by now".to_owned() }),
    }
}

fn apply_all(txn: &Transaction<'_>, events: &[Logged], blobs: &HashMap<String, Vec<u8>>) -> Result<Csn> {
    let mut rows = SqliteRows::new(txn);
    let mut last = rows.state()?.csn;
    for logged in events {
        if logged.csn <= last {
            continue;
        }
        replica::apply(&mut rows, logged, |name| match blobs.get(name) {
            Some(bytes) => Ok(Some(bytes.clone())),
            None => read_one(txn, layout::BLOB_GET, params![name]),
        })?;
        last = logged.csn;
    }
    rows.flush()?;
    Ok(last)
}

/// What a take-over has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The row in force.
    pub row: ModeRow,
    /// Events that the journals had beyond the replica.
    pub carried: usize,
}

impl ModeLock {
    /// Completes a take-over: applies what the journals have beyond the replica, and lets the files serve, in one
    /// transaction; then publishes it. Sessions begin their time to live anew, because signs of life are in no journal.
    /// Nothing happens when the take-over is over already.
    ///
    /// # Errors
    /// `Unavailable`, with the [`Gap`], when the journals have one, and then nobody is served: what comes after it was
    /// acknowledged.
    pub fn install(&self, found: Found, reading: &Reading, audit: &str) -> Result<Installed> {
        let namespace = self.namespace();
        let mut conn = database::connect(&namespace.files().database, Synced::EachCommit)?;
        let passage = namespace.turnstile().pass()?;
        let fault = || Fault::sqlite("take over");
        let txn = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault())?;
        let preparing = read_row(&txn)?.ok_or(Fault::NoMode)?;
        let Some(serving) = preparing.installed() else {
            return Ok(Installed { row: preparing, carried: 0 });
        };
        let last = read_state(&txn)?.csn;
        let events = replica::continuation(last, found.events).map_err(|gap| lost(last, gap))?;
        apply_all(&txn, &events, &found.blobs)?;
        let mut rows = SqliteRows::new(&txn);
        revive(&txn, &mut rows, reading)?;
        let op = Op {
            epoch: serving.epoch,
            client: Id::random(),
            request: RequestNo(1),
            actor: Actor::System,
            fence: None,
            body: AppendAudit { entry: audit.replace("{carried}", &events.len().to_string()) },
        };
        machine::run(&mut rows, &Call::encode(&op)?, reading)?;
        rows.flush()?;
        store_row(&serving, &txn).map_err(fault())?;
        txn.commit().map_err(fault())?;
        drop(passage);
        waypoint::reached("take-over/installed");
        self.publish()?;
        Ok(Installed { row: serving, carried: events.len() })
    }
}

fn lost(last: Csn, gap: Gap) -> Error {
    let reason = format!(
        "the files hold everything up to change {last}, and the journals lack changes {} to {} before later ones; \
         bring Redis back and run `agentcoord store use files`",
        gap.from, gap.to
    );
    Error::Unavailable { reason, source: Some(gap.into()) }
}

/// Gives every live session a sign of life of this moment.
fn revive(txn: &Transaction<'_>, rows: &mut SqliteRows<'_>, reading: &Reading) -> Result<()> {
    let mut state = rows.state()?;
    state.clock = state.clock.at(reading);
    let beat = PulseRecord { beat: state.clock.now, progress: state.clock.now }.stored()?;
    rows.set_state(&state)?;
    for entry in read_entries(txn, &Range::under(&["live"]), usize::MAX)? {
        rows.put(Table::Pulse, entry.key(), &beat)?;
    }
    Ok(())
}

/// Pages of what the files hold, for whoever carries it elsewhere while the files serve: later pages may be younger than
/// earlier ones, and the events since the first one tell what has changed meanwhile.
#[derive(Debug)]
pub struct Pages {
    conn: Connection,
}

impl Namespace {
    /// Begins to read.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn pages(&self) -> Result<Pages> {
        Ok(Pages { conn: database::connect_reader(&self.files().database)? })
    }

    /// How far the files go: of the state when they serve, of the replica when Redis does.
    ///
    /// # Errors
    /// `Unavailable`, or `Corrupt`.
    pub fn csn(&self) -> Result<Csn> {
        Ok(read_state(&self.reader())?.csn)
    }
}

impl Pages {
    /// The shared state, encoded.
    ///
    /// # Errors
    /// `Unavailable`, or `Corrupt`.
    pub fn state(&self) -> Result<(Csn, Vec<u8>)> {
        let state = read_state(&self.conn)?;
        Ok((state.csn, encode_compact(&state)?))
    }

    /// Records of a table after a key, at most `limit`.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn records(&self, table: Table, after: &str, limit: usize) -> Result<Vec<(String, Vec<u8>)>> {
        self.pairs(&layout::table(table).page, after, limit)
    }

    /// Texts after a name, at most `limit`.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn blobs(&self, after: &str, limit: usize) -> Result<Vec<(String, Vec<u8>)>> {
        self.pairs(layout::BLOB_PAGE, after, limit)
    }

    /// A record as it is now.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn record(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>> {
        read_one(&self.conn, &layout::table(table).get, params![key])
    }

    /// A text as it is now.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn blob(&self, name: &str) -> Result<Option<Vec<u8>>> {
        read_one(&self.conn, layout::BLOB_GET, params![name])
    }

    /// Events after a number, at most `limit`.
    ///
    /// # Errors
    /// `Unavailable`, or `Corrupt`.
    pub fn events(&self, after: Csn, limit: usize) -> Result<Vec<agentcoord_core::record::Event>> {
        reads::events(&self.conn, after, limit)
    }

    fn pairs(&self, sql: &str, after: &str, limit: usize) -> Result<Vec<(String, Vec<u8>)>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let page = || {
            let mut statement = self.conn.prepare_cached(sql)?;
            let rows = statement.query_map(params![after, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        Ok(page().map_err(Fault::sqlite("read a page"))?)
    }
}
