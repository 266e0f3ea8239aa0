//! Who may import whom.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use super::tree::Tree;
use crate::command;

/// Each crate and the crates of the workspace that it may depend on. Its tests may use the testkit besides.
const EDGES: [(&str, &[&str]); 7] = [
    ("agentcoord-core", &[]),
    ("agentcoord-redis", &["agentcoord-core"]),
    ("agentcoord-fs", &["agentcoord-core"]),
    ("agentcoord", &["agentcoord-core", "agentcoord-redis", "agentcoord-fs"]),
    ("agentcoord-cli", &["agentcoord"]),
    ("agentcoord-testkit", &["agentcoord-core"]),
    ("xtask", &[]),
];

const TESTKIT: &str = "agentcoord-testkit";

/// What core must not know: servers, files, terminals, threads of its own.
const NOT_IN_CORE: [&str; 9] =
    ["clap", "fred", "redis", "rusqlite", "rustix", "tabled", "tempfile", "tokio", "tracing-subscriber"];

/// Dependencies that the table above does not allow.
pub(super) fn edges(_: &Tree) -> Result<Vec<String>> {
    let metadata = command::output(&mut command::cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    against(&serde_json::from_str(&metadata)?)
}

fn against(metadata: &Value) -> Result<Vec<String>> {
    let allowed: BTreeMap<&str, &[&str]> = EDGES.into_iter().collect();
    let mut problems = Vec::new();
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let names: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    for package in packages {
        let name = package["name"].as_str().context("a package without a name")?;
        let Some(allowed) = allowed.get(name) else {
            problems.push(format!("{name} is not in the table of xtask/src/tidy/dependencies.rs"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().context("a dependency without a name")?;
            let of_tests = dependency["kind"] == "dev";
            let ours = names.contains(&to) && !allowed.contains(&to) && !(of_tests && to == TESTKIT);
            let foreign = name == "agentcoord-core" && !of_tests && NOT_IN_CORE.contains(&to);
            if ours || foreign {
                problems.push(format!("{name} must not depend on {to}"));
            }
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn crates_import_only_whom_they_may() {
        super::super::holds(edges);
    }

    #[test]
    fn forbidden_imports_are_found() {
        let package =
            |name: &str, to: &str, kind: Value| json!({"name": name, "dependencies": [{"name": to, "kind": kind}]});
        let found = |package: Value| {
            let metadata = json!({"packages": [package, {"name": "agentcoord-fs"}, {"name": TESTKIT}]});
            against(&metadata).expect("well formed").len()
        };
        assert_eq!(found(package("agentcoord-redis", "agentcoord-fs", Value::Null)), 1);
        assert_eq!(found(package("agentcoord-redis", TESTKIT, Value::Null)), 1);
        assert_eq!(found(package("agentcoord-redis", TESTKIT, json!("dev"))), 0);
        assert_eq!(found(package("agentcoord-core", "tokio", Value::Null)), 1);
        assert_eq!(found(package("agentcoord-core", "tokio", json!("dev"))), 0);
        assert_eq!(found(package("somebody-new", "serde", Value::Null)), 1);
    }
}
