//! How a workspace stands between its two engines, for people.

use agentcoord_core::Result;
use agentcoord_core::ids::{Csn, Epoch};
use agentcoord_core::mode::{Finding, Loss, ModeEngine, ModeRow, Phase};
use agentcoord_redis::Sighting;

use crate::config::BackendChoice;
use crate::connection::Connection;
use crate::failover::take_over::{complaining_process, reason_of};
use crate::host::Host;

/// The engine that serves, and how far the other one is ready to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `redis` or `files`.
    pub engine: &'static str,
    /// The number of the decision.
    pub epoch: Epoch,
    /// `serving`, or where a switch stands.
    pub phase: &'static str,
    /// Redis was asked for, or has served before, and files serve.
    pub degraded: bool,
    /// Redis serves, and its loss would lose nothing.
    pub protected: bool,
    /// Why files serve.
    pub reason: Option<String>,
    /// Who has found Redis gone, or has moved the workspace by hand: a process, or a person.
    pub complainant: Option<String>,
    /// What Redis is now.
    pub redis: RedisNow,
    /// Changes that this host knows of, and those that are in the files; none when files serve.
    pub replica: Option<(Csn, Csn)>,
    /// Bytes in journals.
    pub journal_bytes: u64,
    /// Processes that have a journal.
    pub journals: usize,
}

/// What Redis is to a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisNow {
    /// Nobody asks for it.
    NotAsked,
    /// It serves as the decision says.
    Serves,
    /// It answers and could get everything back.
    Ready,
    /// It is not what the workspace needs.
    Other(String),
    /// It does not answer, or takes no writes.
    Away(String),
}

impl Connection {
    /// How the workspace stands, also while nothing serves. None before an engine was chosen.
    ///
    /// # Errors
    /// `Unavailable` when the state directory cannot be read.
    pub async fn condition(&self) -> Result<Option<Condition>> {
        let host = self.host();
        let Some(row) = host.namespace().row()? else { return Ok(None) };
        let (journal_bytes, journals) = host.namespace().journals();
        let asked = host.config().backend == BackendChoice::Auto
            && (host.config().redis_url.is_some() || row.instance.is_some());
        let is_redis = row.engine == ModeEngine::Redis;
        let replica = host.namespace().csn()?;
        let known = host.namespace().journaled(row.epoch).unwrap_or(replica);
        Ok(Some(Condition {
            engine: row.engine.word(),
            epoch: row.epoch,
            phase: row.phase.word(),
            degraded: !is_redis && asked,
            protected: row.is_mirrored() && row.phase == Phase::Serving,
            reason: row.reason.clone().filter(|_| asked),
            complainant: row.complainant.as_deref().map(shown),
            redis: if is_redis || asked { now(host, &row).await? } else { RedisNow::NotAsked },
            replica: is_redis.then_some((known.max(replica), replica)),
            journal_bytes,
            journals,
        }))
    }
}

async fn now(host: &Host, row: &ModeRow) -> Result<RedisNow> {
    Ok(match host.look().await? {
        Sighting::There(survey) => match row.judge(&survey.found()) {
            Finding::Same => RedisNow::Serves,
            _ if row.engine == ModeEngine::Files && host.may_return_to(row, &survey)? => RedisNow::Ready,
            Finding::Lost(Loss::Restarted) => RedisNow::Other("it was restarted".to_owned()),
            Finding::Lost(Loss::Empty) => RedisNow::Other("it does not hold this workspace".to_owned()),
            Finding::Closed => RedisNow::Other("it is closed, because the workspace is being deleted".to_owned()),
            Finding::Lost(Loss::Older) => RedisNow::Other("it holds older data of this workspace".to_owned()),
            Finding::Newer => RedisNow::Other("it holds later data than this state directory knows".to_owned()),
            Finding::Foreign => RedisNow::Other("it holds somebody else's namespace of this name".to_owned()),
        },
        Sighting::Gone(error) | Sighting::Away(error) | Sighting::Refusing(error) => RedisNow::Away(reason_of(&error)),
        Sighting::Unusable(error) => RedisNow::Other(reason_of(&error)),
    })
}

/// A complainant as people know it.
fn shown(complainant: &str) -> String {
    match complaining_process(complainant) {
        Some(process) => format!("process {}", process.pid),
        None => complainant.to_owned(),
    }
}
