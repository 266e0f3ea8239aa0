//! `board reopen`.

use agentcoord::core::board::ThreadStatus;

use super::update;
use super::view::PostedView;
use crate::context::Context;
use crate::error::CliError;

/// Which thread.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its id, or a unique prefix
    id: String,
    /// Say why, in the thread; - reads stdin
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
}

/// Opens a thread again.
///
/// # Errors
/// `NOT_FOUND`, `AMBIGUOUS`.
pub(crate) async fn run(context: &Context, args: Args) -> Result<PostedView, CliError> {
    update::move_to(context, &args.id, ThreadStatus::Active, args.message).await
}
