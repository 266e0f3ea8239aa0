//! The host's decision which engine is active, as it is kept: its row (the truth), its word (the published copy), and the
//! lock. What the changes mean stands in [`agentcoord_core::mode`].
//!
//! Changes are made under the lock and in one order: row, then word. Whoever finds the word and the row to differ takes
//! the lock and publishes the row again; no step depends on the process that began it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use agentcoord_core::ids::{Epoch, Id, TOKEN_LIMIT, TOKEN_SEQUENCE_BITS};
pub use agentcoord_core::mode::{ModeEngine, ModeRow, ModeWord, Phase};
use agentcoord_core::{Error, Result, waypoint};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use rustix::fs::fdatasync;

use crate::database::{self, Synced};
use crate::error::Fault;
use crate::gate::{Gate, PATIENCE};
use crate::layout::{self, Files};
use crate::namespace::Namespace;

/// The row, in the caller's transaction or snapshot.
pub(crate) fn read_row(conn: &Connection) -> Result<Option<ModeRow>> {
    let found = conn
        .prepare_cached(layout::MODE_GET)
        .and_then(|mut s| s.query_row([], row_of).optional())
        .map_err(Fault::sqlite("read the mode"))?;
    match found {
        Some(Some(row)) => Ok(Some(row)),
        None => Ok(None),
        Some(None) => Err(Error::Corrupt { key: "mode".into(), source: None }),
    }
}

fn row_of(row: &Row<'_>) -> rusqlite::Result<Option<ModeRow>> {
    let number = |i: usize| row.get::<_, i64>(i).map(|n| u64::try_from(n).ok());
    let (Some(epoch), Some(attempt), Some(generation)) = (number(0)?, number(3)?, number(8)?) else {
        return Ok(None);
    };
    let engine = ModeEngine::of_word(&row.get::<_, String>(1)?);
    let (Some(engine), Some(phase)) = (engine, Phase::of_word(&row.get::<_, String>(2)?)) else {
        return Ok(None);
    };
    let owner = match row.get::<_, Option<String>>(11)?.map(|text| text.parse::<Id>()) {
        Some(Err(_)) => return Ok(None),
        Some(Ok(id)) => Some(id),
        None => None,
    };
    Ok(Some(ModeRow {
        epoch: Epoch(epoch),
        engine,
        phase,
        attempt,
        complainant: row.get(4)?,
        reason: row.get(5)?,
        run_id: row.get(6)?,
        instance: row.get(7)?,
        generation,
        replica_complete: row.get(9)?,
        right_to_take_over: row.get(10)?,
        owner,
    }))
}

/// Writes the row, in the caller's transaction.
pub(crate) fn store_row(row: &ModeRow, conn: &Connection) -> rusqlite::Result<()> {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    conn.execute(
        layout::MODE_PUT,
        params![
            number(row.epoch.0),
            row.engine.word(),
            row.phase.word(),
            number(row.attempt),
            row.complainant,
            row.reason,
            row.run_id,
            row.instance,
            number(row.generation),
            row.replica_complete,
            row.right_to_take_over,
            row.owner.as_ref().map(Id::as_str),
        ],
    )
    .map(|_| ())
}

/// The form of the word; another form is not understood and leads to the slow path.
const FORM: u8 = 1;

fn encode(word: ModeWord) -> Option<[u8; 8]> {
    let [a, b, c, d] = u32::try_from(word.epoch.0).ok()?.to_le_bytes();
    let mut bytes = [a, b, c, d, word.engine.number(), word.phase.number(), FORM, 0];
    bytes[7] = check(&bytes[..7]);
    Some(bytes)
}

fn decode(bytes: [u8; 8]) -> Option<ModeWord> {
    let [a, b, c, d, engine, phase, form, sum] = bytes;
    if form != FORM || sum != check(&bytes[..7]) {
        return None;
    }
    let epoch = Epoch(u32::from_le_bytes([a, b, c, d]).into());
    Some(ModeWord { epoch, engine: ModeEngine::of_number(engine)?, phase: Phase::of_number(phase)? })
}

