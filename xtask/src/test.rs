//! `test`: the tests of the workspace, on a machine that has what they need.

use anyhow::Result;

use crate::{command, servers, setup};

pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    run_with(arguments, None)
}

/// Runs the tests; `more_servers` names further server programs for the Redis tests.
pub(crate) fn run_with(arguments: &[&str], more_servers: Option<&str>) -> Result<()> {
    setup::require_redis()?;
    let mut test = command::cargo(&["test", "--workspace"]);
    test.args(arguments);
    if let Some(list) = more_servers {
        test.env(servers::VARIABLE, list);
    }
    command::run(&mut test)
}
