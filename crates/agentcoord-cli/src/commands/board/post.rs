//! `board post`.

use agentcoord::core::board::{OpenThread, ThreadPriority};

use super::addressee;
use super::show;
use super::view::PostedView;
use crate::context::Context;
use crate::error::CliError;
use crate::identity::Unknown;
use crate::{input, principal};

/// The thread.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What it is about, in one line
    title: String,
    /// The first message; - reads stdin. Agents and roles that it mentions as @NAME receive it
    message: Option<String>,
    /// Whom it is for: @NAME is an agent, else everybody with that role; human:NAME is a person. May be given several times
    #[arg(long, value_name = "@WHO", value_parser = addressee::parse)]
    to: Vec<String>,
    /// high, normal or low
    #[arg(long, value_name = "WORD", default_value = "normal", value_parser = priority)]
    priority: ThreadPriority,
    /// What it is about
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// A path or task that it is about
    #[arg(long, value_name = "PATH|ID")]
    link: Option<String>,
    /// Post once: the same key within 24 h returns the first thread
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

pub(super) fn priority(word: &str) -> Result<ThreadPriority, String> {
    ThreadPriority::parse(word).map_err(|_| "known are high, normal, low".to_owned())
}

/// Opens a thread.
///
/// # Errors
/// `INVALID` for bad input; `NOT_FOUND` for an addressee whom nobody knows.
pub(crate) async fn run(context: &Context, args: Args) -> Result<PostedView, CliError> {
    let text = args.message.map(|typed| input::text("message", typed)).transpose()?;
    // Who is addressed receives a message: without one, the title says it all.
    let text = text.or_else(|| (!args.to.is_empty()).then(|| args.title.clone()));
    let mut body = OpenThread::new(args.title, text);
    body.priority = args.priority;
    body.tags = args.tags;
    body.link = args.link;
    body.to = args.to;
    body.key = args.key;
    let actor = principal::speaker(context, Unknown::Register).await?;
    let posted = addressee::send(context, &actor, body.seal()).await?;
    Ok(PostedView::new(show::of(context, &posted.thread).await?, posted))
}
