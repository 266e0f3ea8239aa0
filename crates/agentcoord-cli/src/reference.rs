//! The reference of the command line, as Markdown, from the same declarations that parse it: `help reference`.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

use crate::cli::Cli;

/// The table of exit codes is read from where it is defined.
const EXIT: &str = include_str!("exit.rs");

/// The whole reference.
pub(crate) fn markdown() -> String {
    let mut root = Cli::command();
    root.build();
    let mut out = String::from(
        "# Command line\n\nMade from the command's own declarations by `agentcoord help reference`; do not edit.\n\n\
         Durations are `30s`, `5m`, `2h`; a bare number is seconds. What a flag sets, a variable of the environment or \
         the project's `.agentcoord/config.toml` may set instead, in this order: `agentcoord config show --origin`.\n\n\
         ## Global options\n\n",
    );
    for arg in root.get_arguments().filter(|arg| arg.is_global_set()) {
        argument(&mut out, arg);
    }
    out.push_str("\n## Exit codes\n\n");
    for row in EXIT.lines().filter_map(|line| line.strip_prefix("//! ")).filter(|line| line.starts_with('|')) {
        out.push_str(row);
        out.push('\n');
    }
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        describe(&mut out, command, "agentcoord", 2);
    }
    out
}

fn describe(out: &mut String, command: &Command, parent: &str, level: usize) {
    let name = format!("{parent} {}", command.get_name());
    let usage = command.clone().bin_name(&name).render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let heading = "#".repeat(level);
    append(out, format_args!("\n{heading} {name}\n\n{about}.\n\n```text\n{usage}\n```\n"));
    let own: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_global_set() && arg.get_id() != "help").collect();
    if !own.is_empty() {
        out.push('\n');
    }
    for arg in own {
        argument(out, arg);
    }
    if let Some(more) = command.get_after_help() {
        append(out, format_args!("\n{more}\n"));
    }
    for verb in command.get_subcommands() {
        describe(out, verb, &name, level + 1);
    }
}

fn argument(out: &mut String, arg: &Arg) {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let defaults: Vec<String> = arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
    let shown = !defaults.is_empty() && arg.get_action().takes_values();
    let default = if shown { format!(" [default: {}]", defaults.join(" ")) } else { String::new() };
    append(out, format_args!("- `{arg}`: {help}{default}\n"));
}

/// Writing to a string cannot fail.
fn append(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).unwrap_or_default();
}
