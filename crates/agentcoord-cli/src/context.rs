//! What a command works with: the settings, and the connection, which is opened when a command first needs it.

use agentcoord::core::ids::Token;
use agentcoord::core::lock::LockPath;
use agentcoord::{Connection, Error, Serving, Store, Style};
use tokio::sync::OnceCell;

use crate::config::{Settings, variable};
use crate::error::CliError;
use crate::exit::Exit;
use crate::logging;
use crate::output::{self, Meta};
use crate::process::Signals;

/// The token of the lock that `locks run` holds; below `tasks work`, that of the claim.
pub(crate) const FENCE: &str = "AGENTCOORD_FENCE";
/// The namespace of that lock; without it the token is of no lock.
pub(crate) const FENCE_NAMESPACE: &str = "AGENTCOORD_FENCE_NAMESPACE";
/// The task that `tasks work` runs a command for.
pub(crate) const TASK_ID: &str = "AGENTCOORD_TASK_ID";

/// The surroundings of one command.
#[derive(Debug)]
pub(crate) struct Context {
    settings: Settings,
    connection: OnceCell<Connection>,
}

impl Context {
    /// Surroundings with these settings; nothing is opened yet.
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, connection: OnceCell::new() }
    }

    /// The settings.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The connection to the workspace.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub(crate) async fn connection(&self) -> Result<&Connection, CliError> {
        self.open(Style::OneShot).await
    }

    /// The connection of a command that stays for a while: it also logs.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub(crate) async fn staying(&self) -> Result<&Connection, CliError> {
        logging::start(self.settings.verbose);
        self.open(Style::LongRunning).await
    }

    async fn open(&self, style: Style) -> Result<&Connection, CliError> {
        let open = async {
            let connection = Connection::open(self.settings.connection(), style).await?;
            let serving = &connection.opened().await?.serving;
            if serving.degraded && !self.settings.quiet {
                output::complain(&degraded(serving));
            }
            Ok::<_, CliError>(match self.fence(connection.namespace())? {
                Some(token) => connection.under(token),
                None => connection,
            })
        };
        self.connection.get_or_try_init(|| open).await
    }

    /// The six components, for reads.
    ///
    /// # Errors
    /// As [`Context::connection`].
    pub(crate) async fn store(&self) -> Result<Store, CliError> {
        Ok(self.connection().await?.store().await?)
    }

    /// The lock under which this command writes. The variable counts only in the namespace of the lock: what runs below
    /// `locks run` may work elsewhere, too.
    fn fence(&self, namespace: &str) -> Result<Option<Token>, CliError> {
        if let Some(token) = self.settings.fence {
            return Ok(Some(Token(token)));
        }
        let Some(exported) = variable(FENCE) else { return Ok(None) };
        let its_namespace = variable(FENCE_NAMESPACE);
        if its_namespace.is_none() && variable(TASK_ID).is_none() && !self.settings.quiet {
            output::complain(&format!(
                "warning: {FENCE} does not count without {FENCE_NAMESPACE}, the namespace of its lock; or use --fence\n"
            ));
        }
        if its_namespace.as_deref() != Some(namespace) {
            return Ok(None);
        }
        match exported.parse() {
            Ok(token) => Ok(Some(Token(token))),
            Err(_) => {
                let shown = exported.escape_debug();
                Err(CliError::invalid(format!(
                    "{FENCE} is `{shown}`, not the token of a lock; unset it, or use --fence"
                )))
            }
        }
    }

    /// The lock paths that a user's words name, patterns included.
    ///
    /// # Errors
    /// `INVALID` for paths outside the worktree, for what is no path, and for patterns that match nothing or too much.
    pub(crate) fn lock_paths(&self, words: &[String]) -> Result<Vec<LockPath>, CliError> {
        let mut paths = Vec::new();
        for word in words {
            let found = agentcoord::lock_paths(&self.settings.root, &self.settings.cwd, &[word]);
            paths.extend(found.map_err(|error| typed(error, word))?);
        }
        Ok(paths)
    }

    /// The lock path that a user's word names.
    ///
    /// # Errors
    /// `INVALID` for paths outside the worktree and for what is no path.
    pub(crate) fn lock_path(&self, word: &str) -> Result<LockPath, CliError> {
        agentcoord::lock_path(&self.settings.root, &self.settings.cwd, word).map_err(|error| typed(error, word))
    }

    /// Waits for something that a signal may end: then it is given up, withdrawn, and the command exits with 128 + n.
    ///
    /// # Errors
    /// Those of the wait, or the signal.
    pub(crate) async fn interruptible<T>(
        &self,
        wait: impl Future<Output = agentcoord::Result<T>>,
    ) -> Result<T, CliError> {
        let mut signals = Signals::of_ending()?;
        let signal = tokio::select! {
            outcome = wait => return Ok(outcome?),
            signal = signals.next() => signal,
        };
        // The wait is dropped here: what it has left behind goes before we do.
        if let Some(connection) = self.connection.get() {
            connection.settle().await?;
        }
        Err(CliError::new(Exit::Signal(signal), "INTERRUPTED", "interrupted; nothing is held or waited for"))
    }

    /// What the JSON envelope says about the engine.
    pub(crate) async fn meta(&self) -> Meta {
        let mut meta = Meta::now();
        if let Some(connection) = self.connection.get() {
            meta.namespace = Some(connection.namespace().to_owned());
            if let Ok(opened) = connection.opened().await {
                meta.backend = Some(opened.serving.engine.word());
                meta.degraded = Some(opened.serving.degraded);
            }
        }
        meta
    }
}

/// An error about a path with what was typed, not what became of it on the way.
fn typed(error: Error, word: &str) -> CliError {
    match error {
        Error::Invalid { field, allowed, .. } => Error::invalid(field, word, allowed).into(),
        error => error.into(),
    }
}

fn degraded(serving: &Serving) -> String {
    let url = serving.redis.as_deref().unwrap_or("Redis");
    if let Some(who) = &serving.by_hand {
        return format!(
            "warning: files serve this workspace, not {url}: {who} moved it; back: agentcoord store use redis\n"
        );
    }
    let why = serving.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("warning: files serve this workspace, not {url}{why}; it gets everything back when it is healthy again\n")
}
