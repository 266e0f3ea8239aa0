//! The state of the model: the host's row and word, the two engines, the journals, the processes and the network.

use std::sync::{Arc, LazyLock};

use agentcoord_core::ids::{Epoch, Id};
use agentcoord_core::mode::{Found, FoundMeta, ModeEngine, ModeRow, ModeWord};

use super::world::{Answer, Event, Requests, World};

/// This host, and another one.
pub(super) static HOSTS: LazyLock<[Id; 2]> =
    LazyLock::new(|| ["1", "2"].map(|digit| digit.repeat(32).parse().expect("an id")));

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) row: Arc<ModeRow>,
    pub(super) word: ModeWord,
    /// The host's database: the replica while Redis serves, else the engine.
    pub(super) files: World,
    pub(super) redis: Redis,
    pub(super) processes: Vec<Process>,
    /// Requests that are still on their way although nobody waits for them.
    pub(super) late: Vec<Late>,
    /// What the replicator has fetched and not yet applied: the epoch and the events.
    pub(super) batch: Option<(u8, Vec<Event>)>,
    /// Up to here the events of an epoch are in some journal or in the replica.
    pub(super) watermark: (u8, u8),
    /// Who cannot reach Redis.
    pub(super) cut: u8,
    /// What may still go wrong.
    pub(super) faults: Faults,
    pub(super) ghost: Ghost,
}

/// How often each thing may go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Faults {
    /// A process is killed.
    pub(super) kills: u8,
    /// Redis executes, and the answer is lost.
    pub(super) lost_answers: u8,
    /// A request is given up by its caller and executed later.
    pub(super) delays: u8,
    /// Redis is killed.
    pub(super) crashes: u8,
    /// A process is cut off from Redis.
    pub(super) cuts: u8,
    /// Another host founds the namespace in an empty Redis.
    pub(super) foundings: u8,
    /// How often the replicator fetches; not a fault, but without a bound it would double the states.
    pub(super) fetches: u8,
}

/// What callers were told, and what was found to be wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ghost {
    /// All that acknowledged operations have done or seen.
    pub(super) observed: Requests,
    pub(super) voided: Requests,
    pub(super) refused: Requests,
    /// The highest fence that was acknowledged.
    pub(super) fence: u8,
    pub(super) lost: bool,
    pub(super) fence_went_back: bool,
    pub(super) gap: bool,
    pub(super) trespass: bool,
    /// An acknowledgement after a return.
    pub(super) acked_after_return: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Redis {
    pub(super) is_up: bool,
    /// The run of the server.
    pub(super) run: u8,
    pub(super) meta: Option<Meta>,
    /// The state before the log.
    pub(super) base: World,
    pub(super) log: Vec<Event>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Meta {
    pub(super) epoch: u8,
    pub(super) lineage: u8,
    /// Whether this host owns it.
    pub(super) is_ours: bool,
    pub(super) is_closed: bool,
    pub(super) attempt: u64,
}

impl Redis {
    pub(super) fn world(&self) -> World {
        self.log.last().map_or(self.base, |event| event.after)
    }

    /// The log begins anew after this state.
    pub(super) fn restart_log(&mut self, base: World) {
        self.base = base;
        self.log.clear();
    }

    /// What a look at it finds.
    pub(super) fn found(&self) -> Found {
        let meta = self.meta.map(|meta| FoundMeta {
            epoch: Epoch(u64::from(meta.epoch)),
            instance: meta.lineage.to_string(),
            owner: Some(HOSTS[usize::from(!meta.is_ours)].clone()),
            closed: meta.is_closed,
        });
        Found { run_id: self.run.to_string(), meta }
    }

    /// The events after one, if all of them are still there.
    pub(super) fn events_after(&self, csn: u8) -> Option<Vec<Event>> {
        let known = self.log.iter().filter(|event| event.after.csn > csn).copied();
        (csn >= self.base.csn).then(|| known.collect())
    }
}

/// A request on its way to Redis, on a connection that was admitted to one run of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Packet {
    pub(super) client: u8,
    pub(super) number: u8,
    pub(super) epoch: u8,
    pub(super) known: u8,
    pub(super) run: u8,
    pub(super) again: bool,
}

/// What is on its way to Redis although nobody waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Late {
    Request(Packet),
    WriteBack(WriteBack),
}

