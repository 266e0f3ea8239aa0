//! The board as an agent uses it.

use std::future::IntoFuture;

use agentcoord_core::Result;
use agentcoord_core::board::{OpenThread, PostMessage, ThreadPriority};
use agentcoord_core::ids::Id;

use crate::client::{CoordinationClient, Pending};

impl CoordinationClient {
    /// Describes a new thread with a first message; awaiting it posts it.
    pub fn post_thread(&self, title: impl Into<String>, message: impl Into<String>) -> ThreadBuilder<'_> {
        ThreadBuilder { client: self, body: OpenThread::new(title, Some(message.into())) }
    }

    /// Appends a message to a thread. Returns the number of messages in it.
    ///
    /// # Errors
    /// `NotFound` for an unknown thread.
    pub async fn reply(&self, thread: impl Into<String> + Send, message: impl Into<String> + Send) -> Result<u64> {
        let body = PostMessage { thread: thread.into(), message: Id::random(), text: message.into() };
        Ok(self.run(body).await?.messages)
    }
}

/// A thread to be posted. Await it: it resolves to the thread's short id.
#[derive(Debug)]
#[must_use = "a thread is posted when it is awaited"]
pub struct ThreadBuilder<'a> {
    client: &'a CoordinationClient,
    body: OpenThread,
}

impl ThreadBuilder<'_> {
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
}

impl<'a> IntoFuture for ThreadBuilder<'a> {
    type Output = Result<String>;
    type IntoFuture = Pending<'a, String>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.client.run(self.body).await?.thread) })
    }
}
