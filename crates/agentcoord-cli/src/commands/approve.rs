//! `approve`: a person says yes.

use agentcoord::core::approval::Verdict;

use super::approvals::vote::{self, View, Voting};
use crate::context::Context;
use crate::error::CliError;

/// What is approved, and by whom.
#[derive(Debug, clap::Args)]
#[command(after_help = "For people: refused in shells that belong to agents. Under one user account this is a fence, \
not a wall; whoever sets the environment can climb it.")]
pub(crate) struct Args {
    #[command(flatten)]
    voting: Voting,
    /// A remark
    #[arg(short = 'm', long = "note", value_name = "NOTE")]
    note: Option<String>,
}

/// Approves.
///
/// # Errors
/// As [`vote::cast`].
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    vote::cast(context, Verdict::Approve, args.voting, args.note).await
}