/// A step of a return, as it is sent to Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct WriteBack {
    pub(super) part: Part,
    pub(super) run: u8,
    pub(super) epoch: u8,
    pub(super) attempt: u64,
    pub(super) lineage: u8,
    /// What is written.
    pub(super) world: World,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Close,
    Rings,
    Records,
    Open,
}

/// An event in a journal, with the epoch in which its writer got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Record {
    pub(super) epoch: u8,
    pub(super) event: Event,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) at: At,
    /// How many of its requests are over.
    pub(super) over: u8,
    /// What was acknowledged to anyone when its request began; None: it has not begun.
    pub(super) begun: Option<Begun>,
    /// The run of Redis that its connection was admitted to.
    pub(super) admitted: Option<u8>,
    /// The fence of the lock that it believes to hold.
    pub(super) holds: Option<u8>,
    pub(super) journal: Vec<Record>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Begun {
    pub(super) observed: Requests,
    pub(super) fence: u8,
    /// Whether the request was sent to Redis before.
    pub(super) was_sent: bool,
}

/// Where a process is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum At {
    /// Reads the word next, and asks.
    Start,
    /// Has looked up what is known, read the word and written down its intent; sends next.
    Intended {
        epoch: u8,
        known: u8,
    },
    Waiting(Packet),
    Answered {
        epoch: u8,
        answer: Answer,
        events: Vec<Event>,
    },
    /// The events are in the journal; the last look at the word comes next.
    Appended {
        epoch: u8,
        answer: Answer,
    },
    /// The word has been looked at, too early; the journal comes next. Only without the guard.
    Looked {
        epoch: u8,
        answer: Answer,
        events: Vec<Event>,
    },
    /// Before the transaction on the files.
    Local {
        epoch: u8,
    },
    /// Wants `mode.lock`, because something was wrong in this epoch.
    Slow {
        epoch: Option<u8>,
    },
    /// Has `mode.lock`.
    Locked(Step),
    /// Has told its caller that no engine can be used.
    Unavailable,
    Done,
    Dead,
}

impl Ghost {
    /// Whether a promise is already broken: what comes after that says nothing more.
    pub(super) fn is_broken(&self) -> bool {
        self.lost || self.fence_went_back || self.gap || self.trespass
    }
}

impl At {
    /// Whether something that Redis has answered, or may answer, is still to be appended to the journal.
    pub(super) fn may_append(&self) -> bool {
        matches!(self, Self::Intended { .. } | Self::Waiting(_) | Self::Answered { .. } | Self::Looked { .. })
    }
}

/// The next step of a process that has `mode.lock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Publish(Then),
    /// Reads the journal of this process next.
    Read {
        journal: u8,
        found: Vec<Event>,
    },
    Install {
        found: Vec<Event>,
    },
    WriteBack(WriteBack),
    Arrive {
        run: u8,
    },
    Stay,
}

/// What follows the publication of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Then {
    /// What the row says: the end, or the completion of what somebody began.
    AsTheRowSays,
    /// The return that this process has begun.
    Return,
    /// The take-over, although the row says that files serve. Only without the guard.
    Install,
}

impl State {
    pub(super) fn epoch(&self) -> u8 {
        small(self.row.epoch)
    }

    /// Whether a process may talk to a server that runs.
    pub(super) fn reaches(&self, process: usize) -> bool {
        self.redis.is_up && self.cut & (1 << process) == 0
    }

    pub(super) fn is_locked(&self) -> bool {
        self.processes.iter().any(|process| matches!(process.at, At::Locked(_)))
    }

    /// The state that counts, if an engine serves.
    pub(super) fn live(&self) -> Option<World> {
        let row = &self.row;
        if row.word().serves(row.epoch, ModeEngine::Files) {
            return Some(self.files);
        }
        let meta = self.redis.meta.filter(|meta| {
            meta.is_ours && !meta.is_closed && meta.epoch == self.epoch() && row.engine == ModeEngine::Redis
        });
        let is_bound = row.run_id.as_ref().and_then(|run| run.parse().ok()) == Some(self.redis.run);
        meta.filter(|_| self.redis.is_up && is_bound).map(|_| self.redis.world())
    }
}

/// An epoch in one byte.
pub(super) fn small(epoch: Epoch) -> u8 {
    u8::try_from(epoch.0).expect("a small epoch")
}
