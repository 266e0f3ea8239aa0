//! Claim and complete on files over a raw loop that writes the same rows: those of one claim and one completion are
//! looked up in the database, and written again under other keys by a loop that does nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection as Sqlite, OpenFlags};

use crate::arguments::Arguments;
use crate::sample::{self, timed};
use crate::tasks::Caller;
use crate::{Outcome, place};

/// Keys of the same row in two rounds of the loop lie so far apart.
const APART: i64 = 16;

/// A library's thread, with one client.
pub(crate) async fn library(arguments: &Arguments) -> Outcome<()> {
    let client = place::on_files(arguments).await?;
    over_raw(arguments, &Caller::from(&client)).await?;
    Ok(client.close().await?)
}

/// The path of the command line: on the calling thread.
pub(crate) async fn direct(arguments: &Arguments) -> Outcome<()> {
    over_raw(arguments, &place::command(arguments, "only").await?).await
}

async fn over_raw(arguments: &Arguments, ours: &Caller) -> Outcome<()> {
    let times = arguments.operations()?;
    let mut raw = Raw::like_ours(arguments).await?;
    for round in 0..=arguments.rounds()? {
        ours.create(times).await?;
        raw.prepare(times)?;
        let of_ours = timed(async {
            for _ in 0..times {
                ours.claim_and_complete().await?;
            }
            Ok(())
        });
        let of_ours = sample::rate(times, of_ours.await?);
        let of_raw = sample::rate(times, timed(async { raw.run(times) }).await?);
        if round > 0 {
            sample::say("rate", "/s", of_ours, Some(of_raw));
        }
    }
    Ok(())
}

/// A row: its table, and its columns, of which the first is its key.
type Rows = BTreeMap<(String, String), Vec<Value>>;

/// One row that a step writes.
struct Change {
    table: String,
    /// It is another row in every step, not the same one again.
    moves: bool,
    before: Option<Vec<Value>>,
    after: Option<Vec<Value>>,
    /// What puts such a row, and what deletes it: the loop does not put its statements together.
    put: String,
    delete: String,
}

impl Change {
    fn new(table: &str, columns: &[String], before: Option<&Vec<Value>>, after: Option<&Vec<Value>>) -> Self {
        let marks = vec!["?"; columns.len()].join(", ");
        Self {
            table: table.to_owned(),
            moves: true,
            before: before.cloned(),
            after: after.cloned(),
            put: format!("INSERT OR REPLACE INTO \"{table}\" VALUES ({marks})"),
            delete: format!("DELETE FROM \"{table}\" WHERE \"{}\" = ?", columns.first().map_or("", String::as_str)),
        }
    }

    fn name(&self) -> String {
        format!("{} {:?}", self.table, self.key())
    }

    fn key(&self) -> &Value {
        // One of the two is there, and has a key.
        self.after.as_ref().or(self.before.as_ref()).map_or(&Value::Null, |row| &row[0])
    }

    /// The key in one round of the loop.
    fn key_at(&self, n: i64) -> Value {
        match self.key() {
            key if !self.moves => key.clone(),
            Value::Integer(number) => Value::Integer(number + n * APART),
            Value::Text(text) => Value::Text(format!("{text}{n:08x}")),
            Value::Blob(bytes) => Value::Blob([bytes.as_slice(), format!("{n:08x}").as_bytes()].concat()),
            other => other.clone(),
        }
    }

    fn put(&self, raw: &Sqlite, row: &[Value], n: i64) -> rusqlite::Result<()> {
        let mut statement = raw.prepare_cached(&self.put)?;
        statement.raw_bind_parameter(1, self.key_at(n))?;
        for (at, column) in row.iter().enumerate().skip(1) {
            statement.raw_bind_parameter(at + 1, column)?;
        }
        statement.raw_execute().map(drop)
    }

    /// What the step does to the row.
    fn make(&self, raw: &Sqlite, n: i64) -> rusqlite::Result<()> {
        match &self.after {
            Some(row) => self.put(raw, row, n),
            None => raw.prepare_cached(&self.delete)?.execute([self.key_at(n)]).map(drop),
        }
    }
}

