//! `locks renew`: moves the deadline. A grant has one deadline, so it moves for all paths of the acquire.

use std::time::Duration;

use agentcoord::core::lock::RenewLock;
use serde::Serialize;

use super::release::Which;
use super::view::GrantView;
use crate::context::Context;
use crate::duration;
use crate::error::CliError;
use crate::identity::{Unknown, caller};
use crate::output::{Page, Render, json};

/// What to renew, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// So long from now
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration::parse_positive)]
    #[arg(allow_hyphen_values = true)]
    ttl: Duration,
}

/// The grants with their new deadlines.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    items: Vec<GrantView>,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        if self.items.is_empty() {
            page.line("nothing to renew");
        }
        for grant in &self.items {
            grant.table("renewed", page);
        }
    }

    fn ids(&self) -> Vec<String> {
        self.items.iter().map(|grant| grant.handle.clone()).collect()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        json::lines(&self.items)
    }
}

/// Renews.
///
/// # Errors
/// `STALE` for what the caller does not hold.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let caller = caller(context, Unknown::NotFound).await?;
    let connection = context.connection().await?;
    let mut items = Vec::new();
    for (token, _) in args.which.grants(context, &connection.store().await?, &caller).await? {
        let body = RenewLock { token, ttl: Some(duration::millis(args.ttl)) };
        items.push(GrantView::from(connection.run(&caller.actor, body).await?));
    }
    Ok(View { items })
}
