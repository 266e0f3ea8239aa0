//! A workspace on its own: a scratch directory, and perhaps a private Redis.

use agentcoord::{BackendChoice, CoordinationClient, SessionBuilder};
use agentcoord_testkit::redis_server::RedisServer;

pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) redis_url: Option<String>,
    pub(crate) backend: BackendChoice,
    /// Killed with the place; a static one would outlive the tests.
    _server: Option<RedisServer>,
}

impl Place {
    pub(crate) fn files() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), redis_url: None, backend: BackendChoice::Files, _server: None }
    }

    /// A workspace on a Redis of its own.
    pub(crate) fn redis() -> Self {
        let server = RedisServer::start();
        let url = server.url();
        Self { _server: Some(server), ..Self::on(&url) }
    }

    pub(crate) fn on(url: &str) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            redis_url: Some(url.to_owned()),
            backend: BackendChoice::Auto,
            _server: None,
        }
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
