//! The take-over: Redis is gone, the files go on. And the completion of whatever switch somebody else has left half done.

use std::time::{Duration, Instant};

use agentcoord_core::agent::ProcessIdentity;
use agentcoord_core::ids::Id;
use agentcoord_core::mode::{Finding, Loss, ModeRow, Phase};
use agentcoord_core::{Error, Result, waypoint};
use agentcoord_fs::{ModeLock, process};
use agentcoord_redis::Sighting;

use crate::audit::Entry;
use crate::config::BackendChoice;
use crate::host::Host;

/// After a longer wait for the mode lock, a look at Redis is old.
const FRESH: Duration = Duration::from_millis(50);

/// What a look at Redis says to a host that it serves.
enum Verdict {
    /// It serves as before.
    Fine,
    /// It is lost: waiting does not help.
    Lost(String),
    /// It may come back any moment.
    Away(Error),
    /// What is wrong is not an outage; no take-over.
    Wrong(Error),
}

impl Host {
    /// Finds out whether the Redis of this row is gone for good, and takes over then. The row in force afterwards.
    ///
    /// # Errors
    /// `Unavailable` while nobody can tell yet, or when this process may not take over; `Refused` when Redis holds what
    /// is not ours.
    pub(crate) async fn doubt(&self, row: &ModeRow) -> Result<ModeRow> {
        let verdict = self.look_at(row).await?;
        // From its end: a look that nobody answers takes a while itself, and says all that there is to say.
        let looked = Instant::now();
        let reason = match verdict {
            Verdict::Fine => {
                let missing = self.suspicion().missing(row.epoch);
                self.suspicion().drop_it(row.epoch);
                return match missing {
                    Some(gap) => self.cannot_continue(gap).await,
                    None => Ok(row.clone()),
                };
            }
            Verdict::Wrong(error) => return Err(error),
            Verdict::Lost(reason) => reason,
            Verdict::Away(error) if self.suspicion().confirm(row.epoch, self.config().detection) => reason_of(&error),
            Verdict::Away(error) => return Err(self.away(error)),
        };
        if self.config().backend != BackendChoice::Auto {
            return Err(self.away(Error::unavailable(reason)));
        }
        let lock = self.lock_mode().await?;
        let current = lock.publish()?.ok_or_else(mode_is_gone)?;
        if current.epoch != row.epoch || current.phase != Phase::Serving {
            // Somebody has decided meanwhile: what this process holds against the epoch before is void.
            return self.complete(&lock, current);
        }
        if looked.elapsed() > FRESH
            && let Verdict::Fine | Verdict::Wrong(_) = self.look_at(row).await?
        {
            self.suspicion().drop_it(row.epoch);
            return Ok(current);
        }
        self.take_over(&lock, &current, self.complainant(), &reason)
    }

    /// Takes over under the lock.
    ///
    /// # Errors
    /// `Unavailable` when this host has no right to, or does not hold everything.
    pub(crate) fn take_over(&self, lock: &ModeLock, row: &ModeRow, who: &str, reason: &str) -> Result<ModeRow> {
        let Some(preparing) = row.take_over(who, reason) else {
            return Err(Error::unavailable(format!("{reason}; this host does not hold everything that Redis does")));
        };
        tracing::warn!(epoch = %preparing.epoch, reason, "taking over from Redis");
        lock.write(&preparing)?;
        waypoint::reached("take-over/preparing");
        self.complete(lock, preparing)
    }

    /// Completes a switch that is under way, whoever has begun it, and returns the row that serves.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be completed from here.
    pub(crate) fn complete(&self, lock: &ModeLock, row: ModeRow) -> Result<ModeRow> {
        if let Some(epoch) = row.epoch_taken_over() {
            let found = self.namespace().read_journals(epoch)?;
            waypoint::reached("take-over/read");
            let installed = lock.install(found, &self.clock().read(), &note(&row)?)?;
            tracing::warn!(epoch = %installed.row.epoch, carried = installed.carried, "files serve");
            return Ok(installed.row);
        }
        if let Some(staying) = row.stay() {
            // Nobody has used the epoch of the attempt: the files still hold everything.
            lock.write(&staying)?;
            return Ok(staying);
        }
        if row.phase == Phase::Serving {
            return Ok(row);
        }
        Err(Error::unavailable(
            "the workspace is in the middle of a switch to files, whose state is still in Redis; \
             finish it with `agentcoord store use files`",
        ))
    }

