//! The host's decision which engine is active, and the steps by which it changes: values and pure functions.
//!
//! The file engine keeps the row and its published word; the crate `agentcoord` walks the steps; the model in the testkit
//! walks the same functions through every order of events. The protocol and why it is right: `docs/failover.md`.

use crate::ids::{Epoch, Id};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
        }

        impl $name {
            /// As a word.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// As a number.
            #[must_use]
            pub fn number(self) -> u8 {
                match self { $(Self::$variant => $number,)+ }
            }

            /// Of a word.
            #[must_use]
            pub fn of_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }

            /// Of a number.
            #[must_use]
            pub fn of_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

words! {
    /// The engine that a host uses.
    ModeEngine {
        /// Redis or Valkey.
        Redis = 1 "redis",
        /// The embedded file.
        Files = 2 "files",
    }
}

words! {
    /// Where a switch of the engine stands. While it is not [`Phase::Serving`], nobody is served.
    Phase {
        /// The engine serves.
        Serving = 1 "serving",
        /// The file engine is being brought up to date before it takes over.
        Preparing = 2 "preparing",
        /// The state is being carried back to Redis.
        Returning = 3 "returning",
    }
}

/// The decision and all that its switches need. The truth is one row in the host's database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModeRow {
    /// The number of the decision. It never goes back.
    pub epoch: Epoch,
    /// The engine.
    pub engine: ModeEngine,
    /// Where its switch stands.
    pub phase: Phase,
    /// How many returns were begun.
    pub attempt: u64,
    /// Who found Redis gone: a process, or the person who moved the workspace by hand. A return waits until it agrees.
    pub complainant: Option<String>,
    /// Why this engine serves, for people.
    pub reason: Option<String>,
    /// The run of the Redis server that this epoch is bound to.
    pub run_id: Option<String>,
    /// The lineage of the state in Redis.
    pub instance: Option<String>,
    /// The generation of the state in Redis.
    pub generation: u64,
    /// Whether the files hold everything that Redis has acknowledged, or the journals do. Without it there is no take-over.
    pub replica_complete: bool,
    /// Whether this host may take over when Redis is gone.
    pub right_to_take_over: bool,
    /// The host that owns the namespace in Redis.
    pub owner: Option<Id>,
}

impl ModeRow {
    /// A row for an engine that serves, with nothing else known.
    #[must_use]
    pub fn serving(epoch: Epoch, engine: ModeEngine) -> Self {
        Self {
            epoch,
            engine,
            phase: Phase::Serving,
            attempt: 0,
            complainant: None,
            reason: None,
            run_id: None,
            instance: None,
            generation: 0,
            replica_complete: false,
            right_to_take_over: false,
            owner: None,
        }
    }

    /// The published part.
    #[must_use]
    pub fn word(&self) -> ModeWord {
        ModeWord { epoch: self.epoch, engine: self.engine, phase: self.phase }
    }

    /// Whether Redis serves and everything it acknowledges is kept on this host first, so that it may be taken over.
    #[must_use]
    pub fn is_mirrored(&self) -> bool {
        self.engine == ModeEngine::Redis && self.right_to_take_over && self.replica_complete
    }

    /// The take-over begins: from here on nothing that Redis answers counts, and the journals are read. None when this
    /// host has no right to it, its replica is not complete, or something else is in force.
    #[must_use]
    pub fn take_over(&self, complainant: &str, reason: &str) -> Option<Self> {
        let may = self.is_mirrored() && self.phase == Phase::Serving;
        may.then(|| Self {
            epoch: above(self.epoch),
            engine: ModeEngine::Files,
            phase: Phase::Preparing,
            complainant: Some(complainant.to_owned()),
            reason: Some(reason.to_owned()),
            ..self.clone()
        })
    }

    /// The epoch whose journals belong to a take-over that is under way.
    #[must_use]
    pub fn epoch_taken_over(&self) -> Option<Epoch> {
        let is_take_over = self.engine == ModeEngine::Files && self.phase == Phase::Preparing && self.replica_complete;
        is_take_over.then(|| Epoch(self.epoch.0 - 1))
    }

    /// The take-over is over: the files hold everything, which the same transaction has seen to.
    #[must_use]
    pub fn installed(&self) -> Option<Self> {
        let is_preparing = self.engine == ModeEngine::Files && self.phase == Phase::Preparing;
        is_preparing.then(|| Self { phase: Phase::Serving, ..self.clone() })
    }

