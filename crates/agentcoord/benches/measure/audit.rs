//! The audit log: what sealing costs those who append, and how fast a log is verified.

use std::time::Instant;

use agentcoord::core::audit::AppendAudit;
use agentcoord::core::op::Actor;
use agentcoord::{Connection, audit};
use tokio::task::JoinSet;

use crate::Outcome;
use crate::arguments::Arguments;
use crate::{place, sample};

/// An entry of about the size of a real one.
const REASON: &str = "the tests pass on both engines, and the reviewer has looked at every line of the change";
/// Appends at once when a log is only made to be verified.
const AT_ONCE: usize = 32;

async fn append(connection: &Connection) -> Outcome<()> {
    let entry = audit::Entry::new("human:measurer", "release", "backend v2.0", REASON).encode()?;
    connection.run(&Actor::Human("measurer".to_owned()), AppendAudit { entry }).await?;
    Ok(())
}

/// An append where a keeper seals, over one where nobody does.
pub(crate) async fn sealed_append(arguments: &Arguments) -> Outcome<()> {
    let keeping = place::at(arguments, "keeping", "measurer").await?;
    let quiet = place::without_session(arguments, "quiet").await?;
    let ours = async || append(keeping.connection()).await;
    let limit = async || append(&quiet).await;
    sample::in_turn(arguments.rounds()?, arguments.operations()?, ours, limit).await?;
    Ok(keeping.close().await?)
}

/// Verifies a log of `--operations` entries.
pub(crate) async fn verify(arguments: &Arguments) -> Outcome<()> {
    let connection = place::without_session(arguments, "quiet").await?;
    let entries = arguments.operations()?;
    let mut writing = JoinSet::new();
    for _ in 0..AT_ONCE {
        let connection = connection.clone();
        writing.spawn(async move {
            for _ in 0..entries.div_ceil(AT_ONCE) {
                append(&connection).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(done) = writing.join_next().await {
        done??;
    }
    let sealed = usize::try_from(audit::seal(&connection, u64::MAX).await?.sealed)?;
    for round in 0..=arguments.rounds()? {
        let begun = Instant::now();
        let report = audit::verify(&connection, Vec::new(), |_| ()).await?;
        if let Some(finding) = report.finding {
            return Err(finding.to_string().into());
        }
        if round > 0 {
            sample::say("verify", "/s", sample::rate(sealed, begun.elapsed()), None);
        }
    }
    Ok(())
}
