//! Agents that people end, and agents that end with their process.

use std::process::Command;

use crate::terminal::Repository;

#[test]
fn person_evicts_an_agent_and_an_agents_shell_may_not() {
    let repository = Repository::new();
    let ann = repository.terminal().agent("ann");
    ann.data(&["locks", "acquire", "a"]);
    let refused = ann.run(&["agents", "evict", "ann", "-m", "it hangs"]);
    assert_ne!(refused.exit, 0);
    assert!(refused.stderr.contains("is for people"), "{}", refused.stderr);
    let person = repository.terminal();
    let agent = person.data(&["agents", "evict", "ann", "-m", "it hangs", "--by", "eve"])["agent"].take();
    assert_eq!(agent["state"], "gone");
    assert_eq!(agent["ended_because"], "evicted by human:eve: it hangs");
    assert_eq!(person.data(&["locks"])["items"], serde_json::json!([]));
    let again = person.run(&["agents", "evict", "ann", "-m", "it hangs"]);
    assert_ne!(again.exit, 0, "it has ended already");
    assert_ne!(person.run(&["agents", "evict", "ann"]).exit, 0, "without a reason");
}

#[test]
fn shell_agent_ends_with_its_host_process() {
    let repository = Repository::new();
    let mut host = Command::new("sleep").arg("1000").spawn().unwrap();
    let ann = repository.terminal().agent("ann");
    ann.data(&["agents", "register", "--watch-pid", &host.id().to_string()]);
    ann.data(&["locks", "acquire", "a"]);
    let bob = repository.terminal().agent("bob");
    assert_eq!(bob.run(&["locks", "acquire", "a"]).exit, 4);
    host.kill().unwrap();
    host.wait().unwrap();
    bob.data(&["locks", "acquire", "a"]);
    let refused = ann.run(&["agents", "register", "--watch-pid", &host.id().to_string()]);
    assert_ne!(refused.exit, 0);
    assert!(refused.stderr.contains("watch-pid"), "{}", refused.stderr);
}

#[test]
fn person_revokes_a_lock_and_an_agents_shell_may_not() {
    let repository = Repository::new();
    let (ann, bob) = (repository.terminal().agent("ann"), repository.terminal().agent("bob"));
    let token = ann.data(&["locks", "acquire", "src/"])["token"].take();
    let refused = bob.run(&["locks", "revoke", "src/", "-m", "mine"]);
    assert_eq!(refused.exit, 5, "{}", refused.stderr);
    let person = repository.terminal();
    let revoked = person.data(&["locks", "revoke", "src/", "-m", "it hangs", "--by", "eve"]);
    assert_eq!(revoked["revoked"][0]["token"], token);
    assert_eq!(revoked["revoked"][0]["holder"]["name"], "ann");
    assert_eq!(person.data(&["audit"])["items"][0]["reason"], "it hangs");
    bob.data(&["locks", "acquire", "src/a"]);
    assert_eq!(person.run(&["locks", "revoke", "docs/", "-m", "nobody there"]).exit, 3);
}
