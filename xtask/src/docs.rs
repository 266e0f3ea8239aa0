//! `docs`: pages under `docs/` that are made from the sources. Each is a function that returns its text.

use std::fmt::Write;
use std::fs;

use anyhow::{Result, bail};

use crate::{command, lua, report, verbs};

/// A page's path, and what makes its text.
type Page = (&'static str, fn() -> Result<String>);

const PAGES: [Page; 1] = [("docs/verbs.md", verbs_page)];

pub(crate) fn write() -> Result<()> {
    for (path, page) in PAGES {
        fs::write(command::root().join(path), page()?)?;
        report::line(path);
    }
    Ok(())
}

/// Fails when a page is not what its sources make.
pub(crate) fn check() -> Result<()> {
    for (path, page) in PAGES {
        let stored = fs::read_to_string(command::root().join(path)).unwrap_or_default();
        if stored != page()? {
            bail!("{path} is not current; run: cargo xtask docs");
        }
    }
    Ok(())
}

/// Every verb with what it says of itself and where its two dialects stand.
fn verbs_page() -> Result<String> {
    let mut text = String::from("# Verbs\n\nMade from the sources by `cargo xtask docs`; do not edit.\n\n");
    text.push_str("Every mutation is one of these, under the same name as a request type and as a rule of the machine");
    text.push_str(" (`crates/agentcoord-core/src/machine/<noun>.rs`) and as a script for Redis");
    let _infallible = writeln!(text, " (`{}<noun>/<verb>.lua`).", lua::FOLDER);
    let mut noun = String::new();
    for verb in verbs::all()? {
        if verb.noun() != noun {
            verb.noun().clone_into(&mut noun);
            let _infallible = write!(text, "\n## {noun}\n\n| Verb | Request | |\n|---|---|---|\n");
        }
        let _infallible = writeln!(text, "| `{}` | `{}` | {} |", verb.name, verb.request, verb.says);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #[test]
    fn generated_pages_are_current() {
        super::check().expect("run: cargo xtask docs");
    }
}
