//! The envelope in which every mutation travels, and the form in which it is answered.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::check;
use crate::error::{Error, Refusal, Result};
use crate::ids::{Csn, Epoch, Id, RequestNo, Token};
use crate::record::TaskRecord;
use crate::time::LeaseMs;

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// A registered session of an agent, by its id.
    Session(Id),
    /// A person, by name.
    Human(String),
    /// AgentCoord itself.
    System,
}

/// One mutation: who asks, under which number, in which epoch, for what.
///
/// Repeating `(client, request)` returns the first answer; the same number with another body is refused.
/// The engine stamps `epoch` from the host's mode word when it sends.
#[derive(Clone, Debug)]
pub struct Op<R> {
    /// The epoch in which the caller believes the engine to be.
    pub epoch: Epoch,
    /// The calling process.
    pub client: Id,
    /// The number of this request within the client, from 1.
    pub request: RequestNo,
    /// Who acts.
    pub actor: Actor,
    /// A lock under which this is done: refused as stale when the lock has ended.
    pub fence: Option<Token>,
    /// What is asked for.
    pub body: R,
}

/// A mutation that exists in both dialects, under the same name.
///
/// The body is what travels: a Lua script receives it as `op`, the machine as the value itself.
pub trait Verb: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// `noun/verb`, which is also the path of the Lua script.
    const NAME: &'static str;
    /// The outcome.
    type Reply: Serialize + DeserializeOwned + Send + 'static;

    /// Refuses bad input before anything is sent.
    fn validate(&self) -> Result<()>;

    /// Immutable byte values that the step stores beside the records, as `(name, bytes)`.
    ///
    /// They are not part of the serialized body, and events name but do not contain them.
    fn blobs(&self) -> Vec<Blob> {
        Vec::new()
    }

    /// Takes the task that came along with the reply.
    fn take(_reply: &mut Self::Reply, _handed: Handed) {}
}

/// An immutable byte value, stored once under a name derived from a record's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// `noun/id/field`.
    pub name: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Blob {
    /// The blob of one field of one record.
    pub fn new(noun: &str, id: &Id, field: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: Self::name(noun, id, field), bytes: bytes.into() }
    }

    /// The name under which a field's blob is stored.
    #[must_use]
    pub fn name(noun: &str, id: &Id, field: &str) -> String {
        format!("{noun}/{id}/{field}")
    }
}

/// A mutation in the form that engines carry: encoded, digested, without its Rust type.
#[derive(Clone, Debug)]
pub struct Call {
    /// `noun/verb`.
    pub verb: &'static str,
    /// See [`Op::epoch`].
    pub epoch: Epoch,
    /// See [`Op::client`].
    pub client: Id,
    /// See [`Op::request`].
    pub request: RequestNo,
    /// See [`Op::actor`].
    pub actor: Actor,
    /// See [`Op::fence`]. Not part of the digest: who asks again is answered as before, whatever became of the lock.
    pub fence: Option<Token>,
    /// First 16 hex digits of the SHA-256 over verb, body and blobs.
    pub digest: String,
    /// The body, as a MessagePack map.
    pub body: Vec<u8>,
    /// The blobs.
    pub blobs: Vec<Blob>,
    /// Asked again after an answer was lost. An earlier copy may still be on its way, so this answer is final: it is
    /// kept in the replay slot even when nothing has changed, and the earlier copy then gets it too.
    pub again: bool,
}

impl Call {
    /// Validates and encodes an operation.
    pub fn encode<V: Verb>(op: &Op<V>) -> Result<Self> {
        if let Actor::Human(name) = &op.actor {
            check::person("by", name)?;
        }
        op.body.validate()?;
        let body = encode(&op.body)?;
        let blobs = op.body.blobs();
        let mut hash = Sha256::new();
        hash.update(V::NAME);
        hash.update(&body);
        for blob in &blobs {
            hash.update((blob.name.len() as u64).to_be_bytes());
            hash.update(&blob.name);
            hash.update((blob.bytes.len() as u64).to_be_bytes());
            hash.update(&blob.bytes);
        }
        Ok(Self {
            verb: V::NAME,
            epoch: op.epoch,
            client: op.client.clone(),
            request: op.request,
            actor: op.actor.clone(),
            fence: op.fence,
            digest: hex(&hash.finalize()[..8]),
            body,
            blobs,
            again: false,
        })
    }
}

/// What a step answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<R> {
    /// The verb's outcome.
    Done {
        /// The last commit sequence number when the step ended.
        csn: Csn,
        /// The outcome.
        reply: R,
    },
    /// A rule refused; nothing was written.
    Refused(Refusal),
}

/// A task that comes along with the answer to its claim, so that whoever works on it need not read it. The answer is not kept
/// with it: asked again, the same request is answered without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// The lease time of the claim.
    pub now: LeaseMs,
    /// The task as it was claimed.
    pub task: TaskRecord,
}

/// How an answer begins with which a task comes along: as an array of both, while every other answer is a map.
const WITH_TASK: u8 = 0x93;

impl Handed {
    /// An answer with a task, as it is stored.
    pub(crate) fn along(answer: &[u8], now: LeaseMs, task: &[u8]) -> Result<Vec<u8>> {
        Ok([&[WITH_TASK][..], answer, &encode(&now)?, task].concat())
    }
}

impl<R: DeserializeOwned> Answer<R> {
    /// Decodes what a step has returned; `what` names it in the error.
    pub fn read(bytes: &[u8], what: &str) -> Result<(Self, Option<Handed>)> {
        if bytes.first() != Some(&WITH_TASK) {
            return Ok((decode(bytes, what)?, None));
        }
        let (answer, now, task) = decode(bytes, what)?;
        Ok((answer, Some(Handed { now, task })))
    }
}

/// Decodes the answer of a step.
pub fn answer<V: Verb>(bytes: &[u8]) -> Result<V::Reply> {
    match Answer::read(bytes, V::NAME)? {
        (Answer::Done { mut reply, .. }, handed) => {
            if let Some(handed) = handed {
                V::take(&mut reply, handed);
            }
            Ok(reply)
        }
        (Answer::Refused(refusal), _) => Err(refusal.into()),
    }
}

/// Encodes a value as MessagePack with field names, the form of bodies and answers.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    rmp_serde::to_vec_named(value).map_err(|e| Error::backend("a value cannot be encoded", e))
}

/// Encodes a value as MessagePack without field names: fields go by their order. The form of the state and
/// of events, which are encoded with almost every step; that of records is [`Shape`](crate::record::Shape).
pub fn encode_compact<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    rmp_serde::to_vec(value).map_err(|e| Error::backend("a value cannot be encoded", e))
}

/// Decodes either form of MessagePack; `what` names the value in the error.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    rmp_serde::from_slice(bytes).map_err(|e| Error::corrupt(what, e))
}

/// Bytes as lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The SHA-256 of some bytes, as 64 hex digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
