//! Whoever can write to the engine changes the audit log behind AgentCoord's back, and is found out. Each way on both
//! engines, by their own clients.

use agentcoord::audit::{self, Report};
use agentcoord::core::audit::chain::Head;
use agentcoord::core::audit::verify::{Stored, Tampering, Witness};
use agentcoord::core::audit::{AppendAudit, AuditLog, Extent};
use agentcoord::core::engine::EngineKind;
use agentcoord::core::limits::SEAL_RUN;
use agentcoord::core::op::{Actor, decode, encode_compact};
use agentcoord::core::record::{AuditRecord, SealRecord, Shape, State};
use agentcoord::{BackendChoice, Config, Connection, Style};
use agentcoord_testkit::redis_server::RedisServer;

/// More than one run of seals.
const ENTRIES: u64 = SEAL_RUN + 20;

/// The way in that AgentCoord does not use.
enum BackDoor {
    Redis(Box<redis::Connection>),
    Files(rusqlite::Connection),
}

impl BackDoor {
    fn get(&mut self, table: &str, key: &str) -> Option<Vec<u8>> {
        match self {
            Self::Redis(redis) => redis::cmd("GET").arg(name(table, key)).query(redis).unwrap(),
            Self::Files(files) => {
                let sql = format!("SELECT record FROM {table} WHERE key = ?1");
                files.query_row(&sql, [key], |row| row.get(0)).ok()
            }
        }
    }

    fn put(&mut self, table: &str, key: &str, bytes: &[u8]) {
        match self {
            Self::Redis(redis) => redis::cmd("SET").arg(name(table, key)).arg(bytes).exec(redis).unwrap(),
            Self::Files(files) => {
                let sql = format!("INSERT OR REPLACE INTO {table} (key, record) VALUES (?1, ?2)");
                files.execute(&sql, rusqlite::params![key, bytes]).unwrap();
            }
        }
    }

    fn delete(&mut self, table: &str, key: &str) {
        match self {
            Self::Redis(redis) => redis::cmd("DEL").arg(name(table, key)).exec(redis).unwrap(),
            Self::Files(files) => {
                files.execute(&format!("DELETE FROM {table} WHERE key = ?1"), [key]).unwrap();
            }
        }
    }

    fn entry(&mut self, seq: u64) -> AuditRecord {
        decode(&self.get("audit", &seq.to_string()).unwrap(), "entry").unwrap()
    }

    fn write(&mut self, seq: u64, record: &AuditRecord) {
        self.put("audit", &seq.to_string(), &record.stored().unwrap());
    }

    fn state(&mut self, change: impl FnOnce(&mut State)) {
        let bytes: Vec<u8> = match self {
            Self::Redis(redis) => redis::cmd("HGET").arg("ac:{audited}:1:hot").arg("state").query(redis).unwrap(),
            Self::Files(files) => files.query_row("SELECT state FROM state", [], |row| row.get(0)).unwrap(),
        };
        let mut state: State = decode(&bytes, "state").unwrap();
        change(&mut state);
        let bytes = encode_compact(&state).unwrap();
        match self {
            Self::Redis(redis) => {
                redis::cmd("HSET").arg("ac:{audited}:1:hot").arg("state").arg(bytes).exec(redis).unwrap();
            }
            Self::Files(files) => {
                files.execute("UPDATE state SET state = ?1", [bytes]).unwrap();
            }
        }
    }

    /// Makes the seals of everything anew, so that they fit what is stored now.
    fn recompute(&mut self, entries: u64) -> Head {
        let (mut head, mut hashes) = (Head::START, String::new());
        for seq in 1..=entries {
            let record = self.entry(seq);
            head = head.then(record.at, &record.entry);
            hashes.push_str(&head.hash.to_string());
            if seq % SEAL_RUN == 0 || seq == entries {
                let seal = SealRecord { hashes: std::mem::take(&mut hashes) };
                self.put("seal", &((seq - 1) / SEAL_RUN + 1).to_string(), &seal.stored().unwrap());
            }
        }
        head
    }

