//! The board: threads with appended messages, and the inboxes of those whom they are for.

pub mod address;

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
    /// Whom the first message is for; see [`address`].
    pub to: Vec<String>,
    /// Whom its text mentions: those who are known are addressed too.
    pub mentions: Vec<String>,
    /// An idempotency key: repeating it within 24 h returns the first thread.
    pub key: Option<String>,
    /// Digest of the content, for comparing repeated keys; see [`OpenThread::seal`].
    pub digest: String,
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
            to: Vec::new(),
            mentions: text.as_deref().map(address::mentions).unwrap_or_default(),
            key: None,
            digest: String::new(),
            text,
        }
    }

    /// Fills the digest, without which a key is refused. Nothing may be changed afterwards.
    #[must_use]
    pub fn seal(mut self) -> Self {
        self.digest = digest(&(&self.title, self.priority, &self.tags, &self.link, &self.to, &self.text));
        self
    }
}

impl Verb for OpenThread {
    const NAME: &'static str = "board/open";
    type Reply = Posted;

    fn validate(&self) -> Result<()> {
        check::line("title", &self.title, limits::TITLE_BYTES)?;
        check::names("tags", &self.tags, limits::TAGS)?;
        check::note_opt("link", self.link.as_deref(), limits::PATH_BYTES)?;
        address::validate(&self.to)?;
        if self.text.is_none() && !self.to.is_empty() {
            return Err(Error::invalid("to", self.to.join(", "), "nobody, while there is no message"));
        }
        key(self.key.as_deref(), &self.digest)?;
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
    /// Whom it is for, beside those who take part in the thread; see [`address`].
    pub to: Vec<String>,
    /// Whom its text mentions: those who are known are addressed too.
    pub mentions: Vec<String>,
    /// A new state of the thread; none: as it is.
    pub status: Option<ThreadStatus>,
    /// An idempotency key: repeating it within 24 h returns the first message.
    pub key: Option<String>,
    /// Digest of the content, for comparing repeated keys; see [`PostMessage::seal`].
    pub digest: String,
    /// The text; stored as a blob.
    #[serde(skip)]
    pub text: String,
}

impl PostMessage {
    /// A message to a thread.
    #[must_use]
    pub fn new(thread: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            thread: thread.into(),
            message: Id::random(),
            to: Vec::new(),
            mentions: address::mentions(&text),
            status: None,
            key: None,
            digest: String::new(),
            text,
        }
    }

    /// Fills the digest, without which a key is refused. Nothing may be changed afterwards.
    #[must_use]
    pub fn seal(mut self) -> Self {
        self.digest = digest(&(&self.thread, &self.to, self.status, &self.text));
        self
    }
}

impl Verb for PostMessage {
    const NAME: &'static str = "board/post";
    type Reply = Posted;

    fn validate(&self) -> Result<()> {
        IdPrefix::parse("thread", &self.thread)?;
        address::validate(&self.to)?;
        key(self.key.as_deref(), &self.digest)?;
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

fn digest(content: &impl std::fmt::Debug) -> String {
    crate::op::sha256(format!("{content:?}").as_bytes())[..16].to_owned()
}

fn key(key: Option<&str>, digest: &str) -> Result<()> {
    let Some(key) = key else { return Ok(()) };
    check::line("key", key, limits::KEY_BYTES)?;
    if digest.is_empty() {
        return Err(Error::invalid("digest", digest, "a sealed request"));
    }
    Ok(())
}

/// The outcome of opening, posting or updating.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// The thread's short id.
    pub thread: String,
    /// Messages in the thread now, which is also the number of the message that was posted.
    pub messages: u64,
    /// True when the key was known: nothing was posted by this call.
    pub duplicate: bool,
    /// Those of the addressees who are not here: agents without a session, roles that nobody has. They find the message
    /// when they come back.
    pub away: Vec<String>,
}

/// Changes a thread's state, urgency or tags. What is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateThread {
    /// The thread, by what was typed.
    pub thread: String,
    /// The new state.
    pub status: Option<ThreadStatus>,
    /// The new urgency.
    pub priority: Option<ThreadPriority>,
    /// The new tags.
    pub tags: Option<Vec<String>>,
}

impl UpdateThread {
    /// Moves a thread to another state.
    #[must_use]
    pub fn to(thread: impl Into<String>, status: ThreadStatus) -> Self {
        Self { thread: thread.into(), status: Some(status), ..Self::default() }
    }
}

impl Verb for UpdateThread {
    const NAME: &'static str = "board/update";
    type Reply = Posted;

    fn validate(&self) -> Result<()> {
        check::names("tags", self.tags.as_deref().unwrap_or_default(), limits::TAGS)?;
        IdPrefix::parse("thread", &self.thread).map(drop)
    }
}