/// None: not written yet, torn, or of another form. The row decides then.
pub(crate) fn read_word(file: &File) -> Option<ModeWord> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, 0).ok()?;
    decode(bytes)
}

/// CRC-8 (polynomial 0x07), begun at 1 so that a file of zeros is not a word.
fn check(bytes: &[u8]) -> u8 {
    bytes.iter().fold(1, |crc, byte| (0..8).fold(crc ^ byte, |c: u8, _| (c << 1) ^ if c & 0x80 == 0 { 0 } else { 7 }))
}

/// The gate before the mode.
pub(crate) fn gate(files: &Files) -> Gate {
    Gate::new("the mode lock", vec![files.mode_lock.clone()], PATIENCE)
}

/// The right to change the mode, until it is dropped.
#[derive(Debug)]
pub struct ModeLock {
    namespace: Namespace,
    // Closing the file lets go of the lock.
    _door: Option<File>,
}

impl ModeLock {
    pub(crate) fn take(namespace: &Namespace) -> Result<Self> {
        let lock = Self { namespace: namespace.clone(), _door: namespace.mode_gate().pass()?.keep() };
        lock.namespace.still_there()?;
        Ok(lock)
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The row as it stands.
    pub fn row(&self) -> Result<Option<ModeRow>> {
        self.namespace.row()
    }

    /// Writes the row, durably, then the word. The row is in force when the word is not written for any reason.
    ///
    /// # Errors
    /// `Refused` when the epoch would go back or does not fit a fencing token.
    pub fn write(&self, row: &ModeRow) -> Result<()> {
        if row.epoch.0 >= TOKEN_LIMIT >> TOKEN_SEQUENCE_BITS {
            return Err(refused(format!("epoch {} does not fit a fencing token", row.epoch)));
        }
        let mut conn = database::connect(&self.namespace.files().database, Synced::EachCommit)?;
        let passage = self.namespace.turnstile().pass()?;
        let stored = (|| {
            let txn = conn
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(Fault::sqlite("begin a change of the mode"))?;
            if let Some(old) = read_row(&txn)?
                && old.epoch > row.epoch
            {
                return Err(refused(format!("epoch {} is over, {} is in force", row.epoch, old.epoch)));
            }
            store_row(row, &txn).map_err(Fault::sqlite("write the mode"))?;
            Ok(txn.commit().map_err(Fault::sqlite("write the mode"))?)
        })();
        drop(passage);
        stored?;
        waypoint::reached("mode/row");
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        self.put_word(row)
    }

    /// Writes the word again as the row says: completes a change whose process ended between the two.
    pub fn publish(&self) -> Result<Option<ModeRow>> {
        let row = self.row()?;
        if let Some(row) = &row
            && self.namespace.word() != Some(row.word())
        {
            self.put_word(row)?;
        }
        Ok(row)
    }

    fn put_word(&self, row: &ModeRow) -> Result<()> {
        let path = &self.namespace.files().mode;
        let bytes = encode(row.word()).ok_or_else(|| refused(format!("epoch {} is too large", row.epoch)))?;
        let file = self.namespace.word_file();
        file.write_all_at(&bytes, 0).map_err(Fault::io("write", path))?;
        // After a power cut an old word beside a new row would send writes to the wrong engine.
        fdatasync(file).map_err(Fault::errno("write", path))?;
        Ok(())
    }
}

fn refused(reason: String) -> Error {
    Error::Refused { policy: "epoch_order", reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_survives_its_encoding_and_damage_is_noticed() {
        let word = ModeWord { epoch: Epoch(16_704), engine: ModeEngine::Files, phase: Phase::Serving };
        let bytes = encode(word).expect("fits");
        assert_eq!(decode(bytes), Some(word));
        for i in 0..8 {
            for bit in 0..8 {
                let mut torn = bytes;
                torn[i] ^= 1 << bit;
                assert_eq!(decode(torn), None, "byte {i} bit {bit}");
            }
        }
        assert_eq!(decode([0; 8]), None);
    }
}
