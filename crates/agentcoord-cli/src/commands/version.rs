//! `version`.

use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::output::{Page, Render};

/// No arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args;

/// The version.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    name: &'static str,
    version: &'static str,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        page.line(format!("{} {}", self.name, self.version));
    }

    fn ids(&self) -> Vec<String> {
        vec![self.version.to_owned()]
    }
}

/// Tells the version.
///
/// # Errors
/// None.
pub(crate) async fn run(_: &Context, _: Args) -> Result<View, CliError> {
    Ok(View { name: "agentcoord", version: env!("CARGO_PKG_VERSION") })
}