/// Says that the actor has read its inbox up to a message. The only thing that makes messages count as read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadInbox {
    /// The number of the last message that was delivered; see [`Inbox::up_to`].
    pub up_to: u64,
}

impl Verb for ReadInbox {
    const NAME: &'static str = "board/read";
    type Reply = InboxRead;

    fn validate(&self) -> Result<()> {
        Ok(())
    }
}

/// The outcome of reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxRead {
    /// Up to where the inbox is read now; it never goes back.
    pub up_to: u64,
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
    /// Its place among all messages of the board.
    pub seq: u64,
    /// Who wrote it.
    pub author: String,
    /// Whose inbox it went to.
    pub to: Vec<String>,
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
    /// With this tag.
    pub tag: Option<String>,
    /// About this path or task.
    pub link: Option<String>,
    /// Opened by this agent or person, as in `agent:ada`.
    pub posted_by: Option<String>,
    /// At most this many.
    pub limit: usize,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// A message in an inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The thread it belongs to.
    pub thread: Thread,
    /// The message.
    pub message: Message,
}

/// A page of an inbox, oldest first. Looking at it does not make it read: [`ReadInbox`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbox {
    /// The messages.
    pub items: Vec<Mail>,
    /// What to say to [`ReadInbox`] once they are delivered.
    pub up_to: u64,
    /// True when more are waiting behind them.
    pub more: bool,
}

/// What to look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// The words as they stand together, whatever their case.
    pub text: String,
    /// At most this many threads.
    pub limit: usize,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// A thread that was found, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The thread.
    pub thread: Thread,
    /// The first place that fits.
    pub place: Place,
}

/// Where something was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the title.
    Title,
    /// In this tag.
    Tag(String),
    /// In a message.
    Message {
        /// Its number in the thread.
        number: u64,
        /// Who wrote it.
        author: String,
        /// The line that fits.
        line: String,
    },
}

/// The board.
#[async_trait]
pub trait Board: Send + Sync {
    /// Opens a thread. Its first message goes to whom it names.
    ///
    /// # Behavior
    /// - `a_thread_is_read_as_it_was_posted`
    /// - `a_thread_id_is_used_once`
    /// - `an_addressed_message_arrives_in_the_inbox`, and `a_role_reaches_everyone_who_has_it`.
    /// - `a_mention_addresses_whom_it_names`, `an_unknown_addressee_is_refused_and_nothing_is_written`.
    /// - `a_repeated_key_posts_once`
    async fn open(&self, op: Op<OpenThread>) -> Result<Posted>;

    /// Appends a message. It goes to everybody who takes part in the thread and to whom it names.
    ///
    /// # Behavior
    /// - `concurrent_posts_are_all_kept`, in one order for everyone.
    /// - `replies_reach_those_who_take_part`, and nobody who only looks on.
    /// - `an_addressee_who_is_gone_is_reported_and_finds_the_message_later`.
    /// - `a_post_wakes_its_addressees_and_those_who_follow_the_thread`.
    async fn post(&self, op: Op<PostMessage>) -> Result<Posted>;

    /// Changes a thread's state, urgency or tags.
    ///
    /// # Behavior
    /// - `a_thread_is_resolved_reopened_and_tagged`
    async fn update(&self, op: Op<UpdateThread>) -> Result<Posted>;

    /// Moves the actor's read mark. It never goes back, and never beyond what was posted.
    ///
    /// # Behavior
    /// - `reading_advances_only_over_what_was_delivered`
    async fn read(&self, op: Op<ReadInbox>) -> Result<InboxRead>;

    /// Threads: urgent first, then newest first. A page may be short of the limit and still have a cursor.
    async fn list(&self, filter: &ThreadFilter) -> Result<Page<Thread>>;

    /// A thread by short id or another unique form.
    async fn find(&self, id: &IdPrefix) -> Result<Thread>;

    /// The messages of a thread after number `after`, at most `limit`.
    async fn messages(&self, thread: &Thread, after: u64, limit: usize) -> Result<Vec<Message>>;

    /// What waits in the inbox of `reader` (`agent:ada`, `human:eve`) after message `after`, or after its read mark.
    ///
    /// # Behavior
    /// - `peeking_consumes_nothing`
    /// - `a_new_agent_begins_with_an_empty_inbox`
    /// - `nobody_hears_their_own_words`
    async fn inbox(&self, reader: &str, after: Option<u64>, limit: usize) -> Result<Inbox>;

    /// How many messages wait in the inbox of `reader`, counted up to `most`.
    async fn unread(&self, reader: &str, most: usize) -> Result<usize>;

    /// Threads whose title, tags or messages contain a text: open ones and resolved ones, in the order of listings.
    ///
    /// The work of one call is bounded: a page may be short of the limit, even empty, and still have a cursor.
    ///
    /// # Behavior
    /// - `search_finds_titles_tags_and_texts`
    async fn search(&self, search: &Search) -> Result<Page<Hit>>;
}
