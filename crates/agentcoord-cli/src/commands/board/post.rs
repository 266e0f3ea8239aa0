//! `board post`.

use agentcoord::core::board::{OpenThread, ThreadPriority};

use super::show;
use super::view::OneThread;
use crate::context::Context;
use crate::error::CliError;
use crate::identity::Unknown;
use crate::{input, principal};

/// The thread.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What it is about, in one line
    title: String,
    /// The first message; - reads stdin
    message: Option<String>,
    /// high, normal or low
    #[arg(long, value_name = "WORD", default_value = "normal", value_parser = priority)]
    priority: ThreadPriority,
    /// What it is about
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// A path or task that it is about
    #[arg(long, value_name = "PATH|ID")]
    link: Option<String>,
}

fn priority(word: &str) -> Result<ThreadPriority, String> {
    ThreadPriority::parse(word).map_err(|_| "known are high, normal, low".to_owned())
}

/// Opens a thread.
///
/// # Errors
/// `INVALID` for bad input.
pub(crate) async fn run(context: &Context, args: Args) -> Result<OneThread, CliError> {
    let text = args.message.map(|typed| input::text("message", typed)).transpose()?;
    let mut body = OpenThread::new(args.title, text);
    body.priority = args.priority;
    body.tags = args.tags;
    body.link = args.link;
    let actor = principal::speaker(context, Unknown::Register).await?;
    let posted = context.connection().await?.run(&actor, body).await?;
    Ok(OneThread::brief(show::of(context, &posted.thread).await?))
}
