//! `board reply`.

use agentcoord::core::board::{PostMessage, ThreadStatus};

use super::addressee;
use super::show;
use super::view::PostedView;
use crate::context::Context;
use crate::error::CliError;
use crate::identity::Unknown;
use crate::{input, principal};

/// What to say, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The thread's id, or a unique prefix
    id: String,
    /// The message; - reads stdin. Agents and roles that it mentions as @NAME receive it
    message: String,
    /// Whom it is for beside those who take part, as in `board post`. May be given several times
    #[arg(long, value_name = "@WHO", value_parser = addressee::parse)]
    to: Vec<String>,
    /// Close the thread with it
    #[arg(long)]
    resolve: bool,
    /// Post once: the same key within 24 h returns the first message
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// Appends a message.
///
/// # Errors
/// `NOT_FOUND`, for the thread and for an addressee; `AMBIGUOUS`.
pub(crate) async fn run(context: &Context, args: Args) -> Result<PostedView, CliError> {
    let text = input::text("message", args.message)?;
    // Short prefixes are looked up here; the rules know ids only from eight digits on.
    let thread = show::of(context, &args.id).await?;
    let actor = principal::speaker(context, Unknown::Register).await?;
    let status = args.resolve.then_some(ThreadStatus::Resolved);
    let body = PostMessage { to: args.to, key: args.key, status, ..PostMessage::new(thread.key, text) };
    let posted = addressee::say(context, &actor, body).await?;
    Ok(PostedView::new(show::of(context, &posted.thread).await?, posted))
}
