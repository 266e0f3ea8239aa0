//! The form of a journal's records: a length, a sum, and a MessagePack array.

use agentcoord_core::Result;
use agentcoord_core::ids::{Csn, Epoch, Id, RequestNo};
use agentcoord_core::op::{Blob, encode_compact};
use agentcoord_core::replica::Logged;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Bytes before a record: its length and its sum.
const HEAD: usize = 8;
/// A longer length is damage.
const LONGEST: usize = 1 << 30;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Record {
    /// A request is about to be sent.
    Intent { epoch: Epoch, client: Id, request: RequestNo, blobs: Vec<Pair> },
    /// Something was told.
    Told { epoch: Epoch, answered: Option<Answered>, events: Vec<Kept> },
}

/// A request that needs no other answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answered {
    pub(super) client: Id,
    pub(super) request: RequestNo,
    /// How far the log went then. What the request has made is not behind it, whoever was told of that first.
    pub(super) last: Csn,
}

/// A text and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) bytes: ByteBuf,
}

impl Pair {
    pub(super) fn of_blobs(blobs: &[Blob]) -> Vec<Self> {
        blobs.iter().map(|b| Self { name: b.name.clone(), bytes: ByteBuf::from(b.bytes.clone()) }).collect()
    }
}

/// An event of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) csn: u64,
    event: ByteBuf,
    state: ByteBuf,
}

impl From<Logged> for Kept {
    fn from(Logged { csn, event, state }: Logged) -> Self {
        Self { csn: csn.0, event: event.into(), state: state.into() }
    }
}

impl From<Kept> for Logged {
    fn from(Kept { csn, event, state }: Kept) -> Self {
        Self { csn: Csn(csn), event: event.into_vec(), state: state.into_vec() }
    }
}

impl Record {
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let body = encode_compact(self)?;
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEAD + body.len());
        bytes.extend(length.to_le_bytes());
        bytes.extend(crc32fast::hash(&body).to_le_bytes());
        bytes.extend(body);
        Ok(bytes)
    }
}

/// The records at the beginning of some bytes, and how many bytes they are. What follows was not finished, or is damaged.
pub(super) fn decode_all(bytes: &[u8]) -> (Vec<Record>, u64) {
    let (mut records, mut at) = (Vec::new(), 0);
    while let Some(head) = bytes.get(at..at + HEAD) {
        let number = |from: usize| head[from..from + 4].try_into().map(u32::from_le_bytes).unwrap_or(0);
        let (length, sum) = (number(0) as usize, number(4));
        let Some(body) = bytes.get(at + HEAD..at + HEAD + length.min(LONGEST)) else { break };
        if crc32fast::hash(body) != sum {
            break;
        }
        let Ok(record) = agentcoord_core::op::decode(body, "journal") else { break };
        records.push(record);
        at += HEAD + length;
    }
    (records, at as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_and_damaged_records_end_the_journal() {
        let record = |n| Record::Told { epoch: Epoch(n), answered: None, events: Vec::new() };
        let (one, two) = (record(1).encode().expect("encodes"), record(2).encode().expect("encodes"));
        let both = [one.clone(), two.clone()].concat();
        assert_eq!(decode_all(&both), (vec![record(1), record(2)], both.len() as u64));
        assert_eq!(decode_all(&both[..both.len() - 1]), (vec![record(1)], one.len() as u64));
        let mut damaged = both.clone();
        *damaged.last_mut().expect("bytes") ^= 1;
        assert_eq!(decode_all(&damaged).0, [record(1)]);
        assert_eq!(decode_all(&[0; 64]).0, []);
    }
}
