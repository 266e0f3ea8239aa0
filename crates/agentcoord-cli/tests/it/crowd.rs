//! Two hundred agents and five hundred locks still read well.

use agentcoord::core::agent::{Register, SessionKind, UpdateAgent};
use agentcoord::core::ids::Id;
use agentcoord::core::lock::{AcquireLock, LockPath};
use agentcoord::core::op::Actor;
use agentcoord::{BackendChoice, Config, Connection, Style};

use crate::terminal::{Repository, Transcript};

const AREAS: [&str; 5] = ["auth", "billing", "catalogue/import", "search", "user_interface/components/forms"];

async fn fill(repository: &Repository) -> agentcoord::Result<()> {
    let mut config = Config::new(repository.root(), repository.root().join(".git/agentcoord"));
    config.backend = BackendChoice::Files;
    let connection = Connection::open(config, Style::OneShot).await?;
    let mut sessions = Vec::new();
    for n in 0..200 {
        let role = ["Engineer", "Reviewer", "Tester"][n % 3];
        let register = Register {
            agent: Id::random(),
            session: Id::random(),
            name: format!("agent-{n:03}"),
            key: String::new(),
            role: role.to_owned(),
            working_on: Some(format!(
                "{} in {}, step {}",
                ["Fixing", "Checking", "Testing"][n % 3],
                AREAS[n % 5],
                n % 7
            )),
            capabilities: Vec::new(),
            host: "here".to_owned(),
            process: None,
            kind: SessionKind::Shell,
            ttl: 3_600_000,
            parent: None,
            resume: true,
            metadata: None,
        };
        sessions.push(connection.run(&Actor::System, register).await?.session);
    }
    // The first in order are the last to be locked, so that a screen shows only fresh ones however slow this machine is.
    for n in (0..500).rev() {
        let path = format!("src/{}/module_{n:03}/implementation.rs", AREAS[n / 100]);
        let mut body = AcquireLock::new(vec![LockPath::parse(&path)?]);
        body.intent = Some(format!("step {} of the plan that everybody has agreed on", n % 9));
        body.ttl = Some(3_600_000);
        body.wait = Some(0);
        let _granted = connection.acquire(&Actor::Session(sessions[n % 200].clone()), body).await?;
    }
    for session in &sessions {
        connection.run(&Actor::Session(session.clone()), UpdateAgent::default()).await?;
    }
    Ok(())
}

#[test]
fn crowd_fits_a_screen_at_80_and_120_columns() {
    let repository = Repository::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(fill(&repository)).unwrap();
    for (columns, lines) in [("80", "24"), ("120", "40")] {
        let terminal = repository.terminal().variable("COLUMNS", columns).variable("LINES", lines);
        let mut transcript = Transcript::new(&repository);
        for words in [["status"], ["locks"], ["agents"]] {
            let said = transcript.run("", &terminal, &words);
            assert!(said.stdout.lines().count() <= lines.parse().unwrap(), "{words:?} at {lines} lines");
            let width = columns.parse().unwrap();
            assert!(said.stdout.lines().all(|line| line.chars().count() <= width), "{words:?} at {columns} columns");
        }
        transcript.check(&format!("crowd_{columns}"));
    }
    let all = repository.terminal();
    assert_eq!(all.run(&["locks"]).stdout.lines().count(), 501, "a pipe gets everything");
    assert_eq!(all.data(&["status"])["agents"].as_array().unwrap().len(), 200);
    assert_eq!(all.run(&["-o", "id", "agents"]).stdout.lines().count(), 200);
}
