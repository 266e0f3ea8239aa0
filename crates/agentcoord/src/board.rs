//! The board as an agent uses it: posting, its inbox, and news as they come.

use std::collections::VecDeque;
use std::future::IntoFuture;

use agentcoord_core::board::{
    Board, Inbox, Mail, Message, OpenThread, PostMessage, Posted, ReadInbox, ThreadPriority, ThreadStatus, address,
};
use agentcoord_core::engine::Channel;
use agentcoord_core::ids::IdPrefix;
use agentcoord_core::{Error, Result};
use tokio::time::Instant;

use crate::client::{CoordinationClient, Holder, Pending};
use crate::connection::Connection;
use crate::listen::Listening;

/// Messages that a stream reads at once.
const PAGE: usize = 32;

impl CoordinationClient {
    /// Describes a new thread with a first message; awaiting it posts it.
    pub fn post_thread(&self, title: impl Into<String>, message: impl Into<String>) -> ThreadBuilder<'_> {
        ThreadBuilder { client: self, body: OpenThread::new(title, Some(message.into())) }
    }

    /// Describes a message to a thread; awaiting it posts it. It goes to everybody who takes part in the thread.
    pub fn reply(&self, thread: impl Into<String>, message: impl Into<String>) -> ReplyBuilder<'_> {
        ReplyBuilder { client: self, body: PostMessage::new(thread, message) }
    }

    /// What waits in this agent's inbox, at most `limit`. Nothing counts as read by it; see
    /// [`CoordinationClient::mark_read`].
    ///
    /// # Errors
    /// `Unavailable` when the engine cannot be reached.
    pub async fn inbox(&self, limit: usize) -> Result<Inbox> {
        self.connection.inbox(&self.principal(), limit, Some(Instant::now())).await
    }

    /// Says that a page of the inbox was read.
    ///
    /// # Errors
    /// `Stale` when the session has ended.
    pub async fn mark_read(&self, page: &Inbox) -> Result<()> {
        self.run(ReadInbox { up_to: page.up_to }).await.map(drop)
    }

    /// The messages for this agent as they come, oldest unread one first.
    #[must_use]
    pub fn mailbox(&self) -> Mailbox {
        Mailbox { holder: self.holder(), reader: self.principal(), ready: VecDeque::new(), given: None }
    }

    /// The messages of a thread as they come, beginning after number `after` (0: with the first one).
    ///
    /// # Errors
    /// `NotFound` and `Ambiguous` for the thread.
    pub async fn follow_thread(&self, thread: &str, after: u64) -> Result<ThreadFeed> {
        let id = IdPrefix::parse("thread", thread)?;
        let thread = Board::find(&self.store().await?, &id).await?;
        Ok(ThreadFeed { connection: self.connection.clone(), key: thread.key, after, ready: VecDeque::new() })
    }

    fn principal(&self) -> String {
        format!("agent:{}", self.name())
    }
}

/// A thread to be posted. Await it: it resolves to the thread's short id and to who of its addressees is away.
#[derive(Debug)]
#[must_use = "a thread is posted when it is awaited"]
pub struct ThreadBuilder<'a> {
    client: &'a CoordinationClient,
    body: OpenThread,
}

impl ThreadBuilder<'_> {
    /// Whom it is for: `@ada` is an agent, else a role; `human:eve` is a person. May be called several times.
    pub fn to(mut self, addressee: &str) -> Self {
        self.body.to.push(address::plain(addressee));
        self
    }

    /// How urgent it is.
    pub fn priority(mut self, priority: ThreadPriority) -> Self {
        self.body.priority = priority;
        self
    }

    /// What it is about. May be called several times.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.body.tags.push(tag.into());
        self
    }

    /// A path or task that it is about.
    pub fn link(mut self, link: impl Into<String>) -> Self {
        self.body.link = Some(link.into());
        self
    }

    /// An idempotency key: the same key posts once within a day.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.body.key = Some(key.into());
        self
    }
}

impl<'a> IntoFuture for ThreadBuilder<'a> {
    type Output = Result<Posted>;
    type IntoFuture = Pending<'a, Posted>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.client.run(self.body.seal()))
    }
}

/// A message to be posted. Await it: it resolves to its number in the thread and to who of its addressees is away.
#[derive(Debug)]
#[must_use = "a message is posted when it is awaited"]
pub struct ReplyBuilder<'a> {
    client: &'a CoordinationClient,
    body: PostMessage,
}

