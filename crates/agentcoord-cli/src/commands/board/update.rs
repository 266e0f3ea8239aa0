//! `board update`.

use agentcoord::core::board::{PostMessage, ThreadPriority, ThreadStatus, UpdateThread};

use super::view::PostedView;
use super::{addressee, list, post, show};
use crate::context::Context;
use crate::error::CliError;
use crate::identity::Unknown;
use crate::{input, principal};

/// Which thread, and what about it.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args(["status", "priority", "tags"]))]
pub(crate) struct Args {
    /// Its id, or a unique prefix
    id: String,
    /// active, waiting or resolved
    #[arg(long, value_name = "STATE", value_parser = list::status)]
    status: Option<ThreadStatus>,
    /// high, normal or low
    #[arg(long, value_name = "WORD", value_parser = post::priority)]
    priority: Option<ThreadPriority>,
    /// What it is about, instead of its tags so far; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
}

/// Changes a thread.
///
/// # Errors
/// `NOT_FOUND`, `AMBIGUOUS`.
pub(crate) async fn run(context: &Context, args: Args) -> Result<PostedView, CliError> {
    let thread = show::of(context, &args.id).await?;
    let actor = principal::speaker(context, Unknown::Register).await?;
    let tags = (!args.tags.is_empty()).then_some(args.tags);
    let body = UpdateThread { thread: thread.key, status: args.status, priority: args.priority, tags };
    let posted = addressee::send(context, &actor, body).await?;
    Ok(PostedView::new(show::of(context, &posted.thread).await?, posted))
}

/// Moves a thread to another state, with a message or without.
///
/// # Errors
/// As [`run`].
pub(super) async fn move_to(
    context: &Context,
    id: &str,
    status: ThreadStatus,
    message: Option<String>,
) -> Result<PostedView, CliError> {
    let text = message.map(|typed| input::text("message", typed)).transpose()?;
    let thread = show::of(context, id).await?;
    let actor = principal::speaker(context, Unknown::Register).await?;
    let posted = match text {
        Some(text) => {
            let body = PostMessage { status: Some(status), ..PostMessage::new(thread.key, text) };
            addressee::say(context, &actor, body).await?
        }
        None => addressee::send(context, &actor, UpdateThread::to(thread.key, status)).await?,
    };
    Ok(PostedView::new(show::of(context, &posted.thread).await?, posted))
}
