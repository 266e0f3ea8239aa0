//! The tasks that lines depend on: looked up before anything is written.

use std::collections::BTreeMap;

use agentcoord::core::ids::IdPrefix;
use agentcoord::core::store::Backend;
use agentcoord::core::task::NewTask;
use agentcoord::{Error, Store};

use super::LISTED;
use crate::error::CliError;

/// The ids that lines name, each with the lines.
#[derive(Debug, Default)]
pub(super) struct Dependencies(BTreeMap<String, Vec<usize>>);

impl Dependencies {
    pub(super) fn note(&mut self, line: usize, task: &NewTask) -> Result<(), CliError> {
        for typed in &task.depends_on {
            let id = IdPrefix::parse("depends_on", typed)?;
            self.0.entry(id.as_str().to_owned()).or_default().push(line);
        }
        Ok(())
    }

    /// The lines that name a task that is not there, as far as they are listed.
    pub(super) async fn missing(mut self, store: &Store) -> Result<Vec<(usize, String)>, CliError> {
        let mut bad = Vec::new();
        while !self.0.is_empty() && bad.len() <= LISTED {
            let ids: Result<Vec<_>, _> = self.0.keys().map(|id| IdPrefix::parse("depends_on", id)).collect();
            match store.tasks().keys(&ids?).await {
                Ok(_) => break,
                Err(Error::NotFound { id, .. }) if self.0.contains_key(&id) => {
                    // They are looked up in order: those before it are there.
                    self.0 = self.0.split_off(&id);
                    let named = self.0.remove(&id).unwrap_or_default();
                    bad.extend(named.into_iter().map(|line| (line, format!("depends_on: no task `{id}`"))));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(bad)
    }
}
