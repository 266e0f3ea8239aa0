//! What can go wrong between here and the server, and what it says about the operation; mapped once to the public error.

use agentcoord_core::Error;
use agentcoord_core::error::BoxError;
use agentcoord_core::ids::{Epoch, RequestNo};
use redis::{ErrorKind, RedisError};

use crate::config::RedisUrl;

/// A failure of one exchange with the server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// There is no admitted connection: nothing was sent.
    #[error("{0}")]
    Unconnected(String, #[source] Option<BoxError>),
    /// The server said that it did not run the command.
    #[error("the server refused: {code} {detail}")]
    Refused { code: String, detail: String },
    /// The command was sent and no answer came.
    #[error("no answer: {0}")]
    Lost(String, #[source] Option<BoxError>),
    /// The namespace is in another epoch, or closed.
    #[error("{0}")]
    Fenced(String),
    /// Something else is stored where a record of ours should be.
    #[error("{key}: {detail}")]
    Corrupt { key: String, detail: String },
    /// The server failed in another way.
    #[error("{0}")]
    Server(String),
}

/// Replies that say: it was not run.
const REFUSALS: [&str; 15] = [
    "OOM",
    "READONLY",
    "MISCONF",
    "NOREPLICAS",
    "LOADING",
    "BUSY",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "TRYAGAIN",
    "NOPERM",
    "NOAUTH",
    "MOVED",
    "ASK",
    "CROSSSLOT",
    "DENIED",
];

impl Fault {
    /// From a failed attempt to connect: whatever it was, nothing of ours was sent.
    pub(crate) fn connecting(url: &RedisUrl, error: RedisError) -> Self {
        let advice = match error.kind() {
            ErrorKind::AuthenticationFailed => "the login was refused: check user and password in the URL",
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType | ErrorKind::RESP3NotSupported => {
                "what answers there is not Redis 7.0, Valkey, or newer: check host and port"
            }
            _ if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => {
                "the login was refused: check user and password in the URL"
            }
            _ if error.is_connection_refusal() => "nothing listens there: start Redis, or check host and port",
            _ => "check that the server runs and can be reached",
        };
        Self::Unconnected(format!("no connection to {url}: {advice}"), Some(error.into()))
    }

    /// From a failed call over an open connection.
    pub(crate) fn calling(error: RedisError) -> Self {
        let first = error.clone().into_server_errors().and_then(|errors| errors.first().cloned());
        let (code, detail) = match (&first, error.code()) {
            (Some((_, server)), _) => (server.code().to_owned(), server.details().unwrap_or_default().to_owned()),
            (None, Some(code)) => (code.to_owned(), error.detail().unwrap_or_default().to_owned()),
            (None, None) => return Self::Lost("the connection broke".to_owned(), Some(error.into())),
        };
        if REFUSALS.contains(&code.as_str()) {
            return Self::Refused { code, detail };
        }
        match code.as_str() {
            "WRONGTYPE" | "CORRUPT" => Self::Corrupt { key: key_in(&detail), detail },
            _ => Self::Server(format!("{code} {detail}")),
        }
    }

    /// Whether nothing answers there, in contrast to something that answers wrongly.
    pub(crate) fn is_absence(&self) -> bool {
        match self {
            Self::Unconnected(_, Some(source)) | Self::Lost(_, Some(source)) => {
                match source.downcast_ref::<RedisError>() {
                    Some(error) => error.is_io_error() || error.is_timeout() || error.is_connection_dropped(),
                    None => true,
                }
            }
            Self::Lost(_, None) => true,
            _ => false,
        }
    }

    /// Whether nothing listens there: the kernel of the other side says so.
    pub(crate) fn is_nobody(&self) -> bool {
        let Self::Unconnected(_, Some(source)) = self else { return false };
        source.downcast_ref::<RedisError>().is_some_and(RedisError::is_connection_refusal)
    }

    /// Whether the server works and refuses for a reason that may pass.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Refused { code, .. } => {
                !matches!(code.as_str(), "NOPERM" | "NOAUTH" | "MOVED" | "ASK" | "CROSSSLOT" | "DENIED")
            }
            Self::Unconnected(_, Some(source)) => source.downcast_ref::<RedisError>().is_some_and(|error| {
                // The one refusal of a connection that has no code of its own.
                let is_crowded = error.detail().is_some_and(|detail| detail.starts_with("max number of clients"));
                is_crowded || matches!(error.code(), Some("LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN"))
            }),
            _ => false,
        }
    }

    /// Whether the connection should be given up.
    pub(crate) fn breaks_connection(&self) -> bool {
        match self {
            Self::Lost(..) | Self::Unconnected(..) => true,
            Self::Refused { code, .. } => matches!(code.as_str(), "READONLY" | "NOAUTH" | "MASTERDOWN" | "LOADING"),
            Self::Fenced(_) | Self::Corrupt { .. } | Self::Server(_) => false,
        }
    }

    /// What it means for a read.
    pub(crate) fn of_read(self, epoch: Epoch) -> Error {
        match self {
            Self::Lost(reason, source) => {
                Error::Unavailable { reason: format!("Redis did not answer: {reason}"), source }
            }
            other => other.known(epoch),
        }
    }

    /// What it means for a mutation.
    pub(crate) fn of_step(self, epoch: Epoch, request: RequestNo) -> Error {
        match self {
            Self::Lost(reason, source) => {
                Error::OutcomeUnknown { request, source: Some(source.unwrap_or_else(|| reason.into())) }
            }
            other => other.known(epoch),
        }
    }

    fn known(self, epoch: Epoch) -> Error {
        match self {
            Self::Unconnected(reason, source) | Self::Lost(reason, source) => Error::Unavailable { reason, source },
            Self::Refused { code, detail } => {
                Error::unavailable(format!("Redis refused ({code} {detail}): {}", advice(&code)))
            }
            Self::Fenced(reason) => Error::Fenced { epoch, reason },
            Self::Corrupt { key, detail } => Error::corrupt(key, detail),
            Self::Server(reason) => Error::backend("Redis failed in a script or command", reason),
        }
    }
}

/// The key that a script has put into its message, in brackets.
fn key_in(detail: &str) -> String {
    let inside = detail.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    inside.map_or("unknown key", |(key, _)| key).to_owned()
}

/// What the user can do.
fn advice(code: &str) -> &'static str {
    match code {
        "OOM" => "raise maxmemory or delete other data",
        "READONLY" => "this server is a replica: use the address of the primary",
        "MISCONF" => "it cannot save to disk: free disk space there",
        "NOREPLICAS" => "too few replicas are connected",
        "LOADING" => "it still loads its data: wait a moment",
        "BUSY" => "a slow script blocks it: look at SCRIPT KILL",
        "NOPERM" => "this user needs the permissions that the README lists",
        "NOAUTH" => "put user and password into the URL",
        "MOVED" | "ASK" | "CROSSSLOT" => "this is a node of a cluster: use the node that has the namespace's slot",
        _ => "it may be asked again later",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_has_too_many_clients_may_have_fewer_soon() {
        let refused = |answer: &[u8]| {
            let value = redis::parse_redis_value(answer).expect("an answer");
            let error = value.extract_error().expect_err("a refusal");
            Fault::connecting(&RedisUrl::parse("redis://localhost").expect("a URL"), error)
        };
        assert!(refused(b"-ERR max number of clients reached\r\n").may_pass());
        assert!(!refused(b"-ERR unknown command\r\n").may_pass());
    }
}
