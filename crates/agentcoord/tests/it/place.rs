//! A workspace on its own: a scratch directory, and perhaps a private Redis.

use std::sync::OnceLock;

use agentcoord::{BackendChoice, CoordinationClient, SessionBuilder};
use agentcoord_testkit::redis_server::RedisServer;

pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) redis_url: Option<String>,
    pub(crate) backend: BackendChoice,
}

impl Place {
    pub(crate) fn files() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), redis_url: None, backend: BackendChoice::Files }
    }

    /// A workspace of its own on the Redis that all tests of this binary share.
    pub(crate) fn redis() -> Self {
        static SERVER: OnceLock<RedisServer> = OnceLock::new();
        Self::on(&SERVER.get_or_init(RedisServer::start).url())
    }

    pub(crate) fn on(url: &str) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), redis_url: Some(url.to_owned()), backend: BackendChoice::Auto }
    }

    pub(crate) fn session(&self, name: &str) -> SessionBuilder {
        let builder = CoordinationClient::session("Engineer", name)
            .dir(self.dir.path())
            .state_dir(self.dir.path().join("state"))
            .backend(self.backend);
        match &self.redis_url {
            Some(url) => builder.redis_url(url),
            None => builder,
        }
    }
}
