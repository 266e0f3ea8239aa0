//! The fence around what only people do: refused in shells that belong to agents.
//!
//! Under one user account this is a fence, not a wall: whoever sets the environment can climb it. It keeps an agent
//! from approving its own request by mistake or by habit.

use crate::config::variable;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::text::shell;

/// Variables that mark a shell as an agent's: ours, those that coding agents set for the commands they run, and the
/// one that several have agreed on.
///
/// Not `CLAUDECODE`, and nothing else that the terminals of editors carry: people type there. Some agents, such as
/// Aider, set nothing.
pub(crate) const MARKERS: &[&str] = &[
    "AGENTCOORD_AGENT",
    "AGENTCOORD_SESSION",
    "AI_AGENT",
    "AMP_CURRENT_THREAD_ID",
    "ANTIGRAVITY_AGENT",
    "AUGMENT_AGENT",
    // Claude Code sets it for what its tools and hooks start, and for nothing else.
    "CLAUDE_CODE_CHILD_SESSION",
    "CLINE_ACTIVE",
    // Codex sets the first in its sandbox only, the second for every command.
    "CODEX_SANDBOX",
    "CODEX_THREAD_ID",
    "COPILOT_AGENT",
    "COPILOT_CLI",
    "CURSOR_AGENT",
    "GEMINI_CLI",
    "GOOSE_TERMINAL",
    "OPENCODE",
];

/// Refuses when this shell is an agent's. `verb` is what was asked for, as in "approve".
///
/// # Errors
/// `HUMANS_ONLY` with the command that a person would type.
pub(crate) fn people_only(verb: &str) -> Result<(), CliError> {
    let found: Vec<&str> = MARKERS.iter().copied().filter(|name| variable(name).is_some()).collect();
    if found.is_empty() {
        return Ok(());
    }
    let message = format!("`{verb}` is for people, and {} marks this shell as an agent's", found.join(" and "));
    let unset: Vec<String> = found.iter().map(|name| format!("-u {name}")).collect();
    let typed: Vec<String> = std::env::args().skip(1).map(|word| shell(&word)).collect();
    let command = format!("env {} agentcoord {}", unset.join(" "), typed.join(" "));
    let error = CliError::new(Exit::Refused, "HUMANS_ONLY", message);
    Err(error.details(serde_json::json!({"markers": found})).next("if you are a person", command))
}
