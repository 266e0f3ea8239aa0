//! What a crate must not do. Most invariants of the architecture are the absence of something.

use anyhow::Result;

use super::tree::{File, Tree, uses};

/// Crates that take values as arguments and never look around.
const LIBRARIES: [&str; 4] =
    ["crates/agentcoord-core/", "crates/agentcoord-redis/", "crates/agentcoord-fs/", "crates/agentcoord/"];

/// The one file with the key strings of Redis.
const KEYS: &str = "crates/agentcoord-redis/src/keys.rs";

/// The modules that write to the terminal.
const PRINTERS: [&str; 3] =
    ["crates/agentcoord-cli/src/output.rs", "crates/agentcoord-cli/src/output/", "xtask/src/report.rs"];

/// Key strings of Redis outside the file that they live in.
pub(super) fn key_strings(tree: &Tree) -> Result<Vec<String>> {
    let sources = tree.files().filter(|f| f.path.starts_with("crates/") && !f.is_test() && f.path != KEYS);
    let sources = sources.filter(|f| f.is_rust() || f.path.ends_with(".lua"));
    Ok(sources.flat_map(|f| uses(f, &["\"ac:", "'ac:", "ac:{"])).collect())
}

/// Libraries that read the environment, the home directory or a terminal.
pub(super) fn environment(tree: &Tree) -> Result<Vec<String>> {
    let words = ["std::env", "env::var", "env::current_dir", "home_dir", "is_terminal", "IsTerminal", "io::stdin"];
    Ok(libraries(tree).flat_map(|f| uses(f, &words)).collect())
}

/// Files, sockets, processes and clocks in core.
pub(super) fn pure_core(tree: &Tree) -> Result<Vec<String>> {
    let words = ["std::fs", "std::net", "std::process", "std::thread", "SystemTime", "Instant::now", "tokio"];
    Ok(libraries(tree).filter(|f| f.path.starts_with(LIBRARIES[0])).flat_map(|f| uses(f, &words)).collect())
}

/// Printing outside the modules that print.
pub(super) fn printing(tree: &Tree) -> Result<Vec<String>> {
    let words = ["println!", "eprintln!", "print!(", "eprint!(", "io::stdout()", "io::stderr()"];
    let silent = tree.rust().filter(|f| !f.is_test() && !PRINTERS.iter().any(|p| f.path.starts_with(p)));
    // This very list of words is not printing.
    let silent = silent.filter(|f| f.path != "xtask/src/tidy/boundaries.rs");
    Ok(silent.flat_map(|f| uses(f, &words)).collect())
}

fn libraries(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.rust().filter(|f| !f.is_test() && LIBRARIES.iter().any(|l| f.path.starts_with(l)))
}

#[cfg(test)]
mod tests {
    use super::super::{finds, holds};
    use super::*;

    const LOCK: &str = "crates/agentcoord-core/src/lock.rs";

    #[test]
    fn key_strings_live_in_one_file() {
        holds(key_strings);
        let text = "let key = format!(\"ac:{{{ns}}}:meta\");\n";
        assert_eq!(finds(key_strings, &[(KEYS, text), ("crates/agentcoord-redis/tests/it/main.rs", text)]), 0);
        assert!(finds(key_strings, &[("crates/agentcoord-redis/src/engine.rs", text)]) > 0);
        assert!(finds(key_strings, &[("crates/agentcoord-core/lua/lock/acquire.lua", "local k = 'ac:x'")]) > 0);
    }

    #[test]
    fn libraries_do_not_look_around() {
        holds(environment);
        let text = "let home = std::env::home_dir();\n";
        assert!(finds(environment, &[("crates/agentcoord/src/client.rs", text)]) > 0);
        assert_eq!(finds(environment, &[("crates/agentcoord-cli/src/context.rs", text)]), 0);
        assert_eq!(finds(environment, &[(LOCK, "// std::env\n#[cfg(test)]\nmod tests { use std::env; }\n")]), 0);
    }

    #[test]
    fn core_does_no_input_or_output_and_reads_no_clock() {
        holds(pure_core);
        assert_eq!(finds(pure_core, &[(LOCK, "let now = std::time::SystemTime::now();\n")]), 1);
        assert_eq!(finds(pure_core, &[("crates/agentcoord-fs/src/clock.rs", "SystemTime::now()")]), 0);
    }

    #[test]
    fn only_one_module_of_a_program_prints() {
        holds(printing);
        assert_eq!(finds(printing, &[(LOCK, "println!(\"here\");\n")]), 1);
        assert_eq!(finds(printing, &[("crates/agentcoord-cli/src/output/table.rs", "println!(\"here\");\n")]), 0);
    }
}
