//! The network that fails on demand: each fault does to a real server's connection what it says, and no more.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use agentcoord_testkit::fault_proxy::{FaultProxy, Requests};
use agentcoord_testkit::redis_server::RedisServer;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

fn start() -> (RedisServer, FaultProxy) {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.port());
    (server, proxy)
}

/// A client that speaks the bare protocol, and reads replies of one line.
struct Client(TcpStream);

impl Client {
    fn connect(proxy: &FaultProxy) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).expect("the proxy accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(stream)
    }

    fn send(&mut self, requests: &[&str]) {
        let encoded: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
        self.0.write_all(&encoded).expect("the proxy reads");
    }

    fn reply(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            self.0.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn ask(&mut self, request: &str) -> String {
        self.send(&[request]);
        self.reply().expect("an answer")
    }

    fn replies(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.reply().expect("an answer")).collect()
    }

    /// Whether the connection has ended, with nothing before.
    fn is_cut(&mut self) -> bool {
        match self.0.read(&mut [0; 64]) {
            Ok(length) => length == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    fn is_reset(&mut self) -> bool {
        self.0.read(&mut [0; 64]).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
    }

    fn hears_nothing_for(&mut self, time: Duration) -> bool {
        self.0.set_read_timeout(Some(time)).expect("a timeout");
        let error = self.0.read(&mut [0; 64]).err();
        self.0.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        error.is_some_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }
}

fn encode(request: &str) -> Vec<u8> {
    let words: Vec<&str> = request.split(' ').collect();
    let bulk = |word: &&str| format!("${}\r\n{word}\r\n", word.len());
    format!("*{}\r\n{}", words.len(), words.iter().map(bulk).collect::<String>()).into_bytes()
}

#[test]
fn without_faults_everything_passes() {
    let (server, proxy) = start();
    let mut client = Client::connect(&proxy);
    client.0.write_all(b"PING\r\n\r\nPING\r\n").expect("the proxy reads");
    assert_eq!(client.replies(2), ["+PONG", "+PONG"], "lines pass as well as arrays");
    let large = "x".repeat(300_000);
    assert_eq!(client.ask(&format!("SET large {large}")), "+OK");
    client.send(&["GET large", "INCR n"]);
    assert_eq!(client.replies(3), ["$300000", &large, ":1"]);
    assert_eq!(server.command(&["GET", "n"]), "$1");
    assert!(client.ask("HELLO 3").starts_with('%'));
    assert_eq!(proxy.url(), format!("redis://127.0.0.1:{}/", proxy.port()));
    assert_eq!((proxy.accepted(), proxy.cuts(), proxy.held(), proxy.delivered()), (1, 0, 0, 0));
}

#[test]
fn ends_pass_in_both_directions() {
    let (mut server, proxy) = start();
    let mut leaving = Client::connect(&proxy);
    leaving.send(&["INCR n"]);
    leaving.0.shutdown(Shutdown::Write).expect("an open connection");
    assert_eq!(leaving.reply().expect("an answer"), ":1");
    assert!(leaving.is_cut(), "the server has seen the end and closed");
    let mut staying = Client::connect(&proxy);
    assert_eq!(staying.ask("INCR n"), ":2");
    server.kill9();
    assert!(staying.is_cut());
    assert!(Client::connect(&proxy).is_cut(), "nothing listens behind the proxy");
    server.restart();
    assert_eq!(Client::connect(&proxy).ask("PING"), "+PONG");
}

#[test]
fn a_request_that_is_cut_never_reaches_the_server() {
    let (server, proxy) = start();
    let mut client = Client::connect(&proxy);
    proxy.cut_requests(Requests::naming("INCR"));
    client.send(&["APPEND log a", "INCR n", "APPEND log b"]);
    assert!(proxy.wait_cuts(1, PATIENCE));
    assert_eq!(client.reply().expect("what came before is answered"), ":1");
    assert!(client.is_cut());
    let mut again = Client::connect(&proxy);
    again.send(&["INCR n"]);
    assert!(again.is_cut(), "every such request is cut");
    assert_eq!(server.command(&["EXISTS", "n"]), ":0");
    assert_eq!(server.command(&["STRLEN", "log"]), ":1", "nothing that follows arrives either");
    proxy.heal();
    assert_eq!(Client::connect(&proxy).ask("INCR n"), ":1");
    assert_eq!(proxy.cuts(), 2);
}

#[test]
fn only_as_many_requests_are_cut_as_the_test_says() {
    let (server, proxy) = start();
    proxy.cut_requests(Requests::containing("marked").times(2));
    for value in ["a", "b", "c"] {
        let mut client = Client::connect(&proxy);
        assert_eq!(client.ask("SET other x"), "+OK");
        client.send(&[&format!("SET marked {value}")]);
        assert_eq!(client.is_cut(), value != "c");
    }
    assert_eq!(proxy.cuts(), 2);
    assert_eq!(server.command(&["EXISTS", "marked"]), ":1");
}

#[test]
fn a_reply_that_is_cut_belongs_to_a_request_that_ran_once() {
    let (server, proxy) = start();
    let mut client = Client::connect(&proxy);
    proxy.cut_replies(Requests::naming("INCR").times(1));
    // The reply that is cut has come while the one before it is still on the way.
    proxy.slice_bytes(1);
    let long = "x".repeat(100);
    client.send(&[&format!("ECHO {long}"), "INCR n", "APPEND log b"]);
    assert_eq!(client.replies(2), ["$100", &long], "what came before is answered");
    assert!(client.is_cut());
    assert_eq!(proxy.cuts(), 1);
    assert_eq!(server.command(&["INCR", "n"]), ":2");
    assert_eq!(server.command(&["EXISTS", "log"]), ":0", "what follows does not arrive");
    assert_eq!(Client::connect(&proxy).ask("INCR n"), ":3");
}

#[test]
fn confirmations_of_a_subscription_are_not_the_reply_that_is_cut() {
    let (_server, proxy) = start();
    // Push messages with one version of the protocol, arrays with the other.
    for (hello, message) in [(3, ">3"), (2, "*3")] {
        let mut client = Client::connect(&proxy);
        client.send(&[&format!("HELLO {hello}"), "ECHO ready"]);
        while client.reply().expect("an answer") != "ready" {}
        proxy.cut_replies(Requests::naming("PING").times(1));
        client.send(&["SUBSCRIBE a b", "PING"]);
        let confirmed = client.replies(12);
        assert!(confirmed[0] == message && confirmed[6] == message, "{confirmed:?}");
        assert!(client.is_cut());
    }
    assert_eq!(proxy.cuts(), 2);
}

#[test]
fn a_message_that_comes_while_a_request_runs_does_not_answer_it() {
    let (server, proxy) = start();
    let mut client = Client::connect(&proxy);
    client.send(&["HELLO 3", "SUBSCRIBE news", "ECHO ready"]);
    while client.reply().expect("an answer") != "ready" {}
    proxy.cut_replies(Requests::naming("BLPOP"));
    client.send(&["BLPOP queue 0"]);
    let blocked = "return redis.call('INFO', 'clients'):match('blocked_clients:1')";
    while server.command(&["EVAL", blocked, "0"]) == "$-1" {}
    assert_eq!(server.command(&["PUBLISH", "news", "hello"]), ":1");
    assert_eq!(client.replies(7).last().expect("seven lines"), "hello");
    assert_eq!(proxy.cuts(), 0);
    assert_eq!(server.command(&["RPUSH", "queue", "a"]), ":1");
    assert!(client.is_cut());
    assert_eq!(server.command(&["LLEN", "queue"]), ":0", "it ran");
}

#[test]
fn a_subscription_can_be_cut_before_it_is_confirmed() {
    let (server, proxy) = start();
    let mut client = Client::connect(&proxy);
    proxy.cut_replies(Requests::naming("SUBSCRIBE").times(1));
    client.send(&["SUBSCRIBE a b"]);
    assert!(client.is_cut());
    assert_eq!(server.command(&["PING"]), "+PONG");
    let mut again = Client::connect(&proxy);
    again.send(&["SUBSCRIBE a"]);
    assert_eq!(again.reply().expect("a confirmation"), "*3");
}

#[test]
fn a_delay_holds_in_both_directions() {
    let (_server, proxy) = start();
    let mut client = Client::connect(&proxy);
    proxy.delay(Duration::from_millis(30));
    let begun = Instant::now();
    assert_eq!(client.ask("INCR n"), ":1");
    assert!(begun.elapsed() >= Duration::from_millis(60), "{:?}", begun.elapsed());
    proxy.delay(PATIENCE * 10);
    client.send(&["INCR n"]);
    assert!(client.hears_nothing_for(Duration::from_millis(20)));
    proxy.heal();
    assert_eq!(client.reply().expect("it need not travel any longer"), ":2");
}

#[test]
fn a_half_open_network_passes_nothing_until_it_is_healed() {
    let (server, proxy) = start();
    let mut before = Client::connect(&proxy);
    assert_eq!(before.ask("INCR n"), ":1");
    proxy.half_open();
    let mut meanwhile = Client::connect(&proxy);
    assert!(proxy.wait_accepted(2, PATIENCE));
    for client in [&mut before, &mut meanwhile] {
        client.send(&["INCR n"]);
        assert!(client.hears_nothing_for(Duration::from_millis(20)));
    }
    proxy.delay(Duration::ZERO);
    assert_eq!(server.command(&["INCR", "n"]), ":2", "other faults do not let anything pass");
    proxy.heal();
    let mut late = [before.reply().expect("open"), meanwhile.reply().expect("open")];
    late.sort();
    assert_eq!(late, [":3", ":4"], "what was sent meanwhile arrives");
}

#[test]
fn a_network_that_refuses_has_its_port_back_when_it_is_healed() {
    let (_server, proxy) = start();
    let mut client = Client::connect(&proxy);
    assert_eq!(client.ask("PING"), "+PONG");
    let port = proxy.port();
    for _ in 0..3 {
        proxy.refuse();
        assert!(client.is_reset());
        let refused = TcpStream::connect(("127.0.0.1", port)).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        proxy.heal();
        client = Client::connect(&proxy);
        assert_eq!(client.ask("PING"), "+PONG");
    }
    assert_eq!(proxy.port(), port);
}

#[test]
fn a_reset_ends_the_connections_that_there_are() {
    let (_server, proxy) = start();
    let mut clients = [Client::connect(&proxy), Client::connect(&proxy)];
    assert_eq!(clients[0].ask("PING"), "+PONG");
    proxy.reset();
    assert!(clients.iter_mut().all(Client::is_reset), "also the one that has said nothing yet");
    assert_eq!(Client::connect(&proxy).ask("PING"), "+PONG");
}

#[test]
fn slices_end_within_frames_and_are_answered_rightly() {
    let (_server, proxy) = start();
    let mut client = Client::connect(&proxy);
    // Shorter than any reply.
    proxy.slice_bytes(3);
    client.send(&["INCR number"; 100]);
    let expected: String = (1..=100).map(|n| format!(":{n}\r\n")).collect();
    let (mut read, mut torn) = (String::new(), 0);
    let mut chunk = [0; 4096];
    while read.len() < expected.len() {
        let length = client.0.read(&mut chunk).expect("an answer");
        assert!(length > 0, "cut after {read:?}");
        read.push_str(std::str::from_utf8(&chunk[..length]).expect("replies are text"));
        torn += usize::from(!read.ends_with("\r\n"));
    }
    assert_eq!(read, expected);
    assert!(torn > 0, "every read ended with a frame");
}

#[test]
fn a_request_that_was_held_runs_after_its_client_has_gone() {
    let (_server, proxy) = start();
    let mut client = Client::connect(&proxy);
    proxy.hold_requests(Requests::naming("INCR").times(1));
    client.send(&["INCR n"]);
    assert!(proxy.wait_held(1, PATIENCE));
    drop(client);
    // Others are not held up, not even by a request of the same name.
    let mut other = Client::connect(&proxy);
    assert_eq!(other.ask("INCR n"), ":1");
    assert_eq!((proxy.held(), proxy.delivered()), (1, 0));
    proxy.release_requests();
    assert!(proxy.wait_delivered(1, PATIENCE));
    assert_eq!(other.ask("INCR n"), ":3");
    assert_eq!(proxy.held(), 1);
}

#[test]
fn what_follows_a_held_request_waits_behind_it() {
    let (server, proxy) = start();
    let mut client = Client::connect(&proxy);
    proxy.hold_requests(Requests::naming("INCR"));
    client.send(&["APPEND log a", "INCR n", "APPEND log b", "INCR n"]);
    assert!(proxy.wait_held(2, PATIENCE));
    assert_eq!(client.reply().expect("what came before is answered"), ":1");
    assert_eq!(server.command(&["STRLEN", "log"]), ":1");
    proxy.release_requests();
    assert_eq!(client.replies(3), [":1", ":2", ":2"], "its client is still there and gets the answers");
    assert_eq!(proxy.delivered(), 2);
    assert_eq!(client.ask("INCR n"), ":3", "nothing more is held");
}

#[test]
fn a_held_request_outlives_a_connection_that_is_reset() {
    let (server, proxy) = start();
    proxy.hold_requests(Requests::naming("INCR"));
    let mut first = Client::connect(&proxy);
    first.send(&["INCR n"]);
    assert!(proxy.wait_held(1, PATIENCE));
    proxy.reset();
    assert!(first.is_reset());
    let mut second = Client::connect(&proxy);
    second.send(&["INCR n"]);
    assert!(proxy.wait_held(2, PATIENCE));
    proxy.refuse();
    assert!(second.is_reset());
    assert_eq!(server.command(&["EXISTS", "n"]), ":0");
    proxy.release_requests();
    assert!(proxy.wait_delivered(2, PATIENCE));
    assert_eq!(server.command(&["INCR", "n"]), ":3");
}

#[test]
fn a_late_request_can_be_cut_like_any_other() {
    let (server, proxy) = start();
    proxy.hold_requests(Requests::naming("INCR"));
    proxy.cut_replies(Requests::naming("INCR"));
    let mut client = Client::connect(&proxy);
    client.send(&["INCR n"]);
    assert!(proxy.wait_held(1, PATIENCE));
    assert_eq!(proxy.cuts(), 0);
    proxy.release_requests();
    assert!(client.is_cut());
    assert_eq!(server.command(&["INCR", "n"]), ":2");
}

#[test]
fn healing_lifts_every_fault_and_delivers_what_is_held() {
    let (server, proxy) = start();
    proxy.hold_requests(Requests::all());
    let mut client = Client::connect(&proxy);
    client.send(&["INCR n"]);
    assert!(proxy.wait_held(1, PATIENCE));
    proxy.cut_requests(Requests::all());
    proxy.cut_replies(Requests::all());
    proxy.slice_bytes(1);
    proxy.delay(PATIENCE);
    proxy.half_open();
    proxy.heal();
    assert_eq!(client.reply().expect("an answer"), ":1");
    assert_eq!(client.ask("INCR n"), ":2");
    assert_eq!(server.command(&["INCR", "n"]), ":3");
    assert_eq!(proxy.cuts(), 0);
}

#[test]
fn a_wait_for_what_does_not_happen_ends() {
    let (_server, proxy) = start();
    let short = Duration::from_millis(5);
    assert!(!proxy.wait_cuts(1, short) && !proxy.wait_held(1, short));
    assert!(!proxy.wait_delivered(1, short) && !proxy.wait_accepted(1, short));
    assert!(proxy.wait_cuts(0, short), "what has happened is not waited for");
}

#[test]
fn nothing_is_left_of_a_proxy_that_is_dropped() {
    let (server, proxy) = start();
    let mut client = Client::connect(&proxy);
    assert_eq!(client.ask("PING"), "+PONG");
    proxy.hold_requests(Requests::all());
    client.send(&["INCR n"]);
    assert!(proxy.wait_held(1, PATIENCE));
    let port = proxy.port();
    drop(proxy);
    assert!(client.is_cut());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert_eq!(server.command(&["EXISTS", "n"]), ":0", "what was held is lost");
}
