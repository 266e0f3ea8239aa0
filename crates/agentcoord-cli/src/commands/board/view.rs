//! A thread as answers show it.

use agentcoord::core::board::{Message, Posted, Thread, ThreadPriority, ThreadStatus};
use serde::Serialize;

use crate::output::{Grid, Page, Render, Stamp, Tone, ago};

/// A thread.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ThreadView {
    /// Short id.
    pub(crate) id: String,
    pub(super) title: String,
    status: ThreadStatus,
    priority: ThreadPriority,
    posted_by: String,
    posted_at: Stamp,
    resolved_at: Option<Stamp>,
    tags: Vec<String>,
    link: Option<String>,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<MessageView>>,
}

/// A message.
#[derive(Clone, Debug, Serialize)]
pub(super) struct MessageView {
    id: String,
    pub(super) number: u64,
    pub(super) author: String,
    to: Vec<String>,
    pub(super) content: String,
    pub(super) posted_at: Stamp,
}

impl From<Thread> for ThreadView {
    fn from(thread: Thread) -> Self {
        Self {
            id: thread.key,
            title: thread.title,
            status: thread.status,
            priority: thread.priority,
            posted_by: thread.posted_by,
            posted_at: Stamp(thread.posted_at),
            resolved_at: thread.resolved_at.map(Stamp),
            tags: thread.tags,
            link: thread.link,
            count: thread.count,
            messages: None,
        }
    }
}

impl From<Message> for MessageView {
    fn from(message: Message) -> Self {
        Self {
            id: message.id.to_string(),
            number: message.number,
            author: message.author,
            to: message.to,
            content: message.content,
            posted_at: Stamp(message.posted_at),
        }
    }
}

/// Threads as a table.
pub(super) fn grid(items: &[ThreadView]) -> Grid {
    let mut grid = Grid::new(["ID", "PRIO", "TITLE", "BY", "AGE", "MESSAGES", "STATUS", "TAGS", "ABOUT"]);
    for thread in items {
        let tone = match (thread.status, thread.priority) {
            (ThreadStatus::Resolved, _) => Tone::Faint,
            (_, ThreadPriority::High) => Tone::Warn,
            _ => Tone::Plain,
        };
        let normal = thread.priority == ThreadPriority::Normal;
        let active = thread.status == ThreadStatus::Active;
        let cells = [
            thread.id.clone(),
            if normal { String::new() } else { thread.priority.word().to_owned() },
            thread.title.clone(),
            thread.posted_by.clone(),
            ago(thread.posted_at),
            thread.count.to_string(),
            if active { String::new() } else { thread.status.word().to_owned() },
            thread.tags.join(", "),
            thread.link.clone().unwrap_or_default(),
        ];
        grid.row(tone, cells);
    }
    grid
}

/// One thread.
#[derive(Debug, Serialize)]
pub(crate) struct OneThread {
    thread: ThreadView,
}

impl OneThread {
    /// A thread with its messages.
    pub(super) fn full(thread: Thread, messages: Vec<Message>) -> Self {
        let messages = messages.into_iter().map(MessageView::from).collect();
        Self { thread: ThreadView { messages: Some(messages), ..thread.into() } }
    }
}

impl Render for OneThread {
    fn table(&self, page: &mut Page) {
        let thread = &self.thread;
        page.fields([
            ("id", Some(thread.id.clone())),
            ("title", Some(thread.title.clone())),
            ("status", Some(thread.status.word().to_owned())),
            ("priority", Some(thread.priority.word().to_owned())),
            ("tags", (!thread.tags.is_empty()).then(|| thread.tags.join(", "))),
            ("about", thread.link.clone()),
            ("posted", Some(format!("{} by {}", ago(thread.posted_at), thread.posted_by))),
            ("resolved", thread.resolved_at.map(ago)),
        ]);
        for message in thread.messages.iter().flatten() {
            page.gap();
            page.toned(Tone::Faint, format!("#{} {}, {}", message.number, message.author, ago(message.posted_at)));
            page.block(&message.content, 2);
        }
    }

    fn ids(&self) -> Vec<String> {
        vec![self.thread.id.clone()]
    }
}

/// What came of posting.
#[derive(Debug, Serialize)]
pub(crate) struct PostedView {
    thread: ThreadView,
    /// Messages in the thread; the number of the one that was posted.
    number: u64,
    duplicate: bool,
    away: Vec<String>,
}

impl PostedView {
    pub(super) fn new(thread: Thread, posted: Posted) -> Self {
        Self { thread: thread.into(), number: posted.messages, duplicate: posted.duplicate, away: posted.away }
    }
}

impl Render for PostedView {
    fn table(&self, page: &mut Page) {
        page.line(format!("{}  {}", self.thread.id, self.thread.title));
        if self.duplicate {
            page.toned(Tone::Faint, "posted before under this key");
        }
        if !self.away.is_empty() {
            let who = self.away.join(", ");
            page.toned(Tone::Warn, format!("away: {who} (finds it on coming back)"));
        }
    }

    fn ids(&self) -> Vec<String> {
        vec![self.thread.id.clone()]
    }
}