    /// Cuts the log off, with its seals and its counters.
    fn truncate(&mut self, from: u64, to: u64) {
        for seq in to + 1..=from {
            self.delete("audit", &seq.to_string());
        }
        self.state(|state| (state.audit, state.sealed) = (to, to));
        self.recompute(to);
    }
}

fn name(table: &str, key: &str) -> String {
    format!("ac:{{audited}}:1:{table}:{key}")
}

/// A workspace with a sealed log.
struct Scene {
    connection: Connection,
    door: BackDoor,
    dir: tempfile::TempDir,
    _server: Option<RedisServer>,
}

impl Scene {
    async fn on(kind: EngineKind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path(), dir.path().join("state"));
        config.namespace = Some("audited".to_owned());
        config.backend = BackendChoice::Files;
        let server = (kind == EngineKind::Redis).then(RedisServer::start);
        if let Some(server) = &server {
            (config.redis_url, config.backend) = (Some(server.url()), BackendChoice::Redis);
        }
        let connection = Connection::open(config, Style::LongRunning).await.unwrap();
        for n in 1..=ENTRIES {
            let entry = format!("{{\"decision_type\":\"test\",\"reason\":\"{n}\"}}");
            connection.run(&Actor::System, AppendAudit { entry }).await.unwrap();
        }
        let extent = audit::seal(&connection, u64::MAX).await.unwrap();
        assert_eq!(extent, Extent { entries: ENTRIES, sealed: ENTRIES });
        let door = match &server {
            Some(server) => {
                let client = redis::Client::open(server.url()).unwrap();
                BackDoor::Redis(Box::new(client.get_connection().unwrap()))
            }
            None => {
                let database = dir.path().join("state/namespaces/audited/agentcoord.db");
                BackDoor::Files(rusqlite::Connection::open(database).unwrap())
            }
        };
        Self { connection, door, dir, _server: server }
    }

    fn kept_file(&self) -> std::path::PathBuf {
        self.dir.path().join("state/namespaces/audited/audit.head")
    }

    async fn verify(&self, anchors: Vec<Witness>) -> Report {
        audit::verify(&self.connection, anchors, |_| ()).await.unwrap()
    }

    async fn first_bad(&self) -> Option<(u64, Tampering)> {
        self.verify(Vec::new()).await.finding.map(|finding| (finding.seq, finding.what))
    }

    /// An anchor of the log as it is.
    async fn anchor(&self) -> Witness {
        Witness { head: audit::anchor(&self.connection).await.unwrap().head, kept: "elsewhere".to_owned() }
    }
}

