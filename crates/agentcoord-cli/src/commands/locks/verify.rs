//! `locks verify`: whether a fencing token is still the one that protects a path.

use agentcoord::core::ids::Token;
use agentcoord::core::store::Backend;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{Page, Render, Tone};

/// Which token on which path.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The path, or an @name
    #[arg(value_name = "PATH")]
    path: String,
    /// The token that acquire answered, or that `locks run` exports as AGENTCOORD_FENCE
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    token: u64,
}

/// The answer: stale is an outcome, not an error.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    path: String,
    token: u64,
    current: bool,
    current_token: Option<u64>,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        if self.current {
            page.line(format!("token {} protects {}", self.token, self.path));
            return;
        }
        let now = match self.current_token {
            Some(token) => format!("{token} does"),
            None => "nothing does".to_owned(),
        };
        page.toned(Tone::Bad, format!("stale: token {} does not protect {} any more; {now}", self.token, self.path));
    }

    fn ids(&self) -> Vec<String> {
        self.current_token.iter().map(ToString::to_string).collect()
    }

    fn exit(&self) -> Exit {
        if self.current { Exit::Done } else { Exit::Stale }
    }
}

/// Verifies.
///
/// # Errors
/// `INVALID` for what is no path.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let path = context.lock_path(&args.path)?;
    let verified = context.store().await?.locks().verify(&path, Token(args.token)).await?;
    Ok(View {
        path: path.to_string(),
        token: args.token,
        current: verified.current,
        current_token: verified.current_token.map(|token| token.0),
    })
}
