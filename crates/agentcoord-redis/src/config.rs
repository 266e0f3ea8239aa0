//! Where the server is, and how long to wait for it.
//!
//! The two client crates read different URL dialects; [`RedisUrl`] reads one and builds both configurations. A password
//! never shows in `Debug` or `Display`.

use std::fmt;
use std::time::Duration;

use agentcoord_core::{Error, Result};
use fred::prelude::{Config as FredConfig, ServerConfig};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

/// The address of a Redis or Valkey server: `redis://`, `rediss://` or `unix://`.
#[derive(Clone)]
pub struct RedisUrl {
    info: ConnectionInfo,
}

/// The forms that are accepted, for messages.
const FORMS: &str = "redis://[user:password@]host[:port][/db], rediss://... or unix:///path/to/socket";

impl RedisUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// `Invalid` when it is not one of the accepted forms; the message does not repeat a password.
    pub fn parse(url: &str) -> Result<Self> {
        let info = url.trim().into_connection_info().map_err(|_| Error::invalid("redis url", redacted(url), FORMS))?;
        // RESP3 tells a client that its connection has gone before it sends into it.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(Self { info: info.set_redis_settings(settings) })
    }

    /// What the crate `redis` connects with.
    pub(crate) fn for_commands(&self) -> ConnectionInfo {
        self.info.clone()
    }

    /// What the crate `fred` connects with.
    pub(crate) fn for_subscriptions(&self) -> Result<FredConfig> {
        let settings = self.info.redis_settings();
        let mut config = FredConfig {
            username: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
            database: u8::try_from(settings.db()).ok(),
            ..FredConfig::default()
        };
        config.server = match self.info.addr() {
            ConnectionAddr::Tcp(host, port) => ServerConfig::new_centralized(host, *port),
            ConnectionAddr::TcpTls { host, port, .. } => {
                let connector = fred::types::config::TlsConnector::default_rustls()
                    .map_err(|e| Error::backend("TLS for wake-ups cannot be set up", e))?;
                config.tls = Some(connector.into());
                ServerConfig::new_centralized(host, *port)
            }
            ConnectionAddr::Unix(path) => ServerConfig::Unix { path: path.clone() },
            other => return Err(Error::invalid("redis url", other.to_string(), FORMS)),
        };
        Ok(config)
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let db = self.info.redis_settings().db();
        match self.info.addr() {
            ConnectionAddr::Tcp(host, port) => write!(f, "redis://{host}:{port}")?,
            ConnectionAddr::TcpTls { host, port, .. } => write!(f, "rediss://{host}:{port}")?,
            ConnectionAddr::Unix(path) => return write!(f, "unix://{}", path.display()),
            other => return write!(f, "{other}"),
        }
        if db == 0 { Ok(()) } else { write!(f, "/{db}") }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

/// What was typed, without anything that may be a password.
fn redacted(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        (None, Some((_, host))) => format!("***@{host}"),
        _ => url.split('?').next().unwrap_or_default().to_owned(),
    }
}

/// How long to wait for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For a connection, with its admission.
    pub connect: Duration,
    /// For the answer to one call.
    pub call: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { connect: Duration::from_millis(300), call: Duration::from_secs(2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_never_shows() {
        let url = RedisUrl::parse("redis://ann:s3cret@example.org:7000/2").expect("a URL");
        assert_eq!(url.to_string(), "redis://example.org:7000/2");
        assert!(!format!("{url:?}").contains("s3cret"));
        let error = RedisUrl::parse("http://ann:s3cret@example.org").expect_err("another scheme");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
    }

    #[test]
    fn both_clients_get_the_same_address_and_login() {
        let url = RedisUrl::parse("redis://ann:s3cret@example.org:7000/2").expect("a URL");
        let fred = url.for_subscriptions().expect("a configuration");
        assert_eq!(fred.server, ServerConfig::new_centralized("example.org", 7000));
        assert_eq!((fred.username.as_deref(), fred.password.as_deref()), (Some("ann"), Some("s3cret")));
        assert_eq!(fred.database, Some(2));
        assert_eq!(url.for_commands().redis_settings().db(), 2);
    }

    #[test]
    fn sockets_and_tls_are_accepted_and_other_schemes_are_not() {
        assert_eq!(RedisUrl::parse("unix:///run/redis.sock").expect("a socket").to_string(), "unix:///run/redis.sock");
        assert_eq!(RedisUrl::parse("rediss://example.org").expect("TLS").to_string(), "rediss://example.org:6379");
        for text in ["", "localhost:6379", "http://localhost", "redis://"] {
            assert!(matches!(RedisUrl::parse(text), Err(Error::Invalid { .. })), "{text:?}");
        }
    }
}
