//! The events of a workspace as they happen, from any place in the log on: without loss and without duplicates, or with
//! a record that says what is missing.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use agentcoord_core::engine::Follower;
use agentcoord_core::ids::{Csn, Id, RequestNo};
use agentcoord_core::record::Event;
use agentcoord_core::{Error, Result};

use crate::client::CoordinationClient;
use crate::connection::Connection;
use crate::host::Opened;

/// Events that are read at once.
const PAGE: usize = 500;
/// Events whose identity is remembered, to find out which of them a store has lost.
const REMEMBERED: usize = 4_096;

/// What a stream of events gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Live {
    /// An event. Their numbers are contiguous, except across a [`Live::Gap`] or a [`Live::Lost`].
    Event(Box<Event>),
    /// Events that this stream cannot give: the log does not keep them any more. The state is in the store.
    Gap {
        /// The first one.
        from: Csn,
        /// The last one.
        to: Csn,
    },
    /// Events that were given and are not in the store any more: it came back without its newest changes. Others will
    /// come under the same numbers.
    Lost {
        /// The first one.
        from: Csn,
        /// The last one.
        to: Csn,
    },
}

/// The events of a workspace as they happen.
#[derive(Debug)]
pub struct EventStream {
    connection: Connection,
    /// The last event that was given or passed over; none: begin with what happens from now on.
    after: Option<Csn>,
    ready: VecDeque<Live>,
    /// Who asked for the last events that were given.
    given: BTreeMap<Csn, (Id, RequestNo)>,
    follower: Option<(u64, Box<dyn Follower>)>,
}

impl CoordinationClient {
    /// The events after number `since`, or from now on, as they happen.
    #[must_use]
    pub fn events(&self, since: Option<Csn>) -> EventStream {
        self.connection.events(since)
    }
}

impl Connection {
    /// The events after number `since`, or from now on, as they happen. Nothing is followed before the first
    /// [`EventStream::next`].
    #[must_use]
    pub fn events(&self, since: Option<Csn>) -> EventStream {
        EventStream {
            connection: self.clone(),
            after: since,
            ready: VecDeque::new(),
            given: BTreeMap::new(),
            follower: None,
        }
    }
}

impl EventStream {
    /// Begins to follow, so that nothing that happens after this call is missed. [`EventStream::next`] does it too.
    ///
    /// # Errors
    /// As [`EventStream::next`].
    pub async fn begin(&mut self) -> Result<()> {
        self.work(false).await
    }

    /// What comes next; waits for it.
    ///
    /// # Errors
    /// `Unavailable` when the engine is away for longer than the connection's patience. Ask again: the stream goes on
    /// where it was, on whatever engine serves then.
    ///
    /// # Cancel safety
    /// Cancel-safe: nothing is lost.
    pub async fn next(&mut self) -> Result<Live> {
        loop {
            if let Some(live) = self.ready.pop_front() {
                return Ok(live);
            }
            self.work(true).await?;
        }
    }

    /// What is known already, without waiting.
    pub fn ready(&mut self) -> Option<Live> {
        self.ready.pop_front()
    }

    /// Follows the engine that serves, waits out its short absences, and perhaps waits for events.
    async fn work(&mut self, wait: bool) -> Result<()> {
        let mut patience = self.connection.patience();
        loop {
            match self.attempt(wait).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    self.follower = None;
                    patience.bear(error).await?;
                }
            }
        }
    }

    async fn attempt(&mut self, wait: bool) -> Result<()> {
        let opened = self.connection.opened().await?;
        let outcome = self.follow_on(&opened, wait).await;
        if let Err(error) = &outcome {
            // How long it has waited for events says nothing about the engine.
            self.connection.has_failed(&opened, error, Instant::now()).await;
        }
        outcome
    }

    async fn follow_on(&mut self, opened: &Opened, wait: bool) -> Result<()> {
        self.follow(opened).await?;
        if wait { self.fill(opened).await } else { Ok(()) }
    }

    async fn follow(&mut self, opened: &Opened) -> Result<()> {
        if self.follower.as_ref().is_some_and(|(serial, _)| *serial == opened.serial) {
            return Ok(());
        }
        let follower = opened.feed.follow().await?;
        self.orient(opened).await?;
        self.follower = Some((opened.serial, follower));
        Ok(())
    }

    /// Waits for events and makes them ready.
    async fn fill(&mut self, opened: &Opened) -> Result<()> {
        if !self.ready.is_empty() {
            return Ok(());
        }
        let (Some((_, follower)), Some(after)) = (&mut self.follower, self.after) else { return Ok(()) };
        let events = follower.next(after, PAGE).await?;
        if events.is_empty() && self.connection.has_moved_on(opened) {
            return Err(Error::Fenced { epoch: opened.epoch, reason: "another engine or epoch serves now".to_owned() });
        }
        for event in events {
            self.give(event);
        }
        Ok(())
    }

    fn give(&mut self, event: Event) {
        let expected = self.after.map_or(event.csn, |after| Csn(after.0 + 1));
        if event.csn < expected {
            return;
        }
        if event.csn > expected {
            self.ready.push_back(Live::Gap { from: expected, to: Csn(event.csn.0 - 1) });
        }
        self.after = Some(event.csn);
        self.given.insert(event.csn, (event.client.clone(), event.request));
        if self.given.len() > REMEMBERED {
            self.given.pop_first();
        }
        self.ready.push_back(Live::Event(Box::new(event)));
    }

    /// Finds out where the stream stands on an engine that was just opened.
    async fn orient(&mut self, opened: &Opened) -> Result<()> {
        let engine = opened.store.engine();
        let last = engine.state().await?.0.csn;
        let Some(after) = self.after else {
            self.after = Some(last);
            return Ok(());
        };
        // Another event under the same number, or a number that is yet to come.
        let kept = match self.given.first_key_value() {
            Some((first, _)) => engine.events(Csn(first.0.saturating_sub(1)), REMEMBERED).await?,
            None => Vec::new(),
        };
        let kept: BTreeMap<Csn, (Id, RequestNo)> = kept.into_iter().map(|e| (e.csn, (e.client, e.request))).collect();
        let is_lost = |csn: &Csn, who: &(Id, RequestNo)| *csn > last || kept.get(csn).is_some_and(|found| found != who);
        let first_lost = self.given.iter().find(|(csn, who)| is_lost(csn, who)).map(|(csn, _)| *csn);
        let first_lost = first_lost.or_else(|| (after > last).then_some(Csn(last.0 + 1)));
        let after = match first_lost {
            Some(from) => {
                self.ready.push_back(Live::Lost { from, to: after });
                self.given.split_off(&from);
                Csn(from.0 - 1)
            }
            None => after,
        };
        self.after = Some(after);
        // A log that was begun anew, by a switch of the engine, has nothing to show for what is missing.
        if last > after && engine.events(after, 1).await?.is_empty() {
            self.ready.push_back(Live::Gap { from: Csn(after.0 + 1), to: last });
            self.after = Some(last);
        }
        Ok(())
    }
}
