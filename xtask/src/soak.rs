//! `soak`: tests that become surer the longer they run, for as long as one likes. With the checks of a debug build, on
//! the server programs of the usual tests.

use anyhow::{Context, Result, bail};

use crate::{command, report, setup};

/// Read by the differential tests; see `agentcoord_testkit::differential`.
const OPERATIONS: &str = "AGENTCOORD_DIFFERENTIAL_OPERATIONS";
const SEED: &str = "AGENTCOORD_DIFFERENTIAL_SEED";

/// The test of each engine.
const TESTS: [(&str, &str); 2] = [
    ("agentcoord-fs", "the_file_and_the_machine_in_memory_hold_the_same"),
    ("agentcoord-redis", "the_scripts_and_the_machine_are_one_meaning"),
];

pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let ["differential", options @ ..] = arguments else {
        bail!("which soak? There is: differential");
    };
    let (mut operations, mut seed) = (1_000_000_u64, 1_u64);
    for pair in options.chunks(2) {
        let value = || pair.get(1).and_then(|v| v.replace('_', "").parse().ok()).context("a number is missing");
        match pair[0] {
            "--operations" => operations = value()?,
            "--seed" => seed = value()?,
            other => bail!("soak differential knows no {other}"),
        }
    }
    setup::require_redis()?;
    for (package, test) in TESTS {
        report::stage(&format!("{package}: {operations} operations from seed {seed}"));
        let filter = format!("conformance::{test}");
        let mut soak = command::cargo(&["test", "--package", package, "--test", "it", "--"]);
        soak.args([&filter, "--exact", "--nocapture"]);
        command::run(soak.env(OPERATIONS, operations.to_string()).env(SEED, seed.to_string()))?;
    }
    Ok(())
}
