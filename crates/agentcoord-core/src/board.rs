//! The board: threads with appended messages.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::{Error, Result};
use crate::ids::{Id, IdPrefix};
use crate::limits;
use crate::op::{Blob, Op, Verb};
use crate::task::Page;
use crate::time::WallMs;

/// How urgent a thread is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThreadPriority {
    /// First in listings.
    High,
    /// The default.
    #[default]
    Normal,
    /// Last in listings.
    Low,
}

/// The state of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThreadStatus {
    /// Open.
    #[default]
    Active,
    /// Waits for somebody.
    Waiting,
    /// Closed.
    Resolved,
}

macro_rules! words {
    ($ty:ident, $field:literal, $($variant:ident = $word:literal),+) => {
        impl $ty {
            /// All values.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value as a word.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value of a word.
            pub fn parse(word: &str) -> Result<Self> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(Error::invalid($field, word, [$($word),+].join(", "))),
                }
            }
        }
    };
}
words!(ThreadPriority, "priority", High = "high", Normal = "normal", Low = "low");
words!(ThreadStatus, "status", Active = "active", Waiting = "waiting", Resolved = "resolved");

/// Opens a thread, with a first message or without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenThread {
    /// The thread's id, made by the client.
    pub id: Id,
    /// One line.
    pub title: String,
    /// How urgent it is.
    pub priority: ThreadPriority,
    /// What it is about.
    pub tags: Vec<String>,
    /// A path or task that it is about.
    pub link: Option<String>,
    /// Id of the first message.
    pub message: Option<Id>,
    /// Text of the first message; stored as a blob.
    #[serde(skip)]
    pub text: Option<String>,
}

impl OpenThread {
    /// A thread with a title and perhaps a first message.
    #[must_use]
    pub fn new(title: impl Into<String>, text: Option<String>) -> Self {
        Self {
            id: Id::random(),
            title: title.into(),
            priority: ThreadPriority::Normal,
            tags: Vec::new(),
            link: None,
            message: text.is_some().then(Id::random),
            text,
        }
    }
}

impl Verb for OpenThread {
    const NAME: &'static str = "board/open";
    type Reply = Posted;

    fn validate(&self) -> Result<()> {
        check::line("title", &self.title, limits::TITLE_BYTES)?;
        check::names("tags", &self.tags, limits::TAGS)?;
        check::note_opt("link", self.link.as_deref(), limits::PATH_BYTES)?;
        message(self.text.as_deref())
    }

    fn blobs(&self) -> Vec<Blob> {
        message_blob(self.message.as_ref(), self.text.as_deref())
    }
}

/// Appends a message to a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostMessage {
    /// The thread, by what was typed.
    pub thread: String,
    /// The message's id, made by the client.
    pub message: Id,
    /// The text; stored as a blob.
    #[serde(skip)]
    pub text: String,
}

impl Verb for PostMessage {
    const NAME: &'static str = "board/post";
    type Reply = Posted;

    fn validate(&self) -> Result<()> {
        IdPrefix::parse("thread", &self.thread)?;
        message(Some(&self.text))
    }

    fn blobs(&self) -> Vec<Blob> {
        message_blob(Some(&self.message), Some(&self.text))
    }
}

fn message(text: Option<&str>) -> Result<()> {
    match text {
        Some(t) if t.trim().is_empty() => Err(Error::invalid("message", t, "some text")),
        Some(t) => check::blob("message", Some(t.as_bytes())),
        None => Ok(()),
    }
}

fn message_blob(id: Option<&Id>, text: Option<&str>) -> Vec<Blob> {
    id.zip(text).map(|(id, text)| Blob::new("message", id, "text", text.as_bytes())).into_iter().collect()
}

/// The outcome of opening or posting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// The thread's short id.
    pub thread: String,
    /// Messages in the thread now.
    pub messages: u64,
}

/// Sets the state of a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveThread {
    /// The thread, by what was typed.
    pub thread: String,
    /// The new state.
    pub status: ThreadStatus,
}

impl Verb for ResolveThread {
    const NAME: &'static str = "board/resolve";
    type Reply = Posted;

    fn validate(&self) -> Result<()> {
        IdPrefix::parse("thread", &self.thread).map(drop)
    }
}

/// A thread as listings show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its id.
    pub id: Id,
    /// Its short id.
    pub key: String,
    /// One line.
    pub title: String,
    /// Its state.
    pub status: ThreadStatus,
    /// How urgent it is.
    pub priority: ThreadPriority,
    /// What it is about.
    pub tags: Vec<String>,
    /// A path or task that it is about.
    pub link: Option<String>,
    /// Who opened it.
    pub posted_by: String,
    /// When it was opened.
    pub posted_at: WallMs,
    /// When it was resolved.
    pub resolved_at: Option<WallMs>,
    /// How many messages it has.
    pub count: u64,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: Id,
    /// Its place in the thread, from 1.
    pub number: u64,
    /// Who wrote it.
    pub author: String,
    /// The text.
    pub content: String,
    /// When.
    pub posted_at: WallMs,
}

/// Which threads to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadFilter {
    /// In any of these states; empty: active and waiting.
    pub statuses: Vec<ThreadStatus>,
    /// At most this many.
    pub limit: usize,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// The board.
#[async_trait]
pub trait Board: Send + Sync {
    /// Opens a thread.
    async fn open(&self, op: Op<OpenThread>) -> Result<Posted>;

    /// Appends a message.
    ///
    /// # Behavior
    /// - `concurrent_posts_are_all_kept`, in one order for everyone.
    async fn post(&self, op: Op<PostMessage>) -> Result<Posted>;

    /// Sets the state of a thread.
    async fn resolve(&self, op: Op<ResolveThread>) -> Result<Posted>;

    /// Threads: urgent first, then newest first.
    async fn list(&self, filter: &ThreadFilter) -> Result<Page<Thread>>;

    /// A thread by short id or another unique form.
    async fn find(&self, id: &IdPrefix) -> Result<Thread>;

    /// The messages of a thread after number `after`, at most `limit`.
    async fn messages(&self, thread: &Thread, after: u64, limit: usize) -> Result<Vec<Message>>;
}
