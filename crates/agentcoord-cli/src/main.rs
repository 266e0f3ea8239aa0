//! The command `agentcoord`: parse, run one command, write its answer, exit.
//!
//! The order of things stands here and nothing else: what a command does is in [`commands`], how answers look is in
//! [`output`], and what the exit code means is in [`exit`].

mod cli;
mod commands;
mod config;
mod context;
mod duration;
mod error;
mod exit;
mod fence;
mod git;
mod identity;
mod input;
mod logging;
mod moment;
mod output;
mod principal;
mod process;
mod progress;
mod reference;
mod signing;
mod suggest;

use std::process::ExitCode;

use agentcoord::core::board::ReadInbox;
use clap::Parser;

use crate::cli::Cli;
use crate::config::Settings;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Format;

fn main() -> ExitCode {
    let exit = match Cli::try_parse() {
        Ok(cli) => answer(cli),
        Err(error) => refuse_usage(&error),
    };
    ExitCode::from(exit.code())
}

fn answer(cli: Cli) -> Exit {
    if cli.global.verbose > 0 {
        logging::start(cli.global.verbose);
    }
    let settings = match Settings::resolve(&cli.global) {
        Ok(settings) => settings,
        // What needs no workspace works in a broken one too.
        Err(_) if cli.command.standalone() => Settings::bare(&cli.global),
        Err(error) => return output::fail(&error, Format::of_flags(&cli.global)),
    };
    let format = settings.format;
    let context = Context::new(settings);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&CliError::internal("the runtime cannot be started", error), format),
    };
    runtime.block_on(async {
        match work(&context, cli).await {
            Ok(exit) => exit,
            Err(error) => output::fail(&error, format),
        }
    })
}

async fn work(context: &Context, cli: Cli) -> Result<Exit, CliError> {
    let answer = cli.command.run(context).await?;
    let meta = context.meta().await;
    let (exit, delivered) = output::emit(answer.as_ref(), &meta, context.settings());
    // Only what was written out has been read.
    if let Some(receipt) = answer.receipt().filter(|_| delivered) {
        let body = ReadInbox { up_to: receipt.up_to };
        context.connection().await?.run(&receipt.actor, body).await?;
    }
    Ok(exit)
}

/// Help and version go to stdout with 0; a mistake goes to stderr with 2, as JSON when JSON was asked for.
fn refuse_usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        return output::print(&error.to_string());
    }
    // The same mistake again, with what was typed in a form that can be seen.
    let words = std::env::args().map(|word| output::text::line(&word));
    let again = Cli::try_parse_from(words).err().filter(clap::Error::use_stderr);
    let error = again.as_ref().unwrap_or(error);
    match Format::of_words(std::env::args()) {
        Format::Table | Format::Id => {
            output::complain(&error.to_string());
            Exit::Invalid
        }
        format @ (Format::Json | Format::Jsonl) => output::fail(&CliError::usage(error), format),
    }
}
