//! A namespace out of Redis for good: closed first, so that nobody can write or take a part for the whole, then swept, its
//! meta record last. Whatever cuts this off, doing it again finishes it.

use agentcoord_core::ids::Epoch;
use agentcoord_core::op::decode;
use agentcoord_core::record::State;
use agentcoord_core::{Result, script};

use crate::config::{Deadlines, RedisUrl};
use crate::connection::{call, open};
use crate::error::Fault;
use crate::keys::{self, Keys, STATE};
use crate::namespace::Meta;

/// Keys looked at by one SCAN, and deleted by one UNLINK.
const PAGE: usize = 500;

/// What became of an attempt to close a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// It is closed for good, now or since an attempt that was cut off, and so many keys went.
    Closed(u64),
    /// It is not: so many sessions live in it, as far as it knows.
    Lived(i64),
    /// It is not: somebody has written, or founded it anew, between the look and the closing.
    Changed,
}

/// Closes a namespace for good, as it was `seen`. One that serves is closed only when no session lives in it, whatever
/// others do meanwhile; a `copy`, which does not serve any more, at once.
///
/// # Errors
/// `Unavailable` when it did not happen, or when no answer came: asking again is harmless.
pub async fn retire(url: &RedisUrl, namespace: &str, seen: &Meta, copy: bool, deadlines: Deadlines) -> Result<Closing> {
    let keys = Keys::new(namespace, &seen.generation)?;
    let attempt = async {
        let connection = open(url, None, deadlines).await?;
        let mut look = redis::cmd("HGET");
        look.arg(keys.hot()).arg(STATE);
        let bytes: Option<Vec<u8>> = call(&connection, &look, deadlines.call).await?;
        let bytes = bytes.unwrap_or_default();
        let sessions = if bytes.is_empty() || copy { 0 } else { sessions(&keys, &bytes)? };
        if sessions > 0 {
            return Ok(Closing::Lived(sessions));
        }
        let mut command = redis::cmd("EVAL");
        command.arg(script::RETIRE).arg(4).arg(keys.meta()).arg(keys.hot()).arg(keys.index()).arg(keys.events());
        command.arg(&seen.instance).arg(u8::from(copy)).arg(bytes);
        let gone: i64 = call(&connection, &command, deadlines.call).await?;
        Ok(u64::try_from(gone).map_or(Closing::Changed, Closing::Closed))
    };
    attempt.await.map_err(|fault: Fault| fault.of_read(Epoch(0)))
}

fn sessions(keys: &Keys, bytes: &[u8]) -> Result<i64, Fault> {
    let state: Result<State> = decode(bytes, "the shared state");
    let corrupt = |error: agentcoord_core::Error| Fault::Corrupt { key: keys.hot(), detail: error.to_string() };
    Ok(state.map_err(corrupt)?.counts.sessions)
}

/// Deletes every key of a namespace that was closed, of whatever generation, and returns how many there were.
///
/// # Errors
/// `Unavailable`: some of it may be left, and stays closed.
pub async fn purge(url: &RedisUrl, namespace: &str, instance: &str, deadlines: Deadlines) -> Result<u64> {
    let meta = keys::meta(namespace)?;
    let pattern = keys::all(namespace)?;
    let sweep = async {
        let connection = open(url, None, deadlines).await?;
        let (mut gone, mut cursor) = (0, 0_u64);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(PAGE);
            let (next, mut names): (u64, Vec<String>) = call(&connection, &scan, deadlines.call).await?;
            names.retain(|name| *name != meta);
            if !names.is_empty() {
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(names);
                gone += call::<u64>(&connection, &unlink, deadlines.call).await?;
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        let mut last = redis::cmd("EVAL");
        last.arg(script::REMOVE).arg(1).arg(&meta).arg(instance);
        gone += call::<u64>(&connection, &last, deadlines.call).await?;
        Ok(gone)
    };
    sweep.await.map_err(|fault: Fault| fault.of_read(Epoch(0)))
}
