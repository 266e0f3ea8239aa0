//! The root of the command line: global flags. The commands themselves are listed in [`crate::commands`].

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, ValueEnum};

use crate::commands::Command;
use crate::output::Format;

/// File locks, agents, tasks, board, approvals and audit for many AI agents and a few people on one code base.
#[derive(Debug, Parser)]
#[command(name = "agentcoord", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done, 1 failure, 2 usage, 3 not found, 4 held by another, 5 refused, \
6 nothing in time, 7 engine unavailable, 8 a check failed, 9 stale, 10 outcome unknown, 11 expired or cancelled.\n\
For an agent's instruction file: agentcoord help agents")]
#[command(disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Act as this agent: a name, an id, or a unique id prefix [env: AGENTCOORD_AGENT]
    #[arg(long = "as", value_name = "AGENT", global = true)]
    pub(crate) agent: Option<String>,
    /// Write on tasks, board, approvals and audit log only while this lock is held: its token [env: AGENTCOORD_FENCE,
    /// which counts in the namespace that AGENTCOORD_FENCE_NAMESPACE names]
    #[arg(long, value_name = "TOKEN", global = true)]
    pub(crate) fence: Option<u64>,
    /// The Redis to use [env: AGENTCOORD_REDIS_URL, REDIS_URL] [default: redis://127.0.0.1:6379]
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) redis_url: Option<String>,
    /// Which engines may serve: auto, redis or files [env: AGENTCOORD_BACKEND] [default: auto]
    #[arg(long, value_name = "WHICH", global = true)]
    pub(crate) backend: Option<String>,
    /// The state directory [env: AGENTCOORD_STATE_DIR] [default: agentcoord/ in the git directory]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) state_dir: Option<String>,
    /// The namespace [env: AGENTCOORD_NAMESPACE] [default: a random one that the state directory keeps]
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) namespace: Option<String>,
    /// How to answer [env: AGENTCOORD_OUTPUT] [default: table]
    #[arg(short, long, value_enum, value_name = "FORMAT", global = true)]
    pub(crate) output: Option<Format>,
    /// Short for -o json
    #[arg(long, global = true, conflicts_with = "output")]
    pub(crate) json: bool,
    /// Colour tables: auto, always or never [env: NO_COLOR] [default: auto]
    #[arg(long, value_enum, value_name = "WHEN", global = true)]
    pub(crate) color: Option<Colour>,
    /// Say nothing but the answer and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log to stderr; more with -vv
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// Never ask anything
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
    /// Work as if started in this directory
    #[arg(short = 'C', value_name = "DIR", global = true)]
    pub(crate) directory: Option<PathBuf>,
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal that can.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
