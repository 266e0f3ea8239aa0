//! `approvals wait`: blocks until a person has decided.

use std::time::Duration;

use agentcoord::Asked;
use agentcoord::core::op::Actor;
use tokio::time::Instant;

use super::show;
use super::view::OneApproval;
use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::exit::Exit;
use crate::identity::Unknown;
use crate::principal;

/// Which approval, and how long.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 approved, 5 rejected (or taken up before), 6 not decided in time, \
11 expired or cancelled.")]
pub(crate) struct Args {
    /// Its id, or a unique prefix
    id: String,
    /// At most so long [default: until it is decided or expires]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, allow_hyphen_values = true)]
    timeout: Option<Duration>,
}

/// Waits.
///
/// # Errors
/// `NOT_FOUND`, `AMBIGUOUS`; `NOT_YOURS` for what somebody else has asked for.
pub(crate) async fn run(context: &Context, args: Args) -> Result<OneApproval, CliError> {
    let approval = show::of(context, &args.id).await?.approval;
    let actor = principal::speaker(context, Unknown::NotFound).await?;
    // Whoever gets the yes takes it up: who is only curious must not take it from the one who asked.
    if principal::name(context, &actor).await? != approval.requested_by {
        let message = format!("{} waits for this, and the yes is for one only", approval.requested_by);
        let error = CliError::new(Exit::Refused, "NOT_YOURS", message);
        return Err(error.next("to look at it", format!("agentcoord approvals show {}", approval.key)));
    }
    verdict(context, &actor, &Asked::known_as(approval.key), args.timeout).await
}

/// Waits for the verdict and takes up a yes.
///
/// # Errors
/// Those of the engine; `VOTES_NOT_VERIFIED` when the signatures do not bear the verdict out.
pub(super) async fn verdict(
    context: &Context,
    actor: &Actor,
    asked: &Asked,
    wait: Option<Duration>,
) -> Result<OneApproval, CliError> {
    let connection = context.connection().await?;
    let deadline = wait.map(|wait| Instant::now() + wait);
    let answer = context.interruptible(connection.verdict(actor, asked, deadline)).await?;
    OneApproval::verdict(connection, show::of(context, &answer.key).await?, answer.consumed)
}
