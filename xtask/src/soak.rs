//! `soak`: tests that become surer the longer they run, for as long as one likes. With the checks of a debug build, on
//! the server programs of the usual tests.

use anyhow::{Context, Result, bail};

use crate::{command, report, setup};

/// A test that can run longer than it does every day.
struct Soak {
    name: &'static str,
    /// Options, the variables that the tests read them from, and their values unless told.
    options: &'static [(&'static str, &'static str, u64)],
    /// Packages and tests: one for each engine, or one that needs none.
    tests: &'static [(&'static str, &'static str)],
}

const SOAKS: [Soak; 5] = [
    Soak {
        name: "differential",
        options: &[
            ("--operations", "AGENTCOORD_DIFFERENTIAL_OPERATIONS", 1_000_000),
            ("--seed", "AGENTCOORD_DIFFERENTIAL_SEED", 1),
        ],
        tests: &[
            ("agentcoord-fs", "conformance::the_file_and_the_machine_in_memory_hold_the_same"),
            ("agentcoord-redis", "conformance::the_scripts_and_the_machine_are_one_meaning"),
        ],
    },
    Soak {
        name: "locks",
        options: &[
            ("--seconds", "AGENTCOORD_SOAK_SECONDS", 60),
            ("--processes", "AGENTCOORD_SOAK_PROCESSES", 16),
            ("--seed", "AGENTCOORD_SOAK_SEED", 1),
        ],
        tests: &[
            ("agentcoord", "races::locks::locks_survive_races_and_kills_on_files"),
            ("agentcoord", "races::locks::locks_survive_races_and_kills_on_redis"),
        ],
    },
    Soak {
        name: "tasks",
        options: &[
            ("--tasks", "AGENTCOORD_SOAK_TASKS", 100_000),
            ("--processes", "AGENTCOORD_SOAK_PROCESSES", 32),
            ("--seed", "AGENTCOORD_SOAK_SEED", 1),
        ],
        tests: &[
            ("agentcoord", "races::tasks::every_task_is_done_once_whoever_is_killed_on_files"),
            ("agentcoord", "races::tasks::every_task_is_done_once_whoever_is_killed_on_redis"),
        ],
    },
    Soak {
        name: "failover",
        options: &[
            ("--cycles", "AGENTCOORD_SOAK_CYCLES", 100),
            ("--agents", "AGENTCOORD_SOAK_PROCESSES", 8),
            ("--seed", "AGENTCOORD_SOAK_SEED", 1),
        ],
        tests: &[
            ("agentcoord", "races::locks::locks_survive_outages_of_redis"),
            ("agentcoord", "races::tasks::every_task_is_done_once_whatever_becomes_of_redis"),
        ],
    },
    Soak {
        name: "model",
        options: &[("--states", "AGENTCOORD_SOAK_STATES", 10_000_000), ("--seed", "AGENTCOORD_SOAK_SEED", 1)],
        tests: &[("agentcoord-testkit", "failover_model::scenarios::more_of_everything_holds_as_far_as_one_likes")],
    },
];

pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let names = SOAKS.map(|soak| soak.name).join(", ");
    let (name, options) = arguments.split_first().with_context(|| format!("which soak? There are: {names}"))?;
    let soak = SOAKS.into_iter().find(|soak| soak.name == *name).with_context(|| format!("there are: {names}"))?;
    let settings = soak.settings(options)?;
    setup::require_redis()?;
    for (package, test) in soak.tests {
        let words: Vec<String> = settings.iter().map(|(option, _, value)| format!("{option} {value}")).collect();
        report::stage(&format!("{test} {}", words.join(" ")));
        let mut cargo = command::cargo(&["test", "--quiet", "--package", package, "--test", "it", "--"]);
        cargo.args([test, "--exact", "--nocapture"]);
        cargo.envs(settings.iter().map(|(_, variable, value)| (variable, value.to_string())));
        command::run(&mut cargo)?;
    }
    Ok(())
}

impl Soak {
    /// Options, variables and values, as told or as usual.
    fn settings(&self, arguments: &[&str]) -> Result<Vec<(&'static str, &'static str, u64)>> {
        let mut settings = self.options.to_vec();
        for pair in arguments.chunks(2) {
            let setting = settings.iter_mut().find(|(option, ..)| *option == pair[0]);
            let Some(setting) = setting else { bail!("soak {} knows no {}", self.name, pair[0]) };
            let value = pair.get(1).and_then(|v| v.replace('_', "").parse().ok());
            setting.2 = value.with_context(|| format!("{} is followed by a number", pair[0]))?;
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::Tree;

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let [differential, ..] = SOAKS;
        let settings = differential.settings(&["--seed", "7", "--operations", "20_000"]).expect("known options");
        assert_eq!(settings.iter().map(|(.., value)| *value).collect::<Vec<_>>(), [20_000, 7]);
        for wrong in [&["--seed"][..], &["--seed", "x"], &["--seconds", "1"]] {
            assert!(differential.settings(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn tests_and_variables_of_the_soaks_exist() {
        let tree = Tree::read().expect("the repository");
        let has = |text: &str| tree.rust().any(|f| !f.path.starts_with("xtask/") && f.text.contains(text));
        for soak in SOAKS {
            for (_, test) in soak.tests {
                let name = test.rsplit("::").next().expect("a name");
                assert!(has(&format!("fn {name}()")), "no {test}");
            }
            for (_, variable, _) in soak.options {
                assert!(has(&format!("\"{variable}\"")), "nobody reads {variable}");
            }
        }
    }
}
