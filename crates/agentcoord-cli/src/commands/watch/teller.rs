//! Events as lines and as objects. It remembers names and paths that later events only refer to.

use std::collections::HashMap;

use agentcoord::Live;
use agentcoord::core::op::{Actor, decode};
use agentcoord::core::record::{Event, LockRecord, SessionRecord};
use agentcoord::core::table::{Record, Table};
use serde::Serialize;

use super::sentence::sentence;
use crate::context::Context;
use crate::error::CliError;
use crate::output::text::line;
use crate::output::{Format, Stamp, json};

/// Names and locks that are remembered at most.
const REMEMBERED: usize = 20_000;

/// What turns events into text.
pub(super) struct Teller<'a> {
    context: &'a Context,
    nouns: Vec<String>,
    pub(super) known: Known,
}

/// What earlier events have said.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Names of agents by session.
    names: HashMap<String, String>,
    /// Paths of locks by token.
    locks: HashMap<String, String>,
}

/// An event for programs.
#[derive(Serialize)]
struct EventView<'a> {
    csn: u64,
    at: Stamp,
    verb: &'a str,
    by: &'a str,
    text: &'a str,
    changes: Vec<Change<'a>>,
}

/// A record that was written, or deleted.
#[derive(Serialize)]
struct Change<'a> {
    table: &'static str,
    key: &'a str,
    deleted: bool,
}

impl<'a> Teller<'a> {
    pub(super) fn new(context: &'a Context, nouns: Vec<String>) -> Self {
        Self { context, nouns, known: Known::default() }
    }

    /// The line of what a stream gave; nothing when it was not asked for.
    pub(super) async fn tell(&mut self, live: Live) -> Result<String, CliError> {
        let format = self.context.settings().format;
        let missing = |what: &str, from: u64, to: u64| match format {
            Format::Table => format!("{what}: events {from} to {to}\n"),
            Format::Json | Format::Jsonl => format!("{{\"{what}\":{{\"from\":{from},\"to\":{to}}}}}\n"),
            Format::Id => String::new(),
        };
        match live {
            Live::Gap { from, to } => Ok(missing("gap", from.0, to.0)),
            Live::Lost { from, to } => Ok(missing("lost", from.0, to.0)),
            Live::Event(event) => self.event(&event).await,
        }
    }

    async fn event(&mut self, event: &Event) -> Result<String, CliError> {
        self.learn(event).await?;
        let noun = event.verb.split('/').next().unwrap_or_default();
        let wanted = self.nouns.is_empty() || self.nouns.iter().any(|n| n == noun);
        let by = self.known.actor(&event.actor);
        let text = sentence(event, &by, &self.known);
        // Only now: the sentence of a lock's end tells its paths.
        self.known.forget(event);
        if !wanted {
            return Ok(String::new());
        }
        Ok(match self.context.settings().format {
            Format::Table => {
                let at = Stamp(event.at).rfc3339();
                format!("{}  {}  {}\n", event.csn.0, at.get(11..19).unwrap_or_default(), line(&text))
            }
            Format::Id => format!("{}\n", event.csn.0),
            Format::Json | Format::Jsonl => {
                let change = |image: &'_ agentcoord::core::record::Image| (image.table, image.record.is_empty());
                let changes = event.images.iter().filter(|image| !is_plumbing(image.table)).map(|image| {
                    let (table, deleted) = change(image);
                    Change { table: table.name(), key: &image.key, deleted }
                });
                let view = EventView {
                    csn: event.csn.0,
                    at: Stamp(event.at),
                    verb: &event.verb,
                    by: &by,
                    text: &text,
                    changes: changes.collect(),
                };
                let json = serde_json::to_string(&view);
                let json = json.map_err(|cause| CliError::internal("an event cannot be written as JSON", cause))?;
                json::visible(&json) + "\n"
            }
        })
    }

    /// Notes the names in an event, and looks up that of its actor when nobody has told it yet.
    async fn learn(&mut self, event: &Event) -> Result<(), CliError> {
        for image in event.images.iter().filter(|image| !image.record.is_empty()) {
            match image.table {
                Table::Session => {
                    let session: SessionRecord = decode(&image.record, "session")?;
                    self.known.names.insert(image.key.clone(), session.name);
                }
                Table::Lock => {
                    let lock: LockRecord = decode(&image.record, "lock")?;
                    self.known.names.insert(lock.session.to_string(), lock.name);
                    let paths: Vec<&str> = lock.paths.iter().map(|path| path.as_str()).collect();
                    self.known.locks.insert(image.key.clone(), paths.join(", "));
                }
                _ => {}
            }
        }
        if let Actor::Session(id) = &event.actor
            && !self.known.names.contains_key(id.as_str())
        {
            let store = self.context.store().await?;
            let found = store.engine().fetch(Table::Session, &[id.to_string()]).await?;
            if let Some(bytes) = found.into_iter().flatten().next() {
                let session: SessionRecord = decode(&bytes, "session")?;
                self.known.names.insert(id.to_string(), session.name);
            }
        }
        Ok(())
    }
}

/// Tables that say nothing to those who watch.
fn is_plumbing(table: Table) -> bool {
    matches!(table, Table::Ring | Table::Client | Table::Key)
}

impl Known {
    /// Who acted, as records name it.
    fn actor(&self, actor: &Actor) -> String {
        match actor {
            Actor::Human(name) => format!("human:{name}"),
            Actor::System => "system".to_owned(),
            Actor::Session(id) => match self.names.get(id.as_str()) {
                Some(name) => format!("agent:{name}"),
                None => format!("session:{id}"),
            },
        }
    }

    /// The paths of a lock.
    pub(super) fn lock(&self, token: &str) -> String {
        self.locks.get(token).cloned().unwrap_or_else(|| format!("lock {token}"))
    }

    fn forget(&mut self, event: &Event) {
        for image in event.images.iter().filter(|image| image.record.is_empty()) {
            self.locks.remove(&image.key);
        }
        if self.names.len() > REMEMBERED {
            self.names.clear();
        }
        if self.locks.len() > REMEMBERED {
            self.locks.clear();
        }
    }
}

/// The records of one table that an event has written, with their keys.
pub(super) fn written<T: Record>(event: &Event) -> Vec<(&str, T)> {
    let images = event.images.iter().filter(|image| image.table == T::TABLE && !image.record.is_empty());
    // One that cannot be read is told by whoever needs it; here the event is told without it.
    images.filter_map(|image| Some((image.key.as_str(), decode(&image.record, T::TABLE.name()).ok()?))).collect()
}
