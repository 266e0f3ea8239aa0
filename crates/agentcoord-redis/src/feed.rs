//! Following the log of events: a connection of its own that blocks on the stream. Steps neither publish nor do anything
//! else for it.

use std::collections::HashMap;
use std::time::Duration;

use agentcoord_core::Result;
use agentcoord_core::engine::{Feed, Follower};
use agentcoord_core::ids::Csn;
use agentcoord_core::record::Event;
use async_trait::async_trait;

use crate::config::{Deadlines, RedisUrl};
use crate::connection::{Admission, Connection};
use crate::engine::event;
use crate::keys::Keys;

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
        let connection = self.connection();
        connection.admit().await.map_err(|fault| fault.of_read(self.admission.epoch))?;
        Ok(Box::new(RedisFollower { feed: self.clone(), connection, asked: false }))
    }
}

#[derive(Debug)]
struct RedisFollower {
    feed: RedisFeed,
    connection: Connection,
    /// A call was sent whose answer was not taken: it still blocks the connection.
    asked: bool,
}

/// What XREAD answers: for each stream its entries, each an id and its fields; nothing when nothing came.
type Streams = Option<Vec<(String, Vec<(String, HashMap<String, Vec<u8>>)>)>>;

#[async_trait]
impl Follower for RedisFollower {
    async fn next(&mut self, after: Csn, limit: usize) -> Result<Vec<Event>> {
        if self.asked {
            self.connection = self.feed.connection();
        }
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(limit).arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS").arg(self.feed.keys.events()).arg(format!("{}-0", after.0));
        self.asked = true;
        let answer = self.connection.call::<Streams>(&command).await;
        self.asked = false;
        let streams = answer.map_err(|fault| fault.of_read(self.feed.admission.epoch))?;
        streams.unwrap_or_default().into_iter().flat_map(|(_, entries)| entries).map(event).collect()
    }
}
