//! What xtask says: the part, then `--name value` pairs.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::Outcome;

/// The arguments of one run.
pub(crate) struct Arguments {
    /// What to measure.
    pub(crate) part: String,
    values: HashMap<String, String>,
}

impl Arguments {
    pub(crate) fn read() -> Outcome<Self> {
        let mut words = std::env::args().skip(1);
        let part = words.next().ok_or("which part? Run it by `cargo xtask bench`")?;
        let mut values = HashMap::new();
        while let Some(name) = words.next() {
            // Cargo adds this to every bench that it runs.
            if name == "--bench" {
                continue;
            }
            let name = name.strip_prefix("--").ok_or_else(|| format!("what is {name}?"))?.to_owned();
            let value = words.next().ok_or_else(|| format!("--{name} has no value"))?;
            values.insert(name, value);
        }
        Ok(Self { part, values })
    }

    /// All of them but the part, for another process.
    pub(crate) fn words(&self) -> impl Iterator<Item = String> {
        let others = self.values.iter().filter(|(name, _)| *name != "name");
        others.flat_map(|(name, value)| [format!("--{name}"), value.clone()])
    }

    pub(crate) fn text(&self, name: &str) -> Outcome<&str> {
        self.values.get(name).map(String::as_str).ok_or_else(|| format!("--{name} is missing").into())
    }

    pub(crate) fn number(&self, name: &str) -> Outcome<usize> {
        Ok(self.text(name)?.parse().map_err(|_| format!("--{name} is no number"))?)
    }

    pub(crate) fn path(&self, name: &str) -> Outcome<PathBuf> {
        Ok(self.text(name)?.into())
    }

    /// Rounds after the warm-up.
    pub(crate) fn rounds(&self) -> Outcome<usize> {
        self.number("rounds")
    }

    /// Operations a round and side.
    pub(crate) fn operations(&self) -> Outcome<usize> {
        self.number("operations")
    }
}