/// Runs a test on both engines.
macro_rules! on_both {
    ($($(#[$doc:meta])* async fn $name:ident($scene:ident: Scene) $body:block)+) => {
        $($(#[$doc])* #[tokio::test] async fn $name() {
            for kind in [EngineKind::Files, EngineKind::Redis] {
                #[allow(unused_mut, reason = "not every test goes through the back door")]
                let mut $scene = Scene::on(kind).await;
                $body
            }
        })+
    };
}

on_both! {
    async fn untouched_log_is_good(scene: Scene) {
        let anchor = scene.anchor().await;
        scene.connection.run(&Actor::System, AppendAudit { entry: "{}".to_owned() }).await.unwrap();
        let report = scene.verify(vec![anchor.clone()]).await;
        assert_eq!((report.finding, report.anchored), (None, Some(anchor.head)));
        assert_eq!(report.extent, Extent { entries: ENTRIES + 1, sealed: ENTRIES + 1 }, "the new entry is sealed");
        assert_eq!(report.kept, Some(report.head));
    }

    async fn edited_entry_is_found(scene: Scene) {
        let mut record = scene.door.entry(5);
        record.entry = record.entry.replace("\"5\"", "\"five\"");
        scene.door.write(5, &record);
        assert_eq!(scene.first_bad().await, Some((5, Tampering::Edited)));
    }

    async fn edited_time_of_an_entry_is_found(scene: Scene) {
        let mut record = scene.door.entry(SEAL_RUN + 1);
        record.at -= 1;
        scene.door.write(SEAL_RUN + 1, &record);
        assert_eq!(scene.first_bad().await, Some((SEAL_RUN + 1, Tampering::Edited)));
    }

    async fn entry_that_was_made_unreadable_is_found(scene: Scene) {
        scene.door.put("audit", "9", b"nonsense");
        assert_eq!(scene.first_bad().await, Some((9, Tampering::Edited)));
    }

    async fn dropped_entry_is_found(scene: Scene) {
        scene.door.delete("audit", "7");
        assert_eq!(scene.first_bad().await, Some((7, Tampering::Dropped)));
    }

    async fn dropped_entry_is_found_when_the_later_ones_close_the_gap(scene: Scene) {
        for seq in 7..ENTRIES {
            let next = scene.door.entry(seq + 1);
            scene.door.write(seq, &next);
        }
        assert_eq!(scene.first_bad().await, Some((7, Tampering::Dropped)));
    }

    async fn reordered_entries_are_found(scene: Scene) {
        let (one, other) = (scene.door.entry(3), scene.door.entry(SEAL_RUN + 2));
        scene.door.write(3, &other);
        scene.door.write(SEAL_RUN + 2, &one);
        assert_eq!(scene.first_bad().await, Some((3, Tampering::Reordered)));
    }

    async fn duplicated_entry_is_found(scene: Scene) {
        let copy = scene.door.entry(4);
        scene.door.write(8, &copy);
        assert_eq!(scene.first_bad().await, Some((8, Tampering::Duplicated)));
        let copy = scene.door.entry(SEAL_RUN + 3);
        scene.door.write(2, &copy);
        let finding = scene.verify(Vec::new()).await.finding.unwrap();
        assert_eq!((finding.seq, finding.what), (2, Tampering::Duplicated));
        assert!(finding.why.contains(&format!("entry {}", SEAL_RUN + 3)), "{finding}");
    }

    async fn inserted_entry_is_found(scene: Scene) {
        for seq in (6..ENTRIES).rev() {
            let entry = scene.door.entry(seq);
            scene.door.write(seq + 1, &entry);
        }
        scene.door.write(6, &AuditRecord { entry: "{\"reason\":\"never said\"}".to_owned(), at: 1 });
        assert_eq!(scene.first_bad().await, Some((6, Tampering::Inserted)));
    }

    async fn forged_and_missing_seals_are_found(scene: Scene) {
        let seal = scene.door.get("seal", "1").unwrap();
        scene.door.delete("seal", "1");
        assert_eq!(scene.first_bad().await, Some((1, Tampering::Unsealed)));
        let mut forged: SealRecord = decode(&seal, "seal").unwrap();
        let first = if forged.hashes[64..].starts_with('0') { "1" } else { "0" };
        forged.hashes.replace_range(64..65, first);
        let second = &forged.hashes[64..128];
        assert_ne!(second, &decode::<SealRecord>(&seal, "seal").unwrap().hashes[64..128]);
        scene.door.put("seal", "1", &forged.stored().unwrap());
        assert_eq!(scene.first_bad().await, Some((2, Tampering::Edited)));
    }

    async fn last_entries_that_are_cut_off_are_missed_by_the_counters(scene: Scene) {
        scene.door.delete("audit", &ENTRIES.to_string());
        assert_eq!(scene.first_bad().await, Some((ENTRIES, Tampering::Dropped)));
        scene.door.state(|state| state.audit -= 1);
        assert_eq!(scene.first_bad().await, Some((ENTRIES, Tampering::Truncated)));
    }

    async fn truncated_log_is_found_by_the_head_that_the_host_keeps(scene: Scene) {
        scene.door.truncate(ENTRIES, ENTRIES - 3);
        assert_eq!(scene.first_bad().await, Some((ENTRIES - 2, Tampering::Truncated)));
        for _ in 0..5 {
            scene.connection.run(&Actor::System, AppendAudit { entry: "{}".to_owned() }).await.unwrap();
        }
        audit::seal(&scene.connection, u64::MAX).await.unwrap();
        assert_eq!(scene.first_bad().await, Some((1, Tampering::Recomputed)), "new entries do not hide it");
    }

    async fn truncated_log_is_found_by_an_anchor(scene: Scene) {
        let anchor = scene.anchor().await;
        scene.door.truncate(ENTRIES, ENTRIES - 3);
        std::fs::remove_file(scene.kept_file()).unwrap();
        assert_eq!(scene.first_bad().await, None, "nothing here remembers the end");
        std::fs::remove_file(scene.kept_file()).unwrap();
        let finding = scene.verify(vec![anchor]).await.finding.unwrap();
        assert_eq!((finding.seq, finding.what), (ENTRIES - 2, Tampering::Truncated));
    }

    async fn recomputed_log_is_found_by_the_head_that_the_host_keeps(scene: Scene) {
        scene.door.write(5, &AuditRecord { entry: "{}".to_owned(), at: 1 });
        scene.door.recompute(ENTRIES);
        assert_eq!(scene.first_bad().await, Some((1, Tampering::Recomputed)));
    }

    async fn recomputed_log_is_found_by_an_anchor(scene: Scene) {
        let early = scene.anchor().await;
        scene.connection.run(&Actor::System, AppendAudit { entry: "{}".to_owned() }).await.unwrap();
        let late = scene.anchor().await;
        scene.door.write(ENTRIES + 1, &AuditRecord { entry: "{\"reason\":\"other\"}".to_owned(), at: 1 });
        let head = scene.door.recompute(ENTRIES + 1);
        std::fs::write(scene.kept_file(), format!("{head}\n")).unwrap();
        assert_eq!(scene.first_bad().await, None, "everything on this host was made to fit");
        let finding = scene.verify(vec![late, early]).await.finding.unwrap();
        assert_eq!((finding.seq, finding.what), (ENTRIES + 1, Tampering::Recomputed));
        assert!(finding.why.contains("elsewhere"), "{finding}");
    }

    async fn log_whose_counter_of_seals_was_turned_back_is_checked_all_the_same(scene: Scene) {
        let mut record = scene.door.entry(ENTRIES);
        record.entry.push(' ');
        scene.door.write(ENTRIES, &record);
        scene.door.delete("seal", "2");
        scene.door.state(|state| state.sealed = SEAL_RUN);
        assert_eq!(scene.first_bad().await, Some((1, Tampering::Recomputed)), "the host remembers the last hash");
    }
}

#[tokio::test]
async fn seals_are_the_same_on_both_engines_and_move_with_the_log() {
    let server = RedisServer::start();
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path(), dir.path().join("state"));
    config.redis_url = Some(server.url());
    let connection = Connection::open(config, Style::LongRunning).await.unwrap();
    for n in 0..5 {
        let entry = format!("{{\"n\": {n}}}");
        connection.run(&Actor::System, AppendAudit { entry }).await.unwrap();
    }
    let before = audit::anchor(&connection).await.unwrap();
    let witness = || vec![Witness { head: before.head, kept: "elsewhere".to_owned() }];
    for to in [EngineKind::Files, EngineKind::Redis] {
        connection.switch(to, "human:eve").await.unwrap();
        assert_eq!(connection.opened().await.unwrap().serving.engine, to);
        let report = audit::verify(&connection, witness(), |_| ()).await.unwrap();
        assert_eq!((report.finding, report.kept.map(|head| head.seq)), (None, Some(report.extent.entries)));
        let entry = connection.store().await.unwrap().inspect(5, 5).await.unwrap().pop().unwrap();
        assert!(matches!(entry.stored, Stored::Entry(record) if record.entry == "{\"n\": 4}"));
        connection.run(&Actor::System, AppendAudit { entry: format!("\"after {}\"", to.word()) }).await.unwrap();
    }
}

#[tokio::test]
async fn keeper_seals_what_is_logged() {
    let place = crate::place::Place::files();
    let one = place.session("one").await.unwrap();
    let seq = one.log_decision("design", "seals", "because").await.unwrap();
    let store = one.store().await.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while store.extent().await.unwrap().sealed < seq {
        assert!(std::time::Instant::now() < deadline, "the keeper has not sealed it");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    one.close().await.unwrap();
}
