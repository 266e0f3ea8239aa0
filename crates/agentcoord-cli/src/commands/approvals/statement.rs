//! `approvals statement`: what a person signs, for a signature that is made elsewhere.

use agentcoord::SIGNATURE_NAMESPACE;
use agentcoord::core::approval::Verdict;
use serde::Serialize;

use super::show;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Page, Render};

/// On what, and which verdict.
#[derive(Debug, clap::Args)]
#[command(after_help = "To vote with a key that is not on this machine:\n  \
agentcoord approvals statement ID > vote\n  \
ssh-keygen -Y sign -n agentcoord-approval -f KEY vote\n  \
agentcoord approve ID --by NAME --signature vote.sig")]
pub(crate) struct Args {
    /// Its id, or a unique prefix
    id: String,
    /// What is signed
    #[arg(value_name = "VERDICT", value_parser = verdict, default_value = "approve")]
    verdict: Verdict,
}

fn verdict(word: &str) -> Result<Verdict, String> {
    match word {
        "approve" => Ok(Verdict::Approve),
        "reject" => Ok(Verdict::Reject),
        _ => Err("it is approve or reject".to_owned()),
    }
}

/// The text to sign.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    statement: String,
    namespace: &'static str,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        for line in self.statement.lines() {
            page.line(line);
        }
    }
}

/// Shows it.
///
/// # Errors
/// `NOT_FOUND`, `AMBIGUOUS`.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let approval = show::of(context, &args.id).await?.approval;
    let statement = agentcoord::statement(context.connection().await?.namespace(), &approval, args.verdict);
    Ok(View { statement, namespace: SIGNATURE_NAMESPACE })
}
