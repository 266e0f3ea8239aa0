//! `approvals cancel`.

use agentcoord::core::approval::CancelApproval;

use super::show;
use super::view::OneApproval;
use crate::context::Context;
use crate::error::CliError;
use crate::identity::Unknown;
use crate::principal;

/// Which approval.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its id, or a unique prefix
    id: String,
}

/// Calls an own request off.
///
/// # Errors
/// `STALE` when it is somebody else's, `WRONG_STATE` when it is decided.
pub(crate) async fn run(context: &Context, args: Args) -> Result<OneApproval, CliError> {
    let key = show::of(context, &args.id).await?.approval.key;
    let actor = principal::speaker(context, Unknown::NotFound).await?;
    context.connection().await?.run(&actor, CancelApproval { approval: key.clone() }).await?;
    show::look(context, &key).await
}