    /// The return begins: from here on nobody writes to the files, which is all of the drain. `known` is the epoch that
    /// stands in Redis, if any. A state that has never been there gets `lineage`, and keeps it whatever becomes of this
    /// return: Redis may have it from now on.
    #[must_use]
    pub fn leave(&self, known: Option<Epoch>, lineage: &str) -> Option<Self> {
        let is_serving = self.engine == ModeEngine::Files && self.phase == Phase::Serving;
        is_serving.then(|| Self {
            epoch: above(known.map_or(self.epoch, |known| known.max(self.epoch))),
            phase: Phase::Returning,
            attempt: self.attempt + 1,
            instance: Some(self.instance.clone().unwrap_or_else(|| lineage.to_owned())),
            ..self.clone()
        })
    }

    /// The return is over: Redis holds everything and has been opened. What many share is taken over by none of them.
    #[must_use]
    pub fn arrive(&self, run_id: &str, generation: u64) -> Option<Self> {
        let is_returning = self.engine == ModeEngine::Files && self.phase == Phase::Returning;
        is_returning.then(|| Self {
            attempt: self.attempt,
            run_id: Some(run_id.to_owned()),
            instance: self.instance.clone(),
            generation,
            replica_complete: true,
            right_to_take_over: self.owner.is_some(),
            owner: self.owner.clone(),
            ..Self::serving(self.epoch, ModeEngine::Redis)
        })
    }

    /// The return is given up: files serve on, in yet another epoch. Nobody has used the one of the attempt, and nobody
    /// ever does.
    #[must_use]
    pub fn stay(&self) -> Option<Self> {
        let is_returning = self.engine == ModeEngine::Files && self.phase == Phase::Returning;
        is_returning.then(|| Self { epoch: above(self.epoch), phase: Phase::Serving, ..self.clone() })
    }

    /// What a Redis that answers is to this host.
    #[must_use]
    pub fn judge(&self, found: &Found) -> Finding {
        let Some(meta) = &found.meta else { return Finding::Lost(Loss::Empty) };
        if self.instance.as_ref() != Some(&meta.instance) || self.owner != meta.owner {
            return Finding::Foreign;
        }
        match meta.epoch.cmp(&self.epoch) {
            std::cmp::Ordering::Greater => Finding::Newer,
            std::cmp::Ordering::Less => Finding::Lost(Loss::Older),
            std::cmp::Ordering::Equal if self.engine == ModeEngine::Files => Finding::Lost(Loss::Older),
            std::cmp::Ordering::Equal if meta.closed => Finding::Closed,
            std::cmp::Ordering::Equal if self.run_id.as_ref() != Some(&found.run_id) => Finding::Lost(Loss::Restarted),
            std::cmp::Ordering::Equal => Finding::Same,
        }
    }
}

/// The published copy of the decision, read before and after every operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ModeWord {
    /// See [`ModeRow::epoch`].
    pub epoch: Epoch,
    /// See [`ModeRow::engine`].
    pub engine: ModeEngine,
    /// See [`ModeRow::phase`].
    pub phase: Phase,
}

impl ModeWord {
    /// Whether this engine serves in this epoch.
    #[must_use]
    pub fn serves(&self, epoch: Epoch, engine: ModeEngine) -> bool {
        *self == Self { epoch, engine, phase: Phase::Serving }
    }
}

/// What a look at Redis has found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Found {
    /// The run of the server.
    pub run_id: String,
    /// What it says of the namespace; none: nothing.
    pub meta: Option<FoundMeta>,
}

/// The decision as Redis has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FoundMeta {
    /// The epoch.
    pub epoch: Epoch,
    /// The lineage of its state.
    pub instance: String,
    /// The host that owns it; none: many share it.
    pub owner: Option<Id>,
    /// Whether no step may run there.
    pub closed: bool,
}

/// What a Redis that answers is to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// As the row says.
    Same,
    /// It may have lost what it acknowledged, and waiting would not help.
    Lost(Loss),
    /// Ours, in this epoch, and closed on purpose: it is being deleted.
    Closed,
    /// Ours, of a later epoch than this host knows: this state directory is an old copy.
    Newer,
    /// Somebody else's namespace of the same name.
    Foreign,
}

/// How Redis has lost what it acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Ours, in this epoch, but started anew: what it acknowledged last may be missing.
    Restarted,
    /// It does not know the namespace: its data are gone, or it is another server.
    Empty,
    /// Ours, of an earlier epoch: an old dump, or what the files have taken over from.
    Older,
}

