//! A namespace deleted with everything in it, wherever it serves. Under the mode lock: Redis first, then the directory,
//! so that what is cut off in between is finished by the next one.

use std::path::PathBuf;

use agentcoord_core::engine::EngineKind;
use agentcoord_core::record::Counts;
use agentcoord_core::{Error, Result};
use agentcoord_fs::{ModeEngine, ModeLock, ModeRow, StateDir};
use agentcoord_redis::{Closing, Deadlines, Meta, Sighting};

use crate::config::{BackendChoice, Config};
use crate::host::{Host, Style};
use crate::news::News;

/// How often a namespace in which others write is looked at again.
const TRIES: usize = 16;

/// A namespace that may be deleted.
#[derive(Debug)]
pub struct Purge {
    host: Host,
}

/// What a namespace is that is about to be deleted.
#[derive(Clone, Debug)]
pub struct Extent {
    /// What serves it.
    pub engine: EngineKind,
    /// The Redis, without secrets, when that serves.
    pub redis: Option<String>,
    /// What is in it.
    pub counts: Counts,
    /// Its directory.
    pub directory: PathBuf,
}

/// What was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    /// The name.
    pub namespace: String,
    /// Keys that were deleted in Redis.
    pub keys: u64,
    /// The Redis, without secrets, when it held some.
    pub redis: Option<String>,
    /// The directory that was deleted.
    pub directory: PathBuf,
}

impl Purge {
    /// The namespace that `config` names. Nothing is founded or changed.
    ///
    /// # Errors
    /// `Invalid` when it names none, or one that the state directory does not have.
    pub fn of(config: Config) -> Result<Self> {
        let known = StateDir::open(&config.state_dir)?.namespaces()?;
        let given = config.namespace.as_deref().unwrap_or_default();
        if !known.iter().any(|name| name == given) {
            let known = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
            return Err(Error::invalid("namespace", given, format!("one of this state directory: {known}")));
        }
        // Whatever serves is what is to go.
        let config = Config { backend: BackendChoice::Auto, ..config };
        Ok(Self { host: Host::new(config, Style::OneShot)? })
    }

    /// What would be deleted.
    ///
    /// # Errors
    /// `Unavailable` when what serves cannot be reached.
    pub async fn extent(&self) -> Result<Extent> {
        let opened = self.host.open(&News::default()).await?;
        let (counts, _) = opened.store.now().await?;
        let engine = opened.serving.engine;
        let redis = (engine == EngineKind::Redis).then(|| self.host.shown_url());
        Ok(Extent { engine, redis, counts, directory: self.host.namespace().directory().to_owned() })
    }

    /// Deletes it: every key in Redis, also those of a copy that a switch to files has left there, and the directory. One
    /// that was cut off is finished by the next one; until then nobody is served.
    ///
    /// # Errors
    /// `Refused` while a session lives, or during a switch of the engine; `Unavailable` when Redis is needed and away.
    pub async fn run(self) -> Result<Purged> {
        // A new epoch first, if Redis was restarted. If this fails, what follows says why, or finishes what was cut off.
        drop(self.host.open(&News::default()).await);
        self.host.purge().await
    }
}

impl Host {
    async fn purge(&self) -> Result<Purged> {
        let lock = self.lock_mode().await?;
        let row = lock.publish()?.map(|row| self.complete(&lock, row)).transpose()?;
        let on_files = row.as_ref().is_some_and(|row| row.engine == ModeEngine::Files);
        let keys = match &row {
            Some(row) => {
                if on_files {
                    self.nobody_lives(row).await?;
                }
                self.purge_redis(&lock, row).await?
            }
            None => 0,
        };
        let namespace = self.namespace();
        namespace.purge(&lock, on_files)?;
        Ok(Purged {
            namespace: namespace.name().to_owned(),
            keys,
            redis: (keys > 0).then(|| self.shown_url()),
            directory: namespace.directory().to_owned(),
        })
    }

    /// Deletes what Redis has of the namespace, and returns how many keys that were.
    async fn purge_redis(&self, lock: &ModeLock, row: &ModeRow) -> Result<u64> {
        let survey = match self.look().await? {
            Sighting::There(survey) => survey,
            // It has never been there.
            _ if row.instance.is_none() => return Ok(0),
            Sighting::Gone(error) | Sighting::Away(error) | Sighting::Refusing(error) | Sighting::Unusable(error) => {
                let reason =
                    format!("this namespace has keys in Redis, which must be reachable to delete them ({error})");
                return Err(Error::Unavailable { reason, source: Some(error.into()) });
            }
        };
        let serves = row.engine == ModeEngine::Redis;
        let same_run = row.run_id.as_ref() == Some(&survey.run_id);
        let host = self.state_dir().host_id()?.to_string();
        match survey.meta {
            Some(meta) if row.instance.as_ref() == Some(&meta.instance) || (!serves && meta.owner == host) => {
                let first = self.close(row, &meta, serves).await?;
                if row.is_mirrored() {
                    // What is deleted there must not come back from here.
                    lock.write(&ModeRow { right_to_take_over: false, ..row.clone() })?;
                }
                let (url, name) = (self.url()?, self.namespace().name());
                Ok(first + agentcoord_redis::purge(&url, name, &meta.instance, Deadlines::default()).await?)
            }
            // What is there is somebody else's, or was deleted by a purge that was cut off.
            _ if !serves => Ok(0),
            None if same_run => Ok(0),
            _ => Err(Error::unavailable(format!(
                "{} does not hold this namespace: check the URL of Redis",
                self.shown_url()
            ))),
        }
    }

    /// Closes the namespace in Redis for good, when nobody lives in it, and returns how many keys went.
    async fn close(&self, row: &ModeRow, meta: &Meta, serves: bool) -> Result<u64> {
        for _ in 0..TRIES {
            let (url, name) = (self.url()?, self.namespace().name());
            match agentcoord_redis::retire(&url, name, meta, !serves, Deadlines::default()).await? {
                Closing::Closed(gone) => return Ok(gone),
                // Sessions that have outlived their time do not count.
                Closing::Lived(_) => self.nobody_lives(row).await?,
                Closing::Changed => {}
            }
        }
        Err(Error::unavailable("others write to this namespace all the time; try again when they are done"))
    }
}
