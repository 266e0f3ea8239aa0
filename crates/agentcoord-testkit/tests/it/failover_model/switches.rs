//! The steps under `mode.lock`, each a write that others can see; and what happens to processes, Redis and the network.

use std::collections::BTreeMap;
use std::sync::Arc;

use agentcoord_core::ids::{Csn, Epoch};
use agentcoord_core::mode::{Finding, ModeEngine, ModeRow, Phase};
use agentcoord_core::replica::continuation;

use super::operations::number;
use super::state::{At, Begun, Late, Meta, Part, State, Step, Then, WriteBack, small};
use super::world::{Event, World};
use super::{Action, Guard, Loss, Scenario};

impl Scenario {
    /// The lock is free: reads row and word, and decides. `suspect` is the epoch in which something was wrong.
    pub(super) fn lock(&self, state: &mut State, n: usize, suspect: Option<u8>) {
        if state.word != state.row.word() || state.row.phase != Phase::Serving {
            state.processes[n].at = At::Locked(Step::Publish(Then::AsTheRowSays));
            return;
        }
        if state.row.engine == ModeEngine::Files || suspect != Some(state.epoch()) {
            return self.resume(state, n);
        }
        let finding = state.reaches(n).then(|| state.row.judge(&state.redis.found()));
        if finding == Some(Finding::Same) {
            state.processes[n].admitted = Some(state.redis.run);
            return self.resume(state, n);
        }
        let may = finding.is_none_or(|finding| matches!(finding, Finding::Lost(_)));
        let row = if self.has(Guard::CompleteReplica) {
            state.row.take_over("a process", "gone")
        } else {
            ModeRow { replica_complete: true, ..(*state.row).clone() }.take_over("a process", "gone")
        };
        state.processes[n].at = match row.filter(|_| may) {
            Some(row) if self.has(Guard::PhaseGate) => {
                state.row = Arc::new(row);
                At::Locked(Step::Publish(Then::AsTheRowSays))
            }
            Some(row) => {
                state.row = Arc::new(ModeRow { phase: Phase::Serving, ..row });
                At::Locked(Step::Publish(Then::Install))
            }
            None => At::Unavailable,
        };
    }

    pub(super) fn switch(&self, state: &mut State, n: usize, step: Step) {
        let next = match step {
            Step::Publish(then) => {
                state.word = state.row.word();
                let read = Step::Read { journal: 0, found: Vec::new() };
                match (then, state.row.phase) {
                    (Then::Return, _) => {
                        let part = if self.has(Guard::CloseFirst) { Part::Close } else { Part::Rings };
                        Some(self.begin_writing(state, part))
                    }
                    (Then::Install, _) | (Then::AsTheRowSays, Phase::Preparing) => Some(read),
                    (Then::AsTheRowSays, Phase::Returning) => Some(Step::Stay),
                    (Then::AsTheRowSays, Phase::Serving) => None,
                }
            }
            Step::Read { journal, found } => Some(self.read(state, journal, found)),
            Step::Install { found } => self.install(state, &found),
            Step::WriteBack(part) => {
                let next = |which: Part| Step::WriteBack(WriteBack { part: which, ..part });
                let is_done = state.reaches(n) && self.write_back(state, &part);
                Some(match part.part {
                    _ if !is_done => Step::Stay,
                    Part::Close => next(Part::Rings),
                    Part::Rings => next(Part::Records),
                    Part::Records => next(Part::Open),
                    Part::Open => Step::Arrive { run: part.run },
                })
            }
            Step::Arrive { run } => {
                let lineage = state.redis.meta.map_or_else(String::new, |meta| meta.lineage.to_string());
                let row = ModeRow { instance: Some(lineage), ..(*state.row).clone() }.arrive(&run.to_string(), 1);
                state.row = Arc::new(row.expect("a return"));
                Some(Step::Publish(Then::AsTheRowSays))
            }
            Step::Stay => {
                state.row = Arc::new(state.row.stay().expect("a return"));
                Some(Step::Publish(Then::AsTheRowSays))
            }
        };
        match next {
            Some(step) => state.processes[n].at = At::Locked(step),
            None if state.ghost.gap => state.processes[n].at = At::Unavailable,
            None => self.resume(state, n),
        }
    }

    /// Reads one more journal, and those after it to which nothing can be added any more.
    fn read(&self, state: &State, mut journal: u8, mut found: Vec<Event>) -> Step {
        let taken_over = state.row.epoch_taken_over().map_or(state.epoch() - 1, small);
        loop {
            let Some(process) = state.processes.get(usize::from(journal)) else {
                return Step::Install { found };
            };
            let of_epoch = process.journal.iter().filter(|r| r.epoch == taken_over || !self.has(Guard::EpochInJournal));
            found.extend(of_epoch.map(|record| record.event));
            journal += 1;
            if state.processes.get(usize::from(journal)).is_some_and(|next| next.at.may_append()) {
                return Step::Read { journal, found };
            }
        }
    }

