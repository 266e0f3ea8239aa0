//! Which files there are, and what none of them may contain.

use anyhow::Result;

use super::tree::Tree;

/// What may stand in the root besides dotfiles.
const ROOT: [&str; 8] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "docker-compose.yml",
];

/// The folders of the root besides those with a dot.
const FOLDERS: [&str; 4] = ["crates", "docs", "examples", "xtask"];

/// Places on one developer's machine.
const PATHS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Hosts of package registries: where packages come from is the business of the machine's own configuration.
const HOSTS: [&str; 6] = [
    concat!("crates", ".io"),
    concat!("npmjs", ".org"),
    concat!("pypi", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("deb.debian", ".org"),
    concat!("archive.ubuntu", ".com"),
];

/// Files and folders of the root that are not meant to be there.
pub(super) fn root(tree: &Tree) -> Result<Vec<String>> {
    let stray = tree.files().filter(|f| match f.path.split_once('/') {
        Some((folder, _)) => !folder.starts_with('.') && !FOLDERS.contains(&folder),
        None => !f.path.starts_with('.') && !ROOT.contains(&f.path.as_str()),
    });
    Ok(stray.map(|f| format!("{} does not belong into the root", f.path)).collect())
}

/// A changelog without a place for the next line.
pub(super) fn changelog(tree: &Tree) -> Result<Vec<String>> {
    let kept = tree.files().any(|f| f.path == "CHANGELOG.md" && f.text.lines().any(|l| l == "## [Unreleased]"));
    Ok(if kept { Vec::new() } else { vec!["CHANGELOG.md has no section [Unreleased]".to_owned()] })
}

/// Paths of one machine, and package registries by name.
pub(super) fn no_foreign_places(tree: &Tree) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for file in tree.files().filter(|f| f.path != "Cargo.lock") {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(word) = PATHS.iter().chain(&HOSTS).find(|word| line.contains(**word)) {
                problems.push(format!("{}:{}: {word}", file.path, number + 1));
            }
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::super::{finds, holds};
    use super::*;

    #[test]
    fn root_holds_what_it_should() {
        holds(root);
        let strays = [("notes.md", ""), ("scripts/run.sh", ""), ("README.md", ""), ("docs/a.md", ""), (".ci/run", "")];
        assert_eq!(finds(root, &strays), 2);
    }

    #[test]
    fn changelog_has_a_place_for_the_next_line() {
        holds(changelog);
        assert_eq!(finds(changelog, &[("CHANGELOG.md", "# Changelog\n")]), 1);
    }

    #[test]
    fn no_file_names_a_machine_or_a_registry() {
        holds(no_foreign_places);
        let (path, host) = (format!("cd {}x\n", PATHS[0]), format!("https://{}/x\n", HOSTS[0]));
        assert_eq!(finds(no_foreign_places, &[("a.md", &path), ("b.toml", &host), ("Cargo.lock", &host)]), 2);
    }

    #[test]
    fn compose_file_runs_redis_as_the_project_needs_it() {
        let tree = Tree::read().expect("the repository");
        let compose = tree.files().find(|f| f.path == "docker-compose.yml").expect("docker-compose.yml");
        let lines: Vec<&str> = compose.text.lines().map(str::trim).collect();
        for line in ["- \"127.0.0.1:6379:6379\"", "healthcheck:", "- redis-data:/data"] {
            assert!(lines.contains(&line), "docker-compose.yml lacks `{line}`");
        }
        let command = lines.iter().find(|l| l.starts_with("command: redis-server ")).expect("a command");
        for option in ["--appendonly yes", "--appendfsync everysec", "--maxmemory-policy noeviction"] {
            assert!(command.contains(option), "the server is started without {option}");
        }
        let images: Vec<&&str> = lines.iter().filter(|l| l.starts_with("image:")).collect();
        assert_eq!(images, [&"image: redis:7-alpine"], "one service");
        // A named volume must be declared, or compose refuses the file.
        assert!(compose.text.contains("\nvolumes:\n  redis-data:"), "the volume is not declared");
    }
}
