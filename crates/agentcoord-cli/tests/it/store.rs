//! Which engine serves, and the switch.

use agentcoord_testkit::redis_server::RedisServer;
use serde_json::json;

use crate::terminal::Repository;

#[test]
fn workspace_moves_to_redis_and_back_with_everything_in_it() {
    let server = RedisServer::start();
    let repository = Repository::new();
    let terminal = repository.bare().variable("AGENTCOORD_REDIS_URL", &server.url());
    terminal.clone().flag("--backend").flag("files").data(&["tasks", "add", "Survive"]);
    let before = terminal.data(&["store"]);
    assert_eq!((&before["engine"], &before["degraded"]), (&json!("files"), &json!(true)));
    let moved = terminal.data(&["store", "use", "redis"]);
    assert_eq!(
        (&moved["from"], &moved["engine"], &moved["switched"]),
        (&json!("files"), &json!("redis"), &json!(true))
    );
    let after = terminal.data(&["store"]);
    assert!(after["epoch"].as_u64().unwrap() > before["epoch"].as_u64().unwrap());
    assert_eq!(after["redis"]["serves"], true);
    assert_eq!(terminal.data(&["tasks"])["items"][0]["title"], "Survive");
    assert_eq!(terminal.data(&["store", "use", "redis"])["switched"], false);
    terminal.data(&["store", "use", "files"]);
    assert_eq!(terminal.data(&["store"])["engine"], "files");
    assert_eq!(terminal.data(&["tasks"])["items"][0]["title"], "Survive");
}

#[test]
fn switch_is_refused_while_somebody_is_here() {
    let server = RedisServer::start();
    let repository = Repository::new();
    let terminal = repository.bare().flag("--redis-url").flag(&server.url());
    terminal.agent("ann").data(&["agents", "register"]);
    let said = terminal.run(&["store", "use", "files"]);
    assert_eq!(said.exit, 5, "{}", said.stderr);
    assert!(said.stderr.contains("agentcoord status"), "{}", said.stderr);
    assert_eq!(terminal.run(&["store", "use", "paper"]).exit, 2);
    terminal.agent("ann").data(&["agents", "deregister"]);
    assert_eq!(terminal.data(&["store", "use", "files"])["engine"], "files");
}

#[test]
fn people_forget_what_has_ended_and_agents_do_not() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let ann = terminal.agent("ann");
    for title in ["done", "open"] {
        terminal.data(&["tasks", "add", title, "--description", "long"]);
    }
    let claim = ann.data(&["tasks", "claim"]);
    ann.data(&["tasks", "done", claim["task"]["id"].as_str().unwrap()]);
    assert_eq!(terminal.data(&["store", "prune"])["tasks"], 0, "a week is kept");
    let said = ann.run(&["store", "prune", "--older-than", "0"]);
    assert_eq!(said.exit, 5, "{}", said.stderr);
    let pruned = terminal.data(&["store", "prune", "--older-than", "0"]);
    assert_eq!((&pruned["tasks"], &pruned["sessions"]), (&json!(1), &json!(0)));
    let left = terminal.data(&["tasks"]);
    assert_eq!((left["items"].as_array().unwrap().len(), &left["items"][0]["title"]), (1, &json!("open")));
}
