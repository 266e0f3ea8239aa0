//! `run`: an agent that lives as long as a command.

use agentcoord::CoordinationClient;
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, Page, Render};
use crate::process::{self, Signals};

/// Who, and what to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the agent does, as in "Engineer"
    #[arg(long, value_name = "ROLE", default_value = "agent")]
    role: String,
    /// Its name; nothing: that of --as, or the command's
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Something it can do; tasks may require it
    #[arg(long = "capability", value_name = "WORD")]
    capabilities: Vec<String>,
    /// What it works on
    #[arg(long, value_name = "TEXT")]
    working_on: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// Nothing but the command's exit code: what was said, the command has said.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    #[serde(skip)]
    exit: Option<Exit>,
}

impl View {
    /// The end of a command.
    pub(crate) fn ended(exit: Exit) -> Self {
        Self { exit: Some(exit) }
    }
}

impl Render for View {
    fn table(&self, _: &mut Page) {}

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn silent(&self) -> bool {
        true
    }

    fn exit(&self) -> Exit {
        self.exit.unwrap_or(Exit::Done)
    }
}

/// Runs the command.
///
/// # Errors
/// When the agent cannot be registered; the command is not started then.
pub(crate) async fn run(context: &Context, args: Args) -> Result<View, CliError> {
    let mut signals = Signals::of_forwarding()?;
    let connection = context.staying().await?;
    let named = args.name.or_else(|| context.settings().value("agent").map(ToOwned::to_owned));
    let name = named.unwrap_or_else(|| process::name_of(&args.command));
    let mut session = CoordinationClient::session(args.role, name).dir(&context.settings().cwd);
    for capability in args.capabilities {
        session = session.capability(capability);
    }
    if let Some(what) = args.working_on {
        session = session.working_on(what);
    }
    let client = session.on(connection.clone()).await?;
    let mut command = process::command(&args.command);
    command.current_dir(&context.settings().cwd).envs(surroundings(context, &client));
    let exit = process::supervise(command, &mut signals).await;
    if client.is_lost() {
        output::complain("warning: the agent's session ended before the command: what it held may have passed on\n");
    }
    if let Err(error) = client.close().await {
        output::complain(&format!("warning: what the agent held ends with its session, because {error}\n"));
    }
    Ok(View::ended(exit))
}

/// The environment in which a command acts as this session.
pub(crate) fn surroundings(context: &Context, client: &CoordinationClient) -> Vec<(&'static str, String)> {
    let settings = context.settings();
    let mut variables = vec![
        ("AGENTCOORD_AGENT", client.name().to_owned()),
        ("AGENTCOORD_SESSION", client.session_id().to_string()),
        ("AGENTCOORD_NAMESPACE", client.connection().namespace().to_owned()),
        ("AGENTCOORD_STATE_DIR", settings.state_dir.display().to_string()),
    ];
    // What flags said about the engine holds for the command as well.
    for (key, name) in [("redis_url", "AGENTCOORD_REDIS_URL"), ("backend", "AGENTCOORD_BACKEND")] {
        variables.extend(settings.value(key).map(|value| (name, value.to_owned())));
    }
    variables
}
