//! The end of the log as it comes along with answers, for hosts that keep what they are told.

use agentcoord_core::ids::Csn;
use agentcoord_core::replica::Logged;
use redis::{Pipeline, Value, from_redis_value};

use crate::error::Fault;
use crate::keys::{EVENT, EVENT_STATE, Keys};

/// Events that come along with a read at most: whoever gets as many reads on.
pub(crate) const PAGE: usize = 256;

/// Adds the question for the log after a number.
pub(crate) fn ask(pipe: &mut Pipeline, keys: &Keys, after: Csn, limit: usize) {
    pipe.cmd("XRANGE").arg(keys.events()).arg(format!("{}-0", after.0 + 1)).arg("+").arg("COUNT").arg(limit);
}

/// The entries of a stream.
pub(crate) fn entries(value: Value) -> Result<Vec<Logged>, Fault> {
    type Entry = (String, Vec<(String, Vec<u8>)>);
    let entries: Vec<Entry> = from_redis_value(value).map_err(|e| Fault::calling(e.into()))?;
    entries.into_iter().map(logged).collect()
}

fn logged((id, fields): (String, Vec<(String, Vec<u8>)>)) -> Result<Logged, Fault> {
    let bad = |what: &str| Fault::Corrupt { key: format!("event {id}"), detail: what.to_owned() };
    let csn = id.split('-').next().and_then(|n| n.parse().ok()).ok_or_else(|| bad("its number is unreadable"))?;
    let (mut event, mut state) = (None, Vec::new());
    for (name, bytes) in fields {
        match name.as_str() {
            EVENT => event = Some(bytes),
            EVENT_STATE => state = bytes,
            _ => {}
        }
    }
    Ok(Logged { csn: Csn(csn), event: event.ok_or_else(|| bad("it has no body"))?, state })
}

/// What was told with an answer: the number before, and the events.
type Tail = (Csn, Vec<Logged>);

/// The answer of a script, and what it has told with it.
pub(crate) fn answer(value: Value) -> Result<(Vec<u8>, Option<Tail>), Fault> {
    let read = |value| from_redis_value::<Vec<u8>>(value).map_err(|e| Fault::calling(e.into()));
    let Value::Array(values) = value else { return Ok((read(value)?, None)) };
    let mut values = values.into_iter();
    let answer = read(values.next().unwrap_or(Value::Nil))?;
    let after: u64 = from_redis_value(values.next().unwrap_or(Value::Nil)).map_err(|e| Fault::calling(e.into()))?;
    let (mut events, mut csn) = (Vec::new(), after);
    while let (Some(event), Some(state)) = (values.next(), values.next()) {
        csn += 1;
        events.push(Logged { csn: Csn(csn), event: read(event)?, state: read(state)? });
    }
    Ok((answer, Some((Csn(after), events))))
}
