//! `reject`: a person says no.

use agentcoord::core::approval::Verdict;

use super::approvals::vote::{self, View};
use crate::context::Context;
use crate::error::CliError;

/// What is rejected, by whom and why.
#[derive(Debug, clap::Args)]
#[command(after_help = "For people: refused in shells that belong to agents. Under one user account this is a fence, \
not a wall; whoever sets the environment can climb it.")]
pub(crate) struct Args {
    /// Approvals, by id or unique prefix
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Who rejects [default: the login name]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Why
    #[arg(short = 'm', long = "reason", value_name = "REASON")]
    reason: String,
}

/// Rejects.
///
/// # Errors
/// As [`vote::cast`].
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    vote::cast(context, Verdict::Reject, &args.ids, args.by.as_deref(), Some(args.reason)).await
}
