//! The limit on Redis: a connection of the same kind as ours, and the bare scripts of `xtask/bench/limits/`.

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, Value};

use crate::Outcome;
use crate::arguments::Arguments;

/// What a script of about our size carries, so that the limit moves bytes too.
const VALUE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The tasks that [`Bare::hashes`] makes, in their order.
const READY: &str = "bare:ready";

/// A connection that knows one bare script.
#[derive(Clone)]
pub(crate) struct Bare {
    connection: MultiplexedConnection,
    hash: String,
}

impl Bare {
    /// Connects to `--redis` and loads the script that sets one key.
    pub(crate) async fn connect(arguments: &Arguments) -> Outcome<Self> {
        Self::knowing(arguments, "set.lua").await
    }

    /// The same with the script that ends a task and claims the next one.
    pub(crate) async fn fused(arguments: &Arguments) -> Outcome<Self> {
        Self::knowing(arguments, "fused.lua").await
    }

    async fn knowing(arguments: &Arguments, script: &str) -> Outcome<Self> {
        let client = Client::open(arguments.text("redis")?)?;
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let source = std::fs::read_to_string(arguments.path("limits")?.join(script))?;
        let hash = redis::cmd("SCRIPT").arg("LOAD").arg(source).query_async(&mut connection).await?;
        Ok(Self { connection, hash })
    }

    /// Runs the script once, on a key.
    pub(crate) async fn run(&mut self, key: &str) -> Outcome<()> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.hash).arg(1).arg(key).arg(VALUE);
        Ok(command.query_async(&mut self.connection).await?)
    }

    /// Ends a task (none: `""`), claims the next one under a lease, and returns its key.
    pub(crate) async fn end_and_claim(&mut self, task: &str) -> Outcome<String> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.hash).arg(2).arg(READY).arg("bare:leases").arg(task).arg(VALUE).arg(u32::MAX);
        let (next, _title): (String, String) = command.query_async(&mut self.connection).await?;
        Ok(next)
    }

    /// Publishes a word.
    pub(crate) async fn publish(&mut self, channel: &str) -> Outcome<()> {
        Ok(redis::cmd("PUBLISH").arg(channel).arg(VALUE).query_async(&mut self.connection).await?)
    }

    /// A subscriber of a channel, on a connection of its own.
    pub(crate) async fn subscriber(arguments: &Arguments, channel: &str) -> Outcome<PubSub> {
        let mut subscriber = Client::open(arguments.text("redis")?)?.get_async_pubsub().await?;
        subscriber.subscribe(channel).await?;
        Ok(subscriber)
    }

    /// Makes so many hashes like tasks in one call, each with a member in a sorted set.
    pub(crate) async fn hashes(&mut self, from: usize, number: usize) -> Outcome<()> {
        let mut pipe = redis::pipe();
        for n in from..from + number {
            let (key, id) = (format!("bare:task:{n:08x}"), format!("{n:032x}"));
            let fields = [
                ("id", id.as_str()),
                ("title", &format!("Add endpoint {n}")),
                ("status", "pending"),
                ("priority", "3"),
                ("seq", &n.to_string()),
                ("tags", "mine"),
                ("attempt", "0"),
                ("max_attempts", "3"),
                ("crashes", "0"),
                ("created_by", "agent:one"),
                ("created_at", "1700000000000"),
            ];
            pipe.hset_multiple(&key, &fields).ignore().zadd(READY, &key, n).ignore();
        }
        Ok(pipe.query_async(&mut self.connection).await?)
    }

    /// Bytes that the server uses, without those of logs of events.
    pub(crate) async fn bytes_without_events(&mut self) -> Outcome<f64> {
        let info: String = redis::cmd("INFO").arg("memory").query_async(&mut self.connection).await?;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.parse::<f64>().ok());
        let mut bytes = used.ok_or("the server does not say how much memory it uses")?;
        let logs: Vec<String> = redis::cmd("KEYS").arg("*:events").query_async(&mut self.connection).await?;
        for log in logs {
            let mut usage = redis::cmd("MEMORY");
            usage.arg(&["USAGE", &log, "SAMPLES", "0"]);
            bytes -= usage.query_async::<f64>(&mut self.connection).await?;
        }
        Ok(bytes)
    }

    /// Begins to note every command that takes longer than so many microseconds.
    pub(crate) async fn note_slow(&mut self, microseconds: u64) -> Outcome<()> {
        for words in [
            &["CONFIG", "SET", "slowlog-log-slower-than", &microseconds.to_string()][..],
            &["CONFIG", "SET", "slowlog-max-len", "100000"],
            &["SLOWLOG", "RESET"],
        ] {
            let mut command = redis::cmd(words[0]);
            let () = command.arg(&words[1..]).query_async(&mut self.connection).await?;
        }
        Ok(())
    }

    /// The longest of the noted commands in microseconds. Looking at the log and emptying it are not among them.
    pub(crate) async fn slowest(&mut self) -> Outcome<u32> {
        // An entry is its number, when it began, microseconds, the command with its arguments, and from where it came.
        type Entry = (i64, i64, u32, Vec<Vec<u8>>, Value, Value);
        let log: Vec<Entry> = redis::cmd("SLOWLOG").arg("GET").arg(-1).query_async(&mut self.connection).await?;
        let of_others =
            log.iter().filter(|(_, _, _, command, ..)| command.first().is_none_or(|name| name != b"SLOWLOG"));
        Ok(of_others.map(|(_, _, taken, ..)| *taken).max().unwrap_or(0))
    }

    /// How many commands the server has run for scripts so far.
    pub(crate) async fn commands(&mut self) -> Outcome<u64> {
        let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut self.connection).await?;
        let counted = info.lines().filter_map(|line| {
            let (name, facts) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let calls = facts.strip_prefix("calls=")?.split(',').next()?.parse::<u64>().ok()?;
            (!FROM_CLIENTS.contains(&name)).then_some(calls)
        });
        Ok(counted.sum())
    }
}

/// What clients send themselves while commands are counted.
const FROM_CLIENTS: [&str; 4] = ["evalsha", "eval", "info", "ping"];
