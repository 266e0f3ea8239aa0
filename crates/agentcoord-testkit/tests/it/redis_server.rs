//! The private server: a crash keeps what the append-only file has, a pause keeps connections open.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use agentcoord_testkit::redis_server::RedisServer;

#[test]
fn a_killed_server_comes_back_on_its_port_with_its_data() {
    let mut server = RedisServer::start_with(&RedisServer::binaries()[0], &["--appendfsync", "always"]);
    assert_eq!(server.command(&["SET", "a", "1"]), "+OK");
    let port = server.port();
    server.kill9();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "it is gone");
    server.restart();
    assert_eq!(server.port(), port);
    assert_eq!(server.command(&["EXISTS", "a"]), ":1");
    UnixStream::connect(server.socket()).expect("it listens on its socket too");
}

#[test]
fn a_paused_server_accepts_but_does_not_answer_until_it_is_resumed() {
    let server = RedisServer::start();
    server.pause();
    let waiting = std::thread::scope(|scope| {
        let asking = scope.spawn(|| server.command(&["PING"]));
        // The kernel completes the connection; only the answer is missing.
        TcpStream::connect(("127.0.0.1", server.port())).expect("the port is open");
        assert!(!asking.is_finished());
        server.resume();
        asking.join().expect("no panic")
    });
    assert_eq!(waiting, "+PONG");
}
