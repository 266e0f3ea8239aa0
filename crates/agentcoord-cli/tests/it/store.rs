//! Which engine serves, and the switch.

use std::process::Command;

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

/// The keys of a namespace.
fn keys(server: &RedisServer, namespace: &str) -> usize {
    let found =
        Command::new("redis-cli").args(["-u", &server.url(), "keys", &format!("ac:{{{namespace}}}:*")]).output();
    String::from_utf8(found.unwrap().stdout).unwrap().lines().filter(|line| !line.is_empty()).count()
}

#[test]
fn purge_on_redis_deletes_one_namespace_and_leaves_the_other() {
    let server = RedisServer::start();
    let repository = Repository::new();
    let terminal = repository.bare().variable("AGENTCOORD_REDIS_URL", &server.url());
    let of = |namespace: &str| terminal.clone().flag("--namespace").flag(namespace);
    for namespace in ["shop", "shop2"] {
        of(namespace).data(&["tasks", "add", "Sell"]);
        assert_eq!(of(namespace).data(&["store"])["engine"], "redis");
    }
    let (before, dir) = (keys(&server, "shop2"), repository.root().join(".git/agentcoord/namespaces"));
    let said = of("shop").run(&["store", "purge"]);
    assert_eq!(said.exit, 5, "{}", said.stderr);
    let url = server.url();
    for told in
        ["namespace shop for good", "1 tasks", url.trim_end_matches('/'), "namespaces/shop", "--namespace shop --yes"]
    {
        assert!(said.stderr.contains(told), "{told}: {}", said.stderr);
    }
    assert_eq!(of("shop").data(&["tasks"])["items"].as_array().unwrap().len(), 1);
    let purged = of("shop").data(&["store", "purge", "--yes"]);
    assert!(purged["keys"].as_u64().unwrap() > 3, "{purged}");
    assert_eq!((keys(&server, "shop"), keys(&server, "shop2")), (0, before));
    assert!(!dir.join("shop").exists() && dir.join("shop2").exists());
    assert_eq!(of("shop2").data(&["tasks"])["items"][0]["title"], "Sell");
    // The name is free: what comes now begins afresh.
    assert_eq!(of("shop").data(&["tasks"])["items"], json!([]));
}

#[test]
fn purge_wants_the_namespace_by_name_and_nobody_at_work_in_it() {
    let repository = Repository::new();
    let terminal = repository.terminal().variable("AGENTCOORD_NAMESPACE", "shop");
    let ann = terminal.agent("ann");
    ann.data(&["agents", "register"]);
    let said = terminal.run(&["store", "purge", "--yes"]);
    assert_eq!(said.exit, 2, "{}", said.stderr);
    assert!(said.stderr.contains("agentcoord store purge --namespace shop --yes"), "{}", said.stderr);
    let shop = ["store", "purge", "--yes", "--namespace", "shop"];
    let said = ann.run(&shop);
    assert!(said.exit == 5 && said.stderr.contains("for people"), "{}", said.stderr);
    let said = terminal.run(&shop);
    assert!(said.exit == 5 && said.stderr.contains("1 sessions"), "{}", said.stderr);
    let said = terminal.run(&["store", "purge", "--yes", "--namespace", "shpo"]);
    assert!(said.exit == 2 && said.stderr.contains("shop"), "{}", said.stderr);
    assert!(!repository.root().join(".git/agentcoord/namespaces/shpo").exists());
    ann.data(&["agents", "deregister"]);
    let purged = terminal.data(&shop);
    assert_eq!((&purged["namespace"], &purged["keys"], &purged["redis"]), (&json!("shop"), &json!(0), &json!(null)));
    assert!(!repository.root().join(".git/agentcoord/namespaces/shop").exists());
    assert_eq!(terminal.data(&["agents", "--all"])["items"], json!([]));
}

#[test]
fn purge_on_files_deletes_the_copy_that_redis_has_from_before() {
    let server = RedisServer::start();
    let repository = Repository::new();
    let terminal = repository.bare().variable("AGENTCOORD_REDIS_URL", &server.url()).flag("--namespace").flag("shop");
    terminal.data(&["tasks", "add", "Sell"]);
    terminal.data(&["store", "use", "files"]);
    assert!(keys(&server, "shop") > 0);
    terminal.data(&["store", "purge", "--yes"]);
    assert_eq!(keys(&server, "shop"), 0);
    assert_eq!(terminal.data(&["tasks"])["items"], json!([]), "nothing comes back");
}

#[test]
fn purge_that_was_cut_off_serves_nobody_and_is_finished_by_the_next() {
    let server = RedisServer::start();
    let repository = Repository::new();
    let terminal = repository.bare().variable("AGENTCOORD_REDIS_URL", &server.url()).flag("--namespace").flag("shop");
    terminal.data(&["tasks", "add", "Sell"]);
    // As the first step of a purge leaves it.
    for words in [&["hset", "ac:{shop}:meta", "closed", "1", "leaving", "1"][..], &["del", "ac:{shop}:1:index"]] {
        Command::new("redis-cli").args(["-u", &server.url()]).args(words).output().unwrap();
    }
    let said = terminal.run(&["tasks"]);
    assert!(said.exit != 0 && said.stderr.contains("closed"), "{} {}", said.exit, said.stderr);
    terminal.data(&["store", "purge", "--yes"]);
    assert_eq!(keys(&server, "shop"), 0);
    assert_eq!(terminal.data(&["tasks"])["items"], json!([]));
}

#[test]
fn what_is_kept_is_what_the_project_and_the_environment_say() {
    let repository = Repository::new();
    let terminal = repository.terminal();
    let ann = terminal.agent("ann");
    for title in ["first", "second", "third"] {
        terminal.data(&["tasks", "add", title]);
        let claim = ann.data(&["tasks", "claim"]);
        ann.data(&["tasks", "done", claim["task"]["id"].as_str().unwrap()]);
    }
    std::fs::create_dir(repository.root().join(".agentcoord")).unwrap();
    std::fs::write(repository.root().join(".agentcoord/config.toml"), "retained = 2\n").unwrap();
    assert_eq!(terminal.data(&["store", "prune"])["tasks"], 1);
    assert_eq!(terminal.data(&["store", "prune", "--keep", "1"])["tasks"], 1);
    assert_eq!(terminal.data(&["store", "prune"])["tasks"], 0);
    assert_eq!(terminal.variable("AGENTCOORD_RETENTION", "0").data(&["store", "prune"])["tasks"], 1);
}