    /// One transaction: the events that continue the replica, and the row.
    fn install(&self, state: &mut State, found: &[Event]) -> Option<Step> {
        let found: BTreeMap<Csn, Event> = found.iter().map(|event| (event.after.csn(), *event)).collect();
        let Ok(events) = continuation(state.files.csn(), found) else {
            state.ghost.gap = true;
            return None;
        };
        for event in &events {
            state.files.apply(event, self.has(Guard::RingInEvents));
        }
        if self.has(Guard::PhaseGate) {
            state.row = Arc::new(state.row.installed().expect("a take-over"));
        }
        state.ghost.lost |= state.ghost.observed & !state.files.applied != 0;
        Some(Step::Publish(Then::AsTheRowSays))
    }

    pub(super) fn may_leave(&self, state: &State, n: usize) -> bool {
        let row = &state.row;
        let is_settled = state.word.serves(row.epoch, ModeEngine::Files) && row.word() == state.word;
        is_settled
            && row.attempt < self.returns
            && matches!(state.processes[n].at, At::Start | At::Done)
            && state.reaches(n)
            && !state.is_locked()
            && (row.judge(&state.redis.found()).may_be_written_over() || !self.has(Guard::Lineage))
    }

    /// The return begins.
    pub(super) fn leave(&self, state: &mut State, n: usize) {
        let known = state.redis.meta.map(|meta| Epoch(meta.epoch.into()));
        state.row = Arc::new(state.row.leave(known, "").expect("files that serve"));
        state.processes[n].at = At::Locked(Step::Publish(Then::Return));
    }

    /// The first part of a return as it is sent to the Redis that runs now.
    fn begin_writing(&self, state: &State, part: Part) -> Step {
        let known = state.row.instance.as_ref().and_then(|instance| instance.parse().ok()).expect("a lineage");
        let is_new = state.redis.meta.is_none() && !self.has(Guard::SameLineage);
        Step::WriteBack(WriteBack {
            part,
            run: state.redis.run,
            epoch: state.epoch(),
            attempt: state.row.attempt,
            lineage: if is_new { state.epoch() } else { known },
            world: state.files,
        })
    }

    /// Redis executes a part of a return, each in one script; false: it refuses. From the first part on nobody else runs
    /// anything there. The state is written in two pieces.
    fn write_back(&self, state: &mut State, part: &WriteBack) -> bool {
        let (epoch, lineage, attempt) = (part.epoch, part.lineage, part.attempt);
        let closed = Meta { epoch, lineage, is_ours: true, is_closed: true, attempt };
        let meta = state.redis.meta;
        if !state.redis.is_up || state.redis.run != part.run {
            return false;
        }
        let is_of_attempt = meta == Some(closed) || !self.has(Guard::CloseFirst);
        let before = state.redis.world();
        match part.part {
            Part::Close => {
                let may = meta.is_none_or(|meta| meta.is_ours && meta.lineage == lineage && meta.epoch <= epoch);
                if !may && self.has(Guard::Lineage) {
                    return false;
                }
                state.ghost.trespass |= meta.is_some_and(|meta| !meta.is_ours);
                state.redis.meta = Some(closed);
            }
            Part::Rings | Part::Records if !is_of_attempt && self.has(Guard::AttemptInWrites) => return false,
            Part::Rings => state.redis.restart_log(before.with_ring_of(&part.world)),
            Part::Records => state.redis.restart_log(part.world.with_ring_of(&before)),
            Part::Open if !is_of_attempt => return false,
            Part::Open => state.redis.meta = Some(Meta { is_closed: false, ..closed }),
        }
        true
    }

    /// What may go wrong with a process.
    pub(super) fn mishaps_of(&self, state: &State, n: usize, actions: &mut Vec<Action>) {
        let (name, faults, at) = (number(n), &state.faults, &state.processes[n].at);
        if faults.kills > 0 && !matches!(at, At::Done | At::Dead | At::Unavailable) {
            actions.push(Action::Kill(name));
        }
        if faults.lost_answers > 0 && matches!(at, At::Answered { .. }) {
            actions.push(Action::LoseAnswer(name));
        }
        let sent_to = match at {
            At::Waiting(packet) => Some(packet.run),
            At::Locked(Step::WriteBack(part)) if state.reaches(n) => Some(part.run),
            _ => None,
        };
        if faults.delays > 0 && state.redis.is_up && sent_to == Some(state.redis.run) {
            actions.push(Action::Delay(name));
        }
        if faults.cuts > 0 && state.reaches(n) {
            actions.push(Action::Cut(name));
        }
    }

