//! Following the log of events: a connection of its own that blocks on the stream. Steps neither publish nor do anything
//! else for it.

use std::time::Duration;

use agentcoord_core::Result;
use agentcoord_core::engine::{Feed, Follower};
use agentcoord_core::ids::Csn;
use agentcoord_core::record::Event;
use agentcoord_core::replica::Logged;
use async_trait::async_trait;
use redis::Value;

use crate::config::{Deadlines, RedisUrl};
use crate::connection::{Admission, Connection};
use crate::error::Fault;
use crate::keys::Keys;
use crate::tail;

/// How long the server holds a call back while nothing happens.
const BLOCK: Duration = Duration::from_secs(5);

/// The log of events of one namespace in one epoch.
#[derive(Clone, Debug)]
pub struct RedisFeed {
    url: RedisUrl,
    keys: Keys,
    admission: Admission,
    deadlines: Deadlines,
}

impl RedisFeed {
    pub(crate) fn new(url: RedisUrl, keys: Keys, admission: Admission, deadlines: Deadlines) -> Self {
        Self { url, keys, admission, deadlines }
    }

    fn connection(&self) -> Connection {
        let deadlines = Deadlines { call: BLOCK + self.deadlines.call, ..self.deadlines };
        Connection::new(self.url.clone(), self.keys.clone(), self.admission.clone(), deadlines)
    }
}

#[async_trait]
impl Feed for RedisFeed {
    async fn follow(&self) -> Result<Box<dyn Follower>> {
        Ok(Box::new(self.tail().await?))
    }
}

impl RedisFeed {
    /// Begins to follow the log as a replica needs it.
    ///
    /// # Errors
    /// `Unavailable` when the server cannot be reached.
    pub async fn tail(&self) -> Result<RedisFollower> {
        let connection = self.connection();
        connection.admit().await.map_err(|fault| fault.of_read(self.admission.epoch))?;
        Ok(RedisFollower { feed: self.clone(), connection, asked: false })
    }
}

/// One who follows the log of Redis.
#[derive(Debug)]
pub struct RedisFollower {
    feed: RedisFeed,
    connection: Connection,
    /// A call was sent whose answer was not taken: it still blocks the connection.
    asked: bool,
}

impl RedisFollower {
    /// As [`Follower::next`], with the state after each event.
    ///
    /// # Errors
    /// As [`Follower::next`].
    pub async fn log(&mut self, after: Csn, limit: usize) -> Result<Vec<Logged>> {
        if self.asked {
            self.connection = self.feed.connection();
        }
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(limit).arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS").arg(self.feed.keys.events()).arg(format!("{}-0", after.0));
        self.asked = true;
        let answer = self.connection.call::<Option<Vec<(String, Value)>>>(&command).await;
        self.asked = false;
        let read = |fault: Fault| fault.of_read(self.feed.admission.epoch);
        let mut logged = Vec::new();
        for (_, stream) in answer.map_err(read)?.unwrap_or_default() {
            logged.extend(tail::entries(stream).map_err(read)?);
        }
        Ok(logged)
    }
}

#[async_trait]
impl Follower for RedisFollower {
    async fn next(&mut self, after: Csn, limit: usize) -> Result<Vec<Event>> {
        self.log(after, limit).await?.iter().map(Logged::event).collect()
    }
}
