//! The commands. Each is one module with its arguments (`Args`), its answer (`View`) and `run`, which never prints.
//!
//! A new command is a module and one line in the table below; a noun with verbs is a folder with a table of its own.

pub(crate) mod agents;
mod approvals;
mod approve;
mod audit;
mod board;
mod completions;
mod config;
mod demo;
mod export;
mod help;
mod hung;
pub(crate) mod locks;
mod reject;
mod run;
mod status;
mod store;
pub(crate) mod tasks;
mod version;
mod watch;

/// Declares a set of commands: one line each, `Name(module)`.
macro_rules! commands {
    ($(#[$outer:meta])* $vis:vis enum $set:ident { $($(#[$meta:meta])* $name:ident($module:ident),)+ }) => {
        $(#[$outer])*
        #[derive(Debug, clap::Subcommand)]
        $vis enum $set {
            $($(#[$meta])* $name($module::Args),)+
        }

        impl $set {
            /// Runs the command.
            ///
            /// # Errors
            /// Those of the command.
            $vis async fn run(
                self,
                context: &$crate::context::Context,
            ) -> Result<Box<dyn $crate::output::Answer>, $crate::error::CliError> {
                match self {
                    // Boxed, so that the largest command does not make every one's stack large.
                    $(Self::$name(args) => {
                        Ok($crate::output::IntoAnswer::into_answer(Box::pin($module::run(context, args)).await?))
                    })+
                }
            }
        }
    };
}
use commands;

/// Declares a noun: its verbs as for [`commands`], of which `list` is meant when none is named.
macro_rules! noun {
    ($(#[$outer:meta])* enum $set:ident { $($verbs:tt)+ }) => {
        $crate::commands::commands! {
            $(#[$outer])*
            enum $set { $($verbs)+ }
        }

        /// Without a verb, the list.
        #[derive(Debug, clap::Args)]
        #[command(args_conflicts_with_subcommands = true)]
        pub(crate) struct Args {
            #[command(flatten)]
            list: list::Args,
            #[command(subcommand)]
            verb: Option<$set>,
        }

        /// Runs the verb.
        ///
        /// # Errors
        /// Those of the verb.
        pub(crate) async fn run(
            context: &$crate::context::Context,
            args: Args,
        ) -> Result<Box<dyn $crate::output::Answer>, $crate::error::CliError> {
            match args.verb {
                Some(verb) => verb.run(context).await,
                None => Ok($crate::output::IntoAnswer::into_answer(list::run(context, args.list).await?)),
            }
        }
    };
}
use noun;

use demo::agent as demo_agent;

commands! {
    /// What to do.
    pub(crate) enum Command {
        /// Who is here, what they hold and do, and what waits for a person
        Status(status),
        /// File locks: without a verb, who holds and waits for what
        #[command(alias = "lock")]
        Locks(locks),
        /// Tasks: without a verb, what there is to do
        #[command(alias = "task")]
        Tasks(tasks),
        /// The board: without a verb, its threads
        Board(board),
        /// Approvals: without a verb, what waits for a person
        #[command(alias = "approval")]
        Approvals(approvals),
        /// Say yes to what an agent asked for; people only
        Approve(approve),
        /// Say no to what an agent asked for; people only
        Reject(reject),
        /// The audit log: without a verb, its newest entries
        Audit(audit),
        /// Agents that hang, with evidence
        Hung(hung),
        /// Agents: without a verb, who is here
        #[command(alias = "agent")]
        Agents(agents),
        /// Run a command as an agent that lives as long as the command
        Run(run),
        /// Everything that happens, as it happens
        Watch(watch),
        /// Which engine serves the workspace, and where it keeps things
        Store(store),
        /// Write STATUS.md and BOARD.md
        Export(export),
        /// A small swarm at work, and the proof that nothing was lost
        Demo(demo),
        /// One agent of the demo
        #[command(hide = true)]
        DemoAgent(demo_agent),
        /// Settings, and where each comes from
        Config(config),
        /// Shell completions
        Completions(completions),
        /// Help; `help agents` is twenty lines for an agent's instruction file
        Help(help),
        /// The version
        Version(version),
    }
}

impl Command {
    /// True for commands that work without a workspace.
    pub(crate) fn standalone(&self) -> bool {
        matches!(self, Self::Completions(_) | Self::Help(_) | Self::Version(_))
    }
}