    async fn look_at(&self, row: &ModeRow) -> Result<Verdict> {
        Ok(match self.look().await? {
            Sighting::There(survey) => match row.judge(&survey.found()) {
                Finding::Same if self.suspicion().is_about_loss(row.epoch) => {
                    Verdict::Lost("Redis has lost changes that it had acknowledged".to_owned())
                }
                Finding::Same => Verdict::Fine,
                Finding::Lost(loss) => Verdict::Lost(in_words(loss).to_owned()),
                Finding::Closed => Verdict::Wrong(closed()),
                Finding::Newer => Verdict::Wrong(Error::Refused {
                    policy: "newer_in_redis",
                    reason: format!(
                        "{} holds a later state of this workspace than this state directory knows; is the directory \
                         an old copy? `agentcoord store` shows both",
                        self.shown_url()
                    ),
                }),
                Finding::Foreign => Verdict::Wrong(Error::Refused {
                    policy: "foreign_namespace",
                    reason: format!(
                        "{} holds somebody else's namespace {}; choose another namespace or another Redis",
                        self.shown_url(),
                        self.namespace().name()
                    ),
                }),
            },
            Sighting::Gone(error) => Verdict::Lost(reason_of(&error)),
            Sighting::Away(error) | Sighting::Refusing(error) => Verdict::Away(error),
            Sighting::Unusable(error) => Verdict::Wrong(error),
        })
    }

    fn away(&self, error: Error) -> Error {
        let what = if self.config().backend == BackendChoice::Auto {
            "it is not known yet for how long"
        } else {
            "this process may not use files (`--backend redis`)"
        };
        let reason = format!("this workspace works on Redis, and Redis is away ({}); {what}", reason_of(&error));
        Error::Unavailable { reason, source: Some(error.into()) }
    }
}

fn in_words(loss: Loss) -> &'static str {
    match loss {
        Loss::Restarted => "Redis was restarted",
        Loss::Empty => "Redis does not hold this workspace any more",
        Loss::Older => "Redis came back with older data",
    }
}

/// An error's own words, without its kind.
pub(crate) fn reason_of(error: &Error) -> String {
    match error {
        Error::Unavailable { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

/// The entry that a take-over leaves in the audit log, in the step that completes it.
fn note(row: &ModeRow) -> Result<String> {
    let context = format!("redis to files, epoch {}", row.epoch);
    let why = row.reason.as_deref().unwrap_or("Redis was away");
    let who = row.complainant.as_deref().filter(|who| complaining_process(who).is_none()).unwrap_or("system");
    Entry::new(who, "engine_switch", context, format!("{why}; {{carried}} changes came from journals")).encode()
}

pub(crate) fn closed() -> Error {
    Error::unavailable(
        "this workspace is closed, because somebody is deleting it; `agentcoord store purge` finishes that",
    )
}

pub(crate) fn mode_is_gone() -> Error {
    Error::unavailable("the workspace's mode is gone; was its state directory removed?")
}

/// A new complainant of this process: how one who has its own way to Redis is named when it finds Redis gone.
pub(crate) fn complainant() -> String {
    let ProcessIdentity { pid, started, boot_id, pid_namespace } = process::own_identity();
    format!("process {pid} {started} {boot_id} {pid_namespace} {}", Id::random())
}

/// The process that a complaint names; none when a person has complained.
pub(crate) fn complaining_process(complainant: &str) -> Option<ProcessIdentity> {
    let mut words = complainant.split(' ');
    let (Some("process"), Some(pid), Some(started), Some(boot_id), Some(namespace)) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return None;
    };
    Some(ProcessIdentity {
        pid: pid.parse().ok()?,
        started: started.parse().ok()?,
        boot_id: boot_id.to_owned(),
        pid_namespace: namespace.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_names_its_process() {
        assert_eq!(complaining_process(&complainant()), Some(process::own_identity()));
        assert_eq!(complaining_process("human:eve"), None);
    }
}