impl Finding {
    /// Whether the state of the files may be written over what is there.
    #[must_use]
    pub fn may_be_written_over(self) -> bool {
        matches!(self, Self::Lost(Loss::Empty | Loss::Older))
    }
}

/// The epoch after one.
#[must_use]
pub fn above(epoch: Epoch) -> Epoch {
    Epoch(epoch.0 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_redis() -> ModeRow {
        ModeRow {
            run_id: Some("run".into()),
            instance: Some("lineage".into()),
            replica_complete: true,
            right_to_take_over: true,
            owner: Some(Id::random()),
            ..ModeRow::serving(Epoch(7), ModeEngine::Redis)
        }
    }

    fn found(row: &ModeRow, epoch: u64) -> Found {
        let meta =
            FoundMeta { epoch: Epoch(epoch), instance: "lineage".into(), owner: row.owner.clone(), closed: false };
        Found { run_id: "run".into(), meta: Some(meta) }
    }

    #[test]
    fn no_take_over_without_right_or_complete_replica() {
        let row = on_redis();
        assert!(row.take_over("p", "gone").is_some());
        for wrong in [
            ModeRow { right_to_take_over: false, ..row.clone() },
            ModeRow { replica_complete: false, ..row.clone() },
            ModeRow { phase: Phase::Preparing, ..row.clone() },
            ModeRow { engine: ModeEngine::Files, ..row },
        ] {
            assert_eq!(wrong.take_over("p", "gone"), None, "{wrong:?}");
        }
    }

    #[test]
    fn epochs_only_rise() {
        let taken = on_redis().take_over("p", "gone").expect("a right");
        let serving = taken.installed().expect("prepared");
        let leaving = serving.leave(Some(Epoch(20)), "another").expect("serving");
        let stayed = leaving.stay().expect("returning");
        assert_eq!([taken.epoch.0, serving.epoch.0, leaving.epoch.0, stayed.epoch.0], [8, 8, 21, 22]);
        assert_eq!(taken.epoch_taken_over(), Some(Epoch(7)));
        assert_eq!(serving.epoch_taken_over(), None);
    }

    #[test]
    fn a_lineage_is_given_once_and_survives_a_return_that_fails() {
        let serving = ModeRow { instance: None, ..ModeRow::serving(Epoch(7), ModeEngine::Files) };
        let stayed = serving.leave(None, "first").and_then(|row| row.stay()).expect("a return that failed");
        let arrived = stayed.leave(None, "second").and_then(|row| row.arrive("run", 1)).expect("a return");
        assert_eq!(arrived.instance.as_deref(), Some("first"));
    }

    #[test]
    fn redis_is_judged_by_lineage_epoch_and_run() {
        let row = on_redis();
        assert_eq!(row.judge(&found(&row, 7)), Finding::Same);
        assert_eq!(row.judge(&found(&row, 6)), Finding::Lost(Loss::Older));
        assert_eq!(row.judge(&found(&row, 8)), Finding::Newer);
        assert_eq!(row.judge(&Found { run_id: "other".into(), ..found(&row, 7) }), Finding::Lost(Loss::Restarted));
        assert_eq!(row.judge(&Found { run_id: "run".into(), meta: None }), Finding::Lost(Loss::Empty));
        let mut closed = found(&row, 7);
        closed.meta.as_mut().expect("a namespace").closed = true;
        assert_eq!(row.judge(&closed), Finding::Closed);
        let mut foreign = found(&row, 6);
        foreign.meta.as_mut().expect("a namespace").instance = "another".into();
        assert_eq!(row.judge(&foreign), Finding::Foreign);
        let mut elsewhere = found(&row, 6);
        elsewhere.meta.as_mut().expect("a namespace").owner = Some(Id::random());
        assert_eq!(row.judge(&elsewhere), Finding::Foreign);
    }

    #[test]
    fn files_are_written_back_only_over_what_is_empty_or_ours_and_not_newer() {
        let row = on_redis().take_over("p", "gone").and_then(|row| row.installed()).expect("taken over");
        for (epoch, may) in [(7, true), (8, true), (9, false)] {
            assert_eq!(row.judge(&found(&row, epoch)).may_be_written_over(), may, "{epoch}");
        }
        assert!(row.judge(&Found { run_id: "run".into(), meta: None }).may_be_written_over());
        assert!(!Finding::Foreign.may_be_written_over());
    }
}