    /// What may happen to Redis and the network, and what the replicator may do.
    pub(super) fn events_around(&self, state: &State, actions: &mut Vec<Action>) {
        let redis = &state.redis;
        if state.faults.crashes > 0 && redis.is_up {
            let can = |loss: &&Loss| **loss != Loss::Tail || !redis.log.is_empty();
            actions.extend(self.losses.iter().filter(can).map(|loss| Action::Crash(*loss)));
        }
        if !redis.is_up {
            actions.push(Action::Restart);
        }
        if state.cut != 0 {
            actions.push(Action::Heal);
        }
        if state.faults.foundings > 0 && redis.is_up && redis.meta.is_none() {
            actions.push(Action::Found);
        }
        if state.batch.is_some() {
            actions.push(Action::Replicate);
        } else if state.faults.fetches > 0 && redis.is_up && state.row.is_mirrored() && self.admits(state) {
            let csn = state.files.csn;
            if redis.events_after(csn).is_some_and(|events| !events.is_empty()) {
                actions.push(Action::Fetch);
            }
        }
    }

    pub(super) fn happen(&self, state: &mut State, action: Action) {
        match action {
            Action::Kill(n) => {
                state.faults.kills -= 1;
                let process = &mut state.processes[usize::from(n)];
                match process.at {
                    At::Waiting(packet) => state.late.push(Late::Request(packet)),
                    At::Locked(Step::WriteBack(part)) => state.late.push(Late::WriteBack(part)),
                    _ => {}
                }
                (process.at, process.admitted, process.holds) = (At::Dead, None, None);
                process.begun = process.begun.map(|_| Begun::default());
            }
            Action::LoseAnswer(n) => {
                state.faults.lost_answers -= 1;
                Self::fail(state, n.into());
            }
            Action::Delay(n) => {
                state.faults.delays -= 1;
                let process = &mut state.processes[usize::from(n)];
                match process.at {
                    At::Waiting(packet) => state.late.push(Late::Request(packet)),
                    At::Locked(Step::WriteBack(part)) => {
                        state.late.push(Late::WriteBack(part));
                        process.at = At::Locked(Step::Stay);
                    }
                    _ => {}
                }
                Self::fail(state, n.into());
            }
            Action::ExecuteLate(which) => match state.late.remove(which.into()) {
                Late::Request(packet) => drop(self.execute(state, packet)),
                Late::WriteBack(part) => drop(self.write_back(state, &part)),
            },
            Action::Crash(loss) => {
                state.faults.crashes -= 1;
                if loss != Loss::Flushed {
                    state.redis.is_up = false;
                    state.late.clear();
                }
                match loss {
                    Loss::Nothing => {}
                    Loss::Tail => drop(state.redis.log.pop()),
                    Loss::Everything | Loss::Flushed => state.redis.meta = None,
                    Loss::OldDump => {
                        let first = Meta { epoch: 1, lineage: 0, is_ours: true, is_closed: false, attempt: 0 };
                        state.redis.meta = Some(first);
                    }
                }
                if matches!(loss, Loss::Everything | Loss::OldDump | Loss::Flushed) {
                    state.redis.base = World::default();
                    state.redis.log.clear();
                }
            }
            Action::Restart => {
                state.redis.is_up = true;
                state.redis.run += 1;
            }
            Action::Cut(n) => {
                state.faults.cuts -= 1;
                state.cut |= 1 << n;
            }
            Action::Heal => state.cut = 0,
            Action::Found => {
                state.faults.foundings -= 1;
                state.redis.meta = Some(Meta { epoch: 1, lineage: 99, is_ours: false, is_closed: false, attempt: 0 });
            }
            Action::Fetch => {
                state.faults.fetches -= 1;
                let events = state.redis.events_after(state.files.csn).unwrap_or_default();
                state.batch = Some((state.epoch(), events));
            }
            Action::Replicate => self.replicate(state),
            Action::Step(_) | Action::Execute(_) | Action::Fail(_) | Action::Return(_) => {}
        }
    }

    /// One transaction: the batch, if the row is still that of its epoch and it continues the replica.
    fn replicate(&self, state: &mut State) {
        let Some((epoch, events)) = state.batch.take() else { return };
        let serves = state.row.word().serves(Epoch(epoch.into()), ModeEngine::Redis);
        if !serves && self.has(Guard::RowInReplicator) {
            return;
        }
        let found = events.into_iter().map(|event| (event.after.csn(), event)).collect();
        for event in continuation(state.files.csn(), found).unwrap_or_default() {
            state.files.apply(&event, self.has(Guard::RingInEvents));
        }
    }
}
