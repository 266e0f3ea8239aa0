//! A private Redis or Valkey server for a test, which ends with it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::port::Port;

/// Names the server binaries that the tests run on, separated by commas.
pub const SERVERS: &str = "AGENTCOORD_TEST_SERVERS";

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a server may take to begin: it loads its data first.
const LOADING: Duration = Duration::from_secs(120);
/// The directory of a copy of the data.
const COPY: &str = "copy";

/// A running server on a free port, with its own directory. Killed on drop.
#[derive(Debug)]
pub struct RedisServer {
    binary: String,
    /// Kept while the server is down, too.
    port: Port,
    args: Vec<String>,
    dir: TempDir,
    child: Child,
}

impl RedisServer {
    /// The binaries to test on: those that `AGENTCOORD_TEST_SERVERS` names, else `redis-server`.
    #[must_use]
    pub fn binaries() -> Vec<String> {
        let named = std::env::var(SERVERS).unwrap_or_default();
        let named: Vec<_> = named.split(',').map(str::trim).filter(|b| !b.is_empty()).map(str::to_owned).collect();
        if named.is_empty() { vec!["redis-server".to_owned()] } else { named }
    }

    /// Starts the first of [`RedisServer::binaries`] with the settings of tests.
    ///
    /// # Panics
    /// When there is no such binary: a test without its server has proved nothing.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&Self::binaries()[0], &[])
    }

    /// Starts a server binary with more arguments, such as `["--maxmemory", "1mb"]`.
    ///
    /// # Panics
    /// See [`RedisServer::start`].
    #[must_use]
    pub fn start_with(binary: &str, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the server");
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        // Another process may take the port between our look and the server's bind: then the next one.
        for _ in 0..10 {
            let port = Port::take().expect("a free port");
            let mut child = spawn(binary, port.number(), &dir, &args);
            if answers(&dir, &mut child) {
                return Self { binary: binary.to_owned(), port, args, dir, child };
            }
            reap(&mut child);
        }
        let log = std::fs::read_to_string(dir.path().join("server.log")).unwrap_or_default();
        panic!("{binary} did not begin to answer; its log:\n{log}");
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port())
    }

    /// Its unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a crash would.
    pub fn kill9(&mut self) {
        reap(&mut self.child);
    }

    /// Starts it again on the same port with the same directory; kills it first if it runs.
    pub fn restart(&mut self) {
        self.kill9();
        self.child = spawn(&self.binary, self.port.number(), &self.dir, &self.args);
        assert!(answers(&self.dir, &mut self.child), "{} did not come back on port {}", self.binary, self.port());
    }

    /// Starts it again without its data.
    pub fn restart_empty(&mut self) {
        self.kill9();
        self.drop_data();
        self.restart();
    }

    /// Keeps a copy of its data as they are on disk now, as somebody's backup would.
    pub fn keep_copy(&self) {
        let (from, to) = (self.data(), self.dir.path().join(COPY));
        // Both may be absent; then there is nothing to keep.
        drop(std::fs::remove_dir_all(&to));
        std::fs::create_dir_all(&to).expect("a directory for the copy");
        for file in std::fs::read_dir(from).into_iter().flatten().flatten() {
            // The server may be about to replace a file.
            drop(std::fs::copy(file.path(), to.join(file.file_name())));
        }
    }

    /// Starts it again with the data of the copy.
    pub fn restart_from_copy(&mut self) {
        self.kill9();
        self.drop_data();
        let copy = self.dir.path().join(COPY);
        if copy.is_dir() {
            std::fs::rename(copy, self.data()).expect("the copy can be moved");
        }
        self.restart();
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("appendonlydir")
    }

    fn drop_data(&self) {
        // It may have none.
        drop(std::fs::remove_dir_all(self.data()));
    }

    /// Stops it in its tracks: connections stay open, nothing answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the server can be signalled");
    }

    /// Sends one command of plain words and returns the first line of the answer, for set-up and inspection.
    pub fn command(&self, words: &[&str]) -> String {
        command(self.port.number(), words).expect("the server answers")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        reap(&mut self.child);
    }
}

fn reap(child: &mut Child) {
    // Both fail only when it has ended already, which is what is wanted.
    drop(child.kill());
    drop(child.wait());
}

fn spawn(binary: &str, port: u16, dir: &TempDir, args: &[String]) -> Child {
    let path = |name: &str| dir.path().join(name).display().to_string();
    Command::new(binary)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--unixsocket", &path("redis.sock")])
        .args(["--dir", &dir.path().display().to_string(), "--logfile", &path("server.log")])
        .args(["--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--daemonize", "no"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| {
            panic!("cannot start `{binary}` ({e}); install Redis 7 or Valkey, or name binaries in {SERVERS}")
        })
}

/// Waits until it answers PING with anything but "loading"; false when it ends instead.
fn answers(dir: &TempDir, child: &mut Child) -> bool {
    // On its socket, which is of this server only: on its port a server of another test may answer that was given the
    // same one, before ours has seen that it is taken. A server answers nowhere before it listens everywhere.
    let ping = || {
        let stream = UnixStream::connect(dir.path().join("redis.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        ask(stream, &["PING"])
    };
    let deadline = Instant::now() + LOADING;
    while Instant::now() < deadline {
        if ping().is_ok_and(|line| line.starts_with("+PONG")) {
            return true;
        }
        if !matches!(child.try_wait(), Ok(None)) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

fn command(port: u16, words: &[&str]) -> std::io::Result<String> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    ask(stream, words)
}

fn ask(mut stream: impl Read + Write, words: &[&str]) -> std::io::Result<String> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(request.as_bytes())?;
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_whose_port_is_taken_is_not_mistaken_for_the_one_that_has_it() {
        let first = RedisServer::start();
        let dir = tempfile::tempdir().expect("a directory for the server");
        let mut second = spawn(&RedisServer::binaries()[0], first.port(), &dir, &[]);
        let mistaken = answers(&dir, &mut second);
        reap(&mut second);
        assert!(!mistaken);
    }
}