/// The loop, with what it writes.
struct Raw {
    database: Sqlite,
    claim: Vec<Change>,
    completion: Vec<Change>,
    done: usize,
}

impl Raw {
    /// Looks at two tasks of a workspace of its own: what is written in both is one row, the others are new ones.
    async fn like_ours(arguments: &Arguments) -> Outcome<Self> {
        let model = place::command(arguments, "model").await?;
        model.create(3).await?;
        model.claim_and_complete().await?;
        let file = database_of(&arguments.path("dir")?.join("model"))?;
        let seen = Sqlite::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut steps = Vec::new();
        for _ in 0..2 {
            let before = rows(&seen)?;
            let claim = model.claim().await?;
            let between = rows(&seen)?;
            model.complete(claim).await?;
            let after = rows(&seen)?;
            steps.push([difference(&seen, &before, &between)?, difference(&seen, &between, &after)?]);
        }
        let again: BTreeSet<String> = steps[1].iter().flatten().map(Change::name).collect();
        let Some([mut claim, mut completion]) = steps.into_iter().next() else { return Err("no steps".into()) };
        for change in claim.iter_mut().chain(&mut completion) {
            change.moves = !again.contains(&change.name());
        }
        let database = Sqlite::open(arguments.path("dir")?.join("raw.db"))?;
        database.set_prepared_statement_cache_capacity(100);
        database.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA mmap_size = 0")?;
        for sql in texts(&seen, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")? {
            database.execute_batch(&sql)?;
        }
        Ok(Self { database, claim, completion, done: 0 })
    }

    /// Writes what the next rounds of the loop find and change.
    fn prepare(&self, times: usize) -> Outcome<()> {
        self.database.execute_batch("BEGIN IMMEDIATE")?;
        let of_claims: BTreeSet<String> = self.claim.iter().map(Change::name).collect();
        let others = self.completion.iter().filter(|change| !of_claims.contains(&change.name()));
        for change in self.claim.iter().chain(others) {
            let Some(row) = &change.before else { continue };
            for n in self.done..self.done + times {
                change.put(&self.database, row, i64::try_from(n)?)?;
            }
        }
        Ok(self.database.execute_batch("COMMIT")?)
    }

    fn run(&mut self, times: usize) -> Outcome<()> {
        for n in self.done..self.done + times {
            for step in [&self.claim, &self.completion] {
                self.database.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
                for change in step {
                    change.make(&self.database, i64::try_from(n)?)?;
                }
                self.database.prepare_cached("COMMIT")?.execute([])?;
            }
        }
        self.done += times;
        Ok(())
    }
}

/// The only database below a directory.
fn database_of(workspace: &Path) -> Outcome<PathBuf> {
    let namespaces = workspace.join("state/namespaces");
    let namespace = std::fs::read_dir(namespaces)?.next().ok_or("no namespace")??;
    Ok(namespace.path().join("agentcoord.db"))
}

fn texts(database: &Sqlite, sql: &str) -> Outcome<Vec<String>> {
    let mut query = database.prepare(sql)?;
    let texts = query.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    Ok(texts)
}

fn columns(database: &Sqlite, table: &str) -> Outcome<Vec<String>> {
    texts(database, &format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid"))
}

/// Everything in a database.
fn rows(database: &Sqlite) -> Outcome<Rows> {
    let mut all = Rows::new();
    for table in texts(database, "SELECT name FROM sqlite_master WHERE type = 'table'")? {
        let width = columns(database, &table)?.len();
        let mut query = database.prepare(&format!("SELECT * FROM \"{table}\""))?;
        let mut found = query.query([])?;
        while let Some(row) = found.next()? {
            let row = (0..width).map(|at| row.get(at)).collect::<Result<Vec<Value>, _>>()?;
            let mut key = String::new();
            write!(key, "{:?}", row[0])?;
            all.insert((table.clone(), key), row);
        }
    }
    Ok(all)
}

fn difference(database: &Sqlite, before: &Rows, after: &Rows) -> Outcome<Vec<Change>> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changed = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    let change =
        |key: &(String, String)| Ok(Change::new(&key.0, &columns(database, &key.0)?, before.get(key), after.get(key)));
    changed.map(change).collect()
}