impl ReplyBuilder<'_> {
    /// Whom it is for beside those who take part; as [`ThreadBuilder::to`].
    pub fn to(mut self, addressee: &str) -> Self {
        self.body.to.push(address::plain(addressee));
        self
    }

    /// Moves the thread to another state in the same step.
    pub fn status(mut self, status: ThreadStatus) -> Self {
        self.body.status = Some(status);
        self
    }

    /// An idempotency key: the same key posts once within a day.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.body.key = Some(key.into());
        self
    }
}

impl<'a> IntoFuture for ReplyBuilder<'a> {
    type Output = Result<Posted>;
    type IntoFuture = Pending<'a, Posted>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.client.run(self.body.seal()))
    }
}

/// The messages for an agent as they come. They arrive at least once: one counts as read when the next is asked for.
#[derive(Debug)]
pub struct Mailbox {
    holder: Holder,
    reader: String,
    ready: VecDeque<Mail>,
    /// What was given out and is not said to be read yet.
    given: Option<u64>,
}

impl Mailbox {
    /// The next message; waits for it.
    ///
    /// # Errors
    /// `Stale` when the session has ended; `Unavailable` when the engine is away for longer than the connection's
    /// patience: ask again.
    ///
    /// # Cancel safety
    /// Cancel-safe: no message is lost.
    pub async fn next(&mut self) -> Result<Mail> {
        if let Some(up_to) = self.given {
            self.holder.connection.run(&self.holder.actor, ReadInbox { up_to }).await?;
            self.given = None;
        }
        if self.ready.is_empty() {
            self.ready.extend(self.holder.connection.inbox(&self.reader, PAGE, None).await?.items);
        }
        let mail = self.ready.pop_front().ok_or_else(|| Error::unavailable("the inbox was read by another process"))?;
        self.given = Some(mail.message.seq);
        Ok(mail)
    }
}

/// The messages of one thread as they come, each once.
#[derive(Debug)]
pub struct ThreadFeed {
    connection: Connection,
    key: String,
    after: u64,
    ready: VecDeque<Message>,
}

impl ThreadFeed {
    /// The next message; waits for it.
    ///
    /// # Errors
    /// `Unavailable` when the engine is away for longer than the connection's patience: ask again.
    ///
    /// # Cancel safety
    /// Cancel-safe: no message is lost.
    pub async fn next(&mut self) -> Result<Message> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                self.after = message.number;
                return Ok(message);
            }
            self.ready.extend(self.connection.messages_after(&self.key, self.after, PAGE).await?);
        }
    }
}

impl Connection {
    /// A page of an inbox; while it is empty, waits for a message until `deadline` (none: for ever).
    ///
    /// # Errors
    /// `Unavailable` when the engine is away for longer than the connection's patience.
    ///
    /// # Cancel safety
    /// Cancel-safe: looking changes nothing.
    pub async fn inbox(&self, reader: &str, limit: usize, deadline: Option<Instant>) -> Result<Inbox> {
        let mut listening = None;
        loop {
            let page = self.page_of(reader, limit).await?;
            if !page.items.is_empty() || deadline.is_some_and(|at| at <= Instant::now()) {
                return Ok(page);
            }
            let listening = match &mut listening {
                Some(listening) => listening,
                none => {
                    let addresses = self.store().await?.addresses_of(reader).await?;
                    none.insert(Listening::to(self, addresses.into_iter().map(Channel::Inbox)))
                }
            };
            if let Err(error) = listening.wait(deadline).await {
                self.patience().bear(error).await?;
            }
        }
    }

    /// A page of an inbox as it is now.
    async fn page_of(&self, reader: &str, limit: usize) -> Result<Inbox> {
        let mut patience = self.patience();
        loop {
            let look = async { Board::inbox(&self.store().await?, reader, None, limit).await };
            match look.await {
                Ok(page) => return Ok(page),
                Err(error) => patience.bear(error).await?,
            }
        }
    }

    /// The messages of a thread after a number; waits while there are none.
    async fn messages_after(&self, key: &str, after: u64, limit: usize) -> Result<Vec<Message>> {
        let id = IdPrefix::parse("thread", key)?;
        let mut listening = Listening::to(self, [Channel::Thread(key.to_owned())]);
        let mut patience = self.patience();
        loop {
            let look = async {
                let store = self.store().await?;
                let thread = Board::find(&store, &id).await?;
                let messages = Board::messages(&store, &thread, after, limit).await?;
                if messages.is_empty() {
                    listening.wait(None).await?;
                }
                Ok(messages)
            };
            match look.await {
                Ok(messages) if !messages.is_empty() => return Ok(messages),
                Ok(_) => patience = self.patience(),
                Err(error) => patience.bear(error).await?,
            }
        }
    }
}
