//! The model of the failover protocol: every order of steps of a few processes, two engines and what may go wrong.
//!
//! Each change of the mode row is one of the functions of [`agentcoord_core::mode`], and what a take-over installs is chosen
//! by [`agentcoord_core::replica::continuation`]: the model walks what the program runs. What the program adds to it is
//! written here as steps, each of which is atomic in the program too; between any two of them a process may be paused
//! for as long as one likes, or be killed. Time-outs fire whenever they like. Leases and clocks are not modelled.

mod guards;
mod operations;
mod properties;
mod scenarios;
mod state;
mod switches;
mod world;

use std::sync::Arc;

use agentcoord_core::ids::Epoch;
use agentcoord_core::mode::{ModeEngine, ModeRow};
use stateright::{Model, Property};

use self::state::{At, Faults, Ghost, HOSTS, Meta, Process, Redis, State};
use self::world::{Others, Verb, World};

/// What makes the protocol safe. Each can be taken away, to see that the properties notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    /// Nobody is served before the take-over is installed.
    PhaseGate,
    /// A transaction on the files looks at the row.
    RowInFileTransactions,
    /// The transaction of the replicator looks at the row.
    RowInReplicator,
    /// Events carry the ring slot.
    RingInEvents,
    /// A connection is admitted to the run of Redis that the row names.
    RunAdmission,
    /// An answer brings along all events before it that this host may not have.
    PrefixOfWrites,
    /// So does the answer to a read.
    PrefixOfReads,
    /// Journal records carry the epoch.
    EpochInJournal,
    /// Redis is closed before it is written to.
    CloseFirst,
    /// A request that is voided leaves a tombstone.
    Tombstone,
    /// The journal is written before the last look at the word.
    AppendFirst,
    /// The word is looked at before the caller is told.
    LastLook,
    /// What is written back counts only while Redis is closed by the same attempt.
    AttemptInWrites,
    /// Without a complete replica there is no take-over.
    CompleteReplica,
    /// Only what is empty or ours, and not newer, is written over.
    Lineage,
    /// The watermark counts in its own epoch only.
    EpochOfWatermark,
    /// The watermark rises after the journal was written.
    WatermarkAfterAppend,
    /// A record of the epoch before is dropped only when the take-over is installed.
    TrimAfterInstall,
    /// What is known to be on this host is looked up before the word is read, not after.
    KnownBeforeWord,
    /// An empty Redis gets the lineage that the row names.
    SameLineage,
    /// A refusal of a request that was asked again is final.
    FinalRefusals,
}

/// What Redis loses: when it is killed, or, by `FLUSHALL`, while it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Loss {
    Nothing,
    /// The last event was not on its disk.
    Tail,
    Everything,
    /// An old dump was restored: what the namespace was at first.
    OldDump,
    /// Everything, without an end of the server.
    Flushed,
}

/// What is walked through.
#[derive(Clone, Debug)]
struct Scenario {
    /// What each process asks for, one after another.
    scripts: &'static [&'static [Verb]],
    faults: Faults,
    losses: &'static [Loss],
    /// How many returns may begin.
    returns: u64,
    /// Whether the host has joined a namespace with a history that its replica does not hold yet.
    is_cold: bool,
    /// Whether owners drop journal records that the replica holds.
    is_trimmed: bool,
    /// Whether a process may pause between its look at the word and the request. Without it the two are one step, which
    /// is many states fewer.
    is_unhurried: bool,
    /// What is taken away.
    without: Option<Guard>,
}

/// No fault at all.
const NONE: Faults = Faults { kills: 0, lost_answers: 0, delays: 0, crashes: 0, cuts: 0, foundings: 0, fetches: 0 };

const PLAIN: Scenario = Scenario {
    scripts: &[],
    faults: NONE,
    losses: &[],
    returns: 0,
    is_cold: false,
    is_trimmed: false,
    is_unhurried: false,
    without: None,
};

