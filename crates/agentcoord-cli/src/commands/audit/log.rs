//! `audit log`.

use agentcoord::audit::Entry;
use agentcoord::core::audit::{AppendAudit, AuditEntry};

use super::view::{self, EntryView, OneEntry};
use crate::context::Context;
use crate::error::CliError;
use crate::identity::Unknown;
use crate::output::Stamp;
use crate::principal;

/// The decision.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What kind, as in "architecture"
    #[arg(value_name = "TYPE")]
    decision_type: String,
    /// What it is about
    context: String,
    /// Why
    reason: String,
}

/// Logs a decision.
///
/// # Errors
/// `INVALID` for empty fields.
pub(crate) async fn run(context: &Context, args: Args) -> Result<OneEntry, CliError> {
    let actor = principal::speaker(context, Unknown::Register).await?;
    let who = principal::name(context, &actor).await?;
    let entry = Entry::new(who, args.decision_type, args.context, args.reason).encode()?;
    let appended = context.connection().await?.run(&actor, AppendAudit { entry: entry.clone() }).await?;
    view::share(context).await?;
    Ok(OneEntry { entry: EntryView::read(&AuditEntry { seq: appended.seq, at: Stamp::now().0, entry })? })
}
