//! `reject`: a person says no.

use agentcoord::core::approval::Verdict;

use super::approvals::vote::{self, View, Voting};
use crate::context::Context;
use crate::error::CliError;

/// What is rejected, by whom and why.
#[derive(Debug, clap::Args)]
#[command(after_help = "For people: refused in shells that belong to agents. Under one user account this is a fence, \
not a wall; whoever sets the environment can climb it.")]
pub(crate) struct Args {
    #[command(flatten)]
    voting: Voting,
    /// Why
    #[arg(short = 'm', long = "reason", value_name = "REASON")]
    reason: String,
}

/// Rejects.
///
/// # Errors
/// As [`vote::cast`].
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    vote::cast(context, Verdict::Reject, args.voting, Some(args.reason)).await
}
