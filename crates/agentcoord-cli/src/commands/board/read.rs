//! `board read`: the caller's inbox. What was written out counts as read; what was not, does not.

use std::time::Duration;

use agentcoord::core::board::Mail;
use serde::Serialize;
use tokio::time::Instant;

use super::view::MessageView;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::identity::Unknown;
use crate::output::{Page, Receipt, Render, Tone, ago, json};
use crate::{duration, principal};

/// How much, and whether it counts as read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0, also when nothing is there; 6 when nothing came within --wait.")]
pub(crate) struct Args {
    /// Only look: everything stays unread
    #[arg(long)]
    peek: bool,
    /// At most so many, the oldest first
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// When there is nothing, wait for it so long
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, allow_hyphen_values = true)]
    wait: Option<Duration>,
}

/// A message with the thread it belongs to.
#[derive(Debug, Serialize)]
struct MailView {
    thread: String,
    title: String,
    message: MessageView,
}

impl From<Mail> for MailView {
    fn from(mail: Mail) -> Self {
        Self { thread: mail.thread.key, title: mail.thread.title, message: mail.message.into() }
    }
}

/// A page of the inbox.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    items: Vec<MailView>,
    more: bool,
    #[serde(skip)]
    receipt: Option<Receipt>,
    #[serde(skip)]
    waited: bool,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        if self.items.is_empty() {
            page.line("nothing new for you");
        }
        for mail in &self.items {
            page.gap();
            let message = &mail.message;
            page.line(format!("{}  {}", mail.thread, mail.title));
            page.toned(Tone::Faint, format!("#{} {}, {}", message.number, message.author, ago(message.posted_at)));
            page.block(&message.content, 2);
        }
        if self.more {
            page.gap();
            page.toned(Tone::Faint, "more   agentcoord board read");
        }
    }

    fn ids(&self) -> Vec<String> {
        self.items.iter().map(|mail| mail.thread.clone()).collect()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        json::lines(&self.items)
    }

    fn exit(&self) -> Exit {
        if self.waited && self.items.is_empty() { Exit::Nothing } else { Exit::Done }
    }

    fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }
}

/// Reads the inbox.
///
/// # Errors
/// `NO_AGENT` when an agent's shell does not say whose inbox it is.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let actor = principal::speaker(context, Unknown::Register).await?;
    let reader = principal::name(context, &actor).await?;
    let connection = context.connection().await?;
    let deadline = Some(Instant::now() + args.wait.unwrap_or_default());
    let inbox = context.interruptible(connection.inbox(&reader, args.limit.into(), deadline)).await?;
    let receipt = (!args.peek && !inbox.items.is_empty()).then_some(Receipt { actor, up_to: inbox.up_to });
    let items = inbox.items.into_iter().map(MailView::from).collect();
    Ok(View { items, more: inbox.more, receipt, waited: args.wait.is_some() })
}
