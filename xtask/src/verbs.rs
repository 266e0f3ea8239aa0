//! The list of verbs, read from the table in core's `machine/mod.rs`: the one place where every verb is named.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::command;

/// A verb and what stands about it in the sources.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verb {
    /// `noun/verb`.
    pub(crate) name: String,
    /// The request type.
    pub(crate) request: String,
    /// The first sentence of the request type's documentation.
    pub(crate) says: String,
}

impl Verb {
    /// The noun.
    pub(crate) fn noun(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }
}

/// All verbs, in the order of the table.
pub(crate) fn all() -> Result<Vec<Verb>> {
    let source = command::root().join("crates/agentcoord-core/src");
    let read = |file: &str| {
        fs::read_to_string(source.join(file)).with_context(|| format!("cannot read {file} of agentcoord-core"))
    };
    let table = read("machine/mod.rs")?;
    let mut verbs = Vec::new();
    for (request, name) in pairs(&table) {
        let noun = name.split('/').next().unwrap_or_default();
        let mut text = read(&format!("{noun}.rs"))?;
        for part in parts(&source.join(noun))? {
            text.push_str(&part);
        }
        if !text.contains(&format!("\"{name}\"")) {
            bail!("machine/mod.rs runs {name} for {request}, but {noun}.rs has no verb of that name");
        }
        let says = documentation(&text, &request).with_context(|| format!("{request} has no documentation"))?;
        verbs.push(Verb { name, request, says });
    }
    if verbs.is_empty() {
        bail!("no verbs found in machine/mod.rs");
    }
    Ok(verbs)
}

/// The sources in a noun's folder, where it has one.
fn parts(folder: &std::path::Path) -> Result<Vec<String>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    fs::read_dir(folder)?.map(|entry| Ok(fs::read_to_string(entry?.path())?)).collect()
}

/// Lines `x::Request => noun::verb,` as (request, noun/verb).
fn pairs(table: &str) -> Vec<(String, String)> {
    let lines = table.lines().filter_map(|line| {
        let (request, rule) = line.trim().strip_suffix(',')?.split_once(" => ")?;
        let (_, request) = request.split_once("::")?;
        let word = |w: &str| w.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let (noun, verb) = rule.split_once("::")?;
        (word(request) && word(noun) && word(verb)).then(|| (request.to_owned(), format!("{noun}/{verb}")))
    });
    lines.collect()
}

/// The documentation's first line before `pub struct Request` or before `Request, "noun/verb"` in a macro.
fn documentation(text: &str, request: &str) -> Option<String> {
    let (as_struct, in_macro) = (format!("pub struct {request} "), format!("{request}, \""));
    let mut first = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with(&as_struct) || line.starts_with(&in_macro) {
            return first;
        }
        match line.strip_prefix("/// ") {
            Some(said) if first.is_none() => first = Some(said.to_owned()),
            Some(_) => {}
            None if line.starts_with("#[") => {}
            None => first = None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_read_from_the_table_with_their_documentation() {
        let table = "verbs! {\n    a::Register => agent::register,\n    other => Err(x),\n}";
        assert_eq!(pairs(table), [("Register".to_owned(), "agent/register".to_owned())]);
        let source = "/// Of something else.\npub struct Other;\n/// Says hello.\n/// More.\n#[derive(Debug)]\npub struct Register {";
        assert_eq!(documentation(source, "Register").as_deref(), Some("Says hello."));
        let source = "claim_verb! {\n    /// Begins.\n    StartTask, \"task/start\" {} |_t| Ok(())";
        assert_eq!(documentation(source, "StartTask").as_deref(), Some("Begins."));
    }

    #[test]
    fn every_verb_of_core_is_found() {
        let verbs = all().expect("core's sources");
        assert!(verbs.iter().any(|v| v.name == "lock/acquire" && v.request == "AcquireLock"));
        assert!(verbs.iter().any(|v| v.name == "task/start" && v.noun() == "task"));
    }
}
