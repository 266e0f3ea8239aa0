//! `approvals show`.

use agentcoord::core::approval::ApprovalDetail;
use agentcoord::core::ids::IdPrefix;
use agentcoord::core::store::Backend;

use super::view::OneApproval;
use crate::context::Context;
use crate::error::CliError;

/// Which approval.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its id, or a unique prefix
    id: String,
}

/// Shows an approval.
///
/// # Errors
/// `NOT_FOUND`, `AMBIGUOUS`.
pub(crate) async fn run(context: &Context, args: Args) -> Result<OneApproval, CliError> {
    look(context, &args.id).await
}

/// An approval to be looked at.
///
/// # Errors
/// As [`run`].
pub(super) async fn look(context: &Context, id: &str) -> Result<OneApproval, CliError> {
    let detail = of(context, id).await?;
    OneApproval::look(context.connection().await?, detail)
}

/// The approval of an id, with the exact action.
///
/// # Errors
/// As [`run`].
pub(super) async fn of(context: &Context, id: &str) -> Result<ApprovalDetail, CliError> {
    Ok(context.store().await?.approvals().show(&IdPrefix::parse("id", id)?).await?)
}
