//! The fence around what only people do: refused in shells that belong to agents.
//!
//! Under one user account this is a fence, not a wall: whoever sets the environment can climb it. It keeps an agent
//! from approving its own request by mistake or by habit.

use crate::config::variable;
use crate::error::CliError;
use crate::exit::Exit;

/// Variables that mark a shell as an agent's.
///
/// Not `CLAUDECODE`, and nothing else that the terminals of editors carry: people type there.
pub(crate) const MARKERS: &[&str] = &[
    "AGENTCOORD_AGENT",
    "AGENTCOORD_SESSION",
    "CLAUDE_CODE_CHILD_SESSION",
    "CODEX_SANDBOX",
    "CURSOR_AGENT",
    "GEMINI_CLI",
    "CLINE_ACTIVE",
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
    let command = format!("env {} agentcoord {verb} ...", unset.join(" "));
    let error = CliError::new(Exit::Refused, "HUMANS_ONLY", message);
    Err(error.details(serde_json::json!({"markers": found})).next("if you are a person", command))
}
