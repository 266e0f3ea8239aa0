//! `locks revoke`: a person takes a file from whoever holds it.

use agentcoord::core::lock::RevokedGrant;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::fence;
use crate::identity::human;
use crate::output::{Page, Render};

/// Which file, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A path in the worktree as `locks` lists it, or an @name
    path: String,
    /// Why; the audit log keeps it
    #[arg(short = 'm', long, value_name = "TEXT")]
    reason: String,
    /// Your name; nothing: the login name
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// What was taken, and from whom.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    revoked: Vec<Item>,
}

#[derive(Debug, Serialize)]
struct Item {
    token: u64,
    holder: Holder,
    paths: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Holder {
    id: String,
    name: String,
}

impl From<RevokedGrant> for Item {
    fn from(grant: RevokedGrant) -> Self {
        Self {
            token: grant.token.0,
            holder: Holder { id: grant.agent, name: grant.name },
            paths: grant.paths.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        for item in &self.revoked {
            page.line(format!("revoked {} from {} (token {})", item.paths.join(", "), item.holder.name, item.token));
        }
    }

    fn ids(&self) -> Vec<String> {
        self.revoked.iter().map(|item| item.token.to_string()).collect()
    }
}

/// Revokes.
///
/// # Errors
/// `HUMANS_ONLY` in an agent's shell, `NOT_FOUND` when nobody holds the path.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    fence::people_only("locks revoke")?;
    let path = context.lock_path(&args.path)?;
    let by = human(args.by.as_deref());
    let revoked = context.connection().await?.revoke_lock(&by, &path, &args.reason).await?;
    Ok(View { revoked: revoked.grants.into_iter().map(Item::from).collect() })
}
