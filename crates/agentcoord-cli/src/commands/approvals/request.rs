//! `approvals request`. Exit 0 means yes and nothing else does: `request ... && deploy` is safe.

use std::time::Duration;

use agentcoord::core::approval::RequestApproval;

use super::view::OneApproval;
use super::wait;
use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::identity::Unknown;
use crate::{input, principal};

/// What is asked for.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 approved, 5 rejected, 6 not decided yet, 11 expired or cancelled.")]
pub(crate) struct Args {
    /// The kind of action, as in "deploy"
    #[arg(value_name = "TYPE")]
    action_type: String,
    /// What is to be done, and why
    description: String,
    /// The exact action, as JSON; @FILE reads a file, - reads stdin
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    payload: Option<String>,
    /// The diff that people decide about; @FILE reads a file, - reads stdin
    #[arg(long, value_name = "DIFF", allow_hyphen_values = true)]
    diff: Option<String>,
    /// How many people must say yes
    #[arg(long, value_name = "N", default_value = "1")]
    quorum: u32,
    /// How many people must say no to end it
    #[arg(long, value_name = "N", default_value = "1")]
    rejections: u32,
    /// Who may vote; may be given several times [default: anybody]
    #[arg(long, value_name = "NAME")]
    eligible: Vec<String>,
    /// It expires when nobody decides in so long
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration::parse_positive)]
    #[arg(allow_hyphen_values = true)]
    timeout: Duration,
    /// How long this call waits for the verdict
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration::parse)]
    #[arg(allow_hyphen_values = true)]
    wait: Duration,
    /// Idempotency key: the same key again attaches to the same approval
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// Asks, and waits if that is wanted.
///
/// # Errors
/// `INVALID` for bad input; `REFUSED` when the key was used for something else.
pub(crate) async fn run(context: &Context, args: Args) -> Result<OneApproval, CliError> {
    let mut body = RequestApproval::new(args.action_type, args.description);
    body.payload = args.payload.map(|typed| input::json(context, "payload", typed)).transpose()?;
    body.diff = args.diff.map(|typed| input::text_or_file(context, "diff", typed)).transpose()?;
    body.quorum = args.quorum;
    body.rejections = args.rejections;
    body.eligible = args.eligible;
    body.expires_in = duration::millis(args.timeout);
    body.key = args.key;
    let actor = principal::speaker(context, Unknown::Register).await?;
    let asked = context.connection().await?.request_approval(&actor, body).await?;
    wait::verdict(context, &actor, &asked, Some(args.wait)).await
}
