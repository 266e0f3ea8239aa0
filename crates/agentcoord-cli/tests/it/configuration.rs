//! Where settings come from.

use crate::terminal::{Repository, Transcript};

fn project(repository: &Repository, text: &str) {
    let dir = repository.root().join(".agentcoord");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("config.toml"), text).unwrap();
}

#[test]
fn flag_beats_environment_beats_project_beats_default() {
    let repository = Repository::new();
    project(
        &repository,
        "backend = 'files'\nnamespace = 'from-file'\nretained = 500\nretention = '12h'\nstate_dir = 'state'\n",
    );
    let mut transcript = Transcript::new(&repository);
    let below = repository.bare().directory("src").variable("REDIS_URL", "redis://u:s3cret@there:1");
    transcript.run("", &below, &["config", "show", "--origin"]);
    let variable =
        below.clone().variable("AGENTCOORD_NAMESPACE", "from-environment").variable("AGENTCOORD_RETENTION", "30d");
    transcript.run("", &variable, &["config", "show", "--origin"]);
    transcript.run("", &variable, &["--namespace", "from-flag", "config", "show", "--origin"]);
    assert_eq!(below.data(&["locks"])["items"], serde_json::json!([]));
    assert!(repository.root().join("state").is_dir(), "a path in the file is relative to the project");
    transcript.check("configuration");
}

#[test]
fn key_that_is_not_known_is_an_error_with_the_near_one() {
    let repository = Repository::new();
    let mut transcript = Transcript::new(&repository);
    let bad = ["namspace = 'x'", "backend = 'filse'", "backend = 3", "backend ="];
    let bad_retention =
        ["retention = 'a week'", "retention = 7", "retained = -1", "retained = '1e6'", "retained = 0.5"];
    for text in bad.into_iter().chain(bad_retention) {
        project(&repository, text);
        transcript.run("", &repository.bare(), &["status"]);
    }
    transcript.run("", &repository.bare(), &["version"]);
    transcript.check("configuration_errors");
}