/// One step of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// The next step of a process.
    Step(u8),
    /// Redis executes what a process waits for.
    Execute(u8),
    /// A process learns that its connection is gone.
    Fail(u8),
    /// A process that nothing is wrong with begins the return.
    Return(u8),
    /// The replicator fetches, or applies what it has fetched.
    Fetch,
    Replicate,
    /// A late request is executed.
    ExecuteLate(u8),
    Kill(u8),
    LoseAnswer(u8),
    Delay(u8),
    Crash(Loss),
    Restart,
    Cut(u8),
    Heal,
    Found,
}

impl Scenario {
    fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// What a process asks for now.
    fn verb(&self, state: &State, process: usize) -> Option<Verb> {
        self.scripts[process].get(usize::from(state.processes[process].over)).copied()
    }

    fn others(&self, state: &State) -> Others {
        let mut others = Others { dead: 0, numbers: [1; 3], tombstones: self.has(Guard::Tombstone) };
        for (n, process) in state.processes.iter().enumerate() {
            others.dead |= u8::from(process.at == At::Dead) << n;
            others.numbers[n] = process.over + 1;
        }
        others
    }

    /// Drops what can make no difference any more, so that fewer states are told apart: journal records that no take-over
    /// can read or install, and a watermark that no request can use. Not where that is itself under test.
    fn forget(&self, state: &mut State) {
        let (row, csn) = (state.row.clone(), state.files.csn);
        if !self.is_trimmed && self.has(Guard::EpochInJournal) {
            let is_on_redis = row.engine == ModeEngine::Redis;
            let epoch = if is_on_redis { Some(row.epoch) } else { row.epoch_taken_over() };
            if self.has(Guard::PhaseGate) {
                for process in &mut state.processes {
                    process
                        .journal
                        .retain(|record| Some(Epoch(record.epoch.into())) == epoch && record.event.after.csn > csn);
                }
            }
        }
        if self.has(Guard::EpochOfWatermark) {
            let (of, marked) = state.watermark;
            let is_past = u64::from(of) < state.word.epoch.0 && !self.is_unhurried;
            if is_past || marked <= csn {
                state.watermark = (0, 0);
            }
        }
    }

    /// Whether nobody has anything left to do.
    fn is_over(state: &State) -> bool {
        state.processes.iter().all(|process| matches!(process.at, At::Done | At::Dead | At::Unavailable))
    }
}

impl Model for Scenario {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let row = ModeRow {
            run_id: Some("0".to_owned()),
            instance: Some("0".to_owned()),
            replica_complete: !self.is_cold,
            right_to_take_over: true,
            owner: Some(HOSTS[0].clone()),
            ..ModeRow::serving(Epoch(1), ModeEngine::Redis)
        };
        let process =
            Process { at: At::Start, over: 0, begun: None, admitted: Some(0), holds: None, journal: Vec::new() };
        let base = if self.is_cold { World::with_history() } else { World::default() };
        let meta = Meta { epoch: 1, lineage: 0, is_ours: true, is_closed: false, attempt: 0 };
        vec![State {
            word: row.word(),
            row: Arc::new(row),
            files: World::default(),
            redis: Redis { is_up: true, run: 0, meta: Some(meta), base, log: Vec::new() },
            processes: vec![process; self.scripts.len()],
            late: Vec::new(),
            batch: None,
            watermark: (1, base.csn),
            cut: 0,
            faults: self.faults,
            ghost: Ghost { observed: base.applied, ..Ghost::default() },
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.ghost.is_broken() {
            return;
        }
        let late = (0..).zip(&state.late).map(|(n, _)| Action::ExecuteLate(n));
        actions.extend(late.filter(|_| state.redis.is_up));
        if Self::is_over(state) {
            return;
        }
        for n in 0..state.processes.len() {
            self.steps_of(state, n, actions);
            self.mishaps_of(state, n, actions);
        }
        self.events_around(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Step(n) => self.step(&mut state, n.into()),
            Action::Execute(n) => self.executed(&mut state, n.into()),
            Action::Fail(n) => Self::fail(&mut state, n.into()),
            Action::Return(n) => self.leave(&mut state, n.into()),
            _ => self.happen(&mut state, action),
        }
        self.forget(&mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::of(self)
    }
}
