//! `locks release`: gives files back.

use std::collections::BTreeMap;

use agentcoord::core::ids::Token;
use agentcoord::core::lock::{Lock, LockPath, ReleaseLock};
use agentcoord::core::store::Backend;
use agentcoord::{Error, Noun, Store};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::identity::{Caller, Unknown, caller};
use crate::output::{Page, Render};

/// What to give back.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
}

/// Some of the caller's locks.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// Paths in the worktree, or @names
    #[arg(value_name = "PATH")]
    paths: Vec<String>,
    /// The handle that acquire answered: everything of that call
    #[arg(long, value_name = "HANDLE")]
    handle: Option<u64>,
    /// Everything this agent holds
    #[arg(long)]
    all: bool,
}

impl Which {
    /// The grants, and of each the paths that are meant; none named means all of its paths.
    ///
    /// # Errors
    /// `STALE` for a path that the caller does not hold, naming who does.
    pub(super) async fn grants(
        &self,
        context: &Context,
        store: &Store,
        caller: &Caller,
    ) -> Result<Vec<(Token, Vec<LockPath>)>, CliError> {
        if let Some(handle) = self.handle {
            return Ok(vec![(Token(handle), Vec::new())]);
        }
        let held = store.locks().of_session(&caller.session).await?;
        if self.all {
            return Ok(held.into_iter().map(|lock| (lock.token, Vec::new())).collect());
        }
        let mut grants: BTreeMap<Token, Vec<LockPath>> = BTreeMap::new();
        for word in &self.paths {
            let path = context.lock_path(word)?;
            let Some(lock) = held.iter().find(|lock: &&Lock| lock.paths.contains(&path)) else {
                return Err(not_held(store, &path).await?);
            };
            let paths = grants.entry(lock.token).or_default();
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        Ok(grants.into_iter().collect())
    }
}

async fn not_held(store: &Store, path: &LockPath) -> Result<CliError, CliError> {
    let holder = store.locks().at(path).await?.holders.into_iter().next();
    let (owner, current) = holder.map(|lock| (lock.name, lock.token)).unzip();
    let message = match &owner {
        Some(owner) => format!("{path} is not yours: {owner} holds it"),
        None => format!("{path} is not yours: nobody holds it"),
    };
    let error = CliError::from(Error::Stale { noun: Noun::Lock, id: path.to_string(), owner, current });
    Ok(CliError { message, ..error }.next("what is locked", "agentcoord locks"))
}

/// What was given back.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    released: Vec<String>,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        if self.released.is_empty() {
            page.line("nothing to release");
        }
        for path in &self.released {
            page.line(format!("released {path}"));
        }
    }

    fn ids(&self) -> Vec<String> {
        self.released.clone()
    }
}

/// Gives the files back.
///
/// # Errors
/// `STALE` for what the caller does not hold.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let caller = caller(context, Unknown::NotFound).await?;
    let connection = context.connection().await?;
    let mut released = Vec::new();
    for (token, paths) in args.which.grants(context, &connection.store().await?, &caller).await? {
        let outcome = connection.run(&caller.actor, ReleaseLock { token, paths }).await?;
        released.extend(outcome.paths.iter().map(ToString::to_string));
    }
    Ok(View { released })
}
