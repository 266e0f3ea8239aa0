//! Two terminals and one file, on both engines.

use std::time::Duration;

use agentcoord_testkit::fault_proxy::{FaultProxy, Requests};
use agentcoord_testkit::redis_server::RedisServer;
use rustix::process::Signal;
use serde_json::json;

use crate::terminal::{Repository, Terminal, Transcript};

fn two_terminals(repository: &Repository, terminal: &Terminal) -> Transcript {
    let (ann, ben) = (terminal.agent("ann"), terminal.agent("ben"));
    let mut transcript = Transcript::new(repository);
    transcript.run("ann", &ann, &["locks", "acquire", "src/a.rs", "src/b.rs", "-m", "key rotation"]);
    transcript.run("ann", &ann, &["locks", "acquire", "src/a.rs", "src/b.rs"]);
    transcript.run("ben", &ben, &["locks", "acquire", "./src/../src/a.rs"]);
    transcript.run("ben", &ben, &["locks", "acquire", "src/a.rs", "--json"]);
    transcript.run("ben", &ben, &["locks", "release", "src/a.rs"]);
    transcript.run("ben", &ben, &["locks", "acquire", "src/a.rs", "--wait", "50ms"]);
    transcript.run("ann", &ann, &["locks"]);
    transcript.run("ann", &ann, &["locks", "show", "src/a.rs"]);
    let token = ann.data(&["locks", "show", "src/b.rs"])["items"][0]["token"].to_string();
    transcript.run("ann", &ann, &["locks", "verify", "src/b.rs", "--token", &token]);
    transcript.run("ann", &ann, &["locks", "renew", "src/b.rs", "--ttl", "2h"]);
    transcript.run("ann", &ann, &["locks", "release", "src/b.rs"]);
    transcript.run("ann", &ann, &["locks", "verify", "src/b.rs", "--token", &token]);
    transcript.run("ann", &ann, &["locks", "release", "--all"]);
    transcript.run("ann", &ann, &["locks", "release", "--all"]);
    transcript.run("ben", &ben, &["locks", "acquire", "src/a.rs"]);
    transcript.run("ben", &ben, &["locks", "show", "src/b.rs"]);
    transcript
}

#[test]
fn two_terminals_contend_for_a_file_on_files() {
    let repository = Repository::new();
    two_terminals(&repository, &repository.terminal()).check("two_terminals");
}

#[test]
fn two_terminals_contend_for_a_file_on_redis_with_the_same_words() {
    let server = RedisServer::start();
    let repository = Repository::new();
    let terminal = repository.bare().flag("--backend").flag("redis").flag("--redis-url").flag(&server.url());
    two_terminals(&repository, &terminal).check("two_terminals");
}

#[test]
fn waiter_gets_the_file_when_the_holder_releases_it() {
    let repository = Repository::new();
    let (ann, ben) = (repository.terminal().agent("ann"), repository.terminal().agent("ben"));
    let first = ann.data(&["locks", "acquire", "src/a.rs"])["token"].as_u64().unwrap();
    let waiting = ben.start(&["--json", "locks", "acquire", "src/a.rs", "--wait", "30s", "-m", "my turn"]);
    let show = ann.until(&["locks", "show", "src/a.rs"], |data| data["items"][0]["waiters"][0].is_object());
    assert_eq!(show["items"][0]["waiters"][0]["agent"]["name"], "ben");
    assert_eq!(show["items"][0]["waiters"][0]["intent"], "my turn");
    ann.data(&["locks", "release", "--all"]);
    let said = waiting.finish();
    assert_eq!(said.exit, 0, "{}", said.stderr);
    let second: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert!(second["data"]["token"].as_u64().unwrap() > first);
    assert_eq!(ann.data(&["locks"])["items"][0]["holder"]["name"], "ben");
}

#[test]
fn interrupted_waiter_leaves_the_queue() {
    let repository = Repository::new();
    let (ann, ben) = (repository.terminal().agent("ann"), repository.terminal().agent("ben"));
    ann.data(&["locks", "acquire", "src/a.rs"]);
    let waiting = ben.start(&["locks", "acquire", "src/a.rs", "--wait", "1h"]);
    ann.until(&["locks", "show", "src/a.rs"], |data| data["items"][0]["waiters"][0].is_object());
    waiting.signal(Signal::INT);
    let said = waiting.finish();
    assert_eq!((said.exit, said.stdout.as_str()), (130, ""));
    assert_eq!(said.stderr, "error: interrupted; nothing is held or waited for\n");
    assert_eq!(ann.data(&["locks"])["items"][0]["waiters"], serde_json::json!([]));
}

#[test]
fn claim_whose_task_cannot_be_read_gives_it_back() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let repository = Repository::new();
    let direct = repository.bare().flag("--backend").flag("redis").flag("--redis-url").flag(&server.url());
    let far = repository.bare().flag("--backend").flag("redis").flag("--redis-url").flag(&proxy.url()).agent("ann");
    let added = direct.data(&["tasks", "add", "In many words", "--description", "so many"]);
    let id = added["task"]["id"].as_str().unwrap().to_owned();
    proxy.cut_requests(Requests::containing("/description"));
    let said = far.run(&["tasks", "claim"]);
    assert!(said.exit != 0 && proxy.cuts() > 0, "{}", said.stdout);
    let task = direct.data(&["tasks", "show", &id])["task"].take();
    assert_eq!((&task["status"], &task["attempt"]), (&json!("pending"), &json!(0)), "{}", said.stderr);
    proxy.heal();
    let task = far.data(&["tasks", "claim"])["task"].take();
    assert!(task["deadline"].is_string(), "{task}");
}

#[test]
fn claim_under_a_lock_that_ends_meanwhile_gives_its_task_back() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    let repository = Repository::new();
    let on = |url: &str| repository.bare().flag("--backend").flag("redis").flag("--redis-url").flag(url).agent("ann");
    let (direct, far) = (on(&server.url()), on(&proxy.url()));
    let added = direct.data(&["tasks", "add", "In many words", "--description", "so many"]);
    let id = added["task"]["id"].as_str().unwrap().to_owned();
    let token = direct.data(&["locks", "acquire", "src/a.rs"])["token"].to_string();
    proxy.cut_requests(Requests::containing("/description"));
    let claiming = std::thread::spawn(move || far.flag("--fence").flag(&token).run(&["tasks", "claim"]));
    assert!(proxy.wait_cuts(1, Duration::from_secs(10)));
    direct.data(&["locks", "release", "src/a.rs"]);
    let said = claiming.join().unwrap();
    assert!(said.exit != 0, "{}", said.stdout);
    let task = direct.data(&["tasks", "show", &id])["task"].take();
    assert_eq!((&task["status"], &task["attempt"]), (&json!("pending"), &json!(0)), "{}", said.stderr);
}
