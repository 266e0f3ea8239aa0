//! The steps of an operation, on Redis and on the files.

use agentcoord_core::mode::{Finding, Loss, ModeEngine, Phase};

use super::state::{At, Begun, Packet, Record, State, small};
use super::world::{Answer, Call, Event, Reply, Verb, request};
use super::{Action, Guard, Scenario};

impl Scenario {
    /// What a process can do by itself, or has done to it when all is well.
    pub(super) fn steps_of(&self, state: &State, n: usize, actions: &mut Vec<Action>) {
        let name = number(n);
        match &state.processes[n].at {
            At::Start => {
                let waits_for = match self.verb(state, n) {
                    Some(Verb::Void(whose)) => Some(&state.processes[usize::from(whose)].at),
                    _ => None,
                };
                if waits_for.is_none_or(|at| matches!(at, At::Dead | At::Done | At::Unavailable)) {
                    actions.push(Action::Step(name));
                }
            }
            At::Waiting(packet) => {
                let arrives = state.redis.is_up && state.redis.run == packet.run;
                if arrives {
                    actions.push(Action::Execute(name));
                }
                if !arrives || !state.reaches(n) {
                    actions.push(Action::Fail(name));
                }
            }
            At::Answered { .. } => {
                actions.push(Action::Step(name));
                if !state.reaches(n) {
                    actions.push(Action::Fail(name));
                }
            }
            At::Slow { .. } if state.is_locked() => {}
            At::Done | At::Dead | At::Unavailable => {}
            At::Slow { .. }
            | At::Locked(_)
            | At::Intended { .. }
            | At::Appended { .. }
            | At::Looked { .. }
            | At::Local { .. } => {
                actions.push(Action::Step(name));
            }
        }
        if self.may_leave(state, n) {
            actions.push(Action::Return(name));
        }
    }

    pub(super) fn step(&self, state: &mut State, n: usize) {
        match state.processes[n].at.clone() {
            At::Start => self.start(state, n),
            At::Intended { epoch, known } => {
                let known = if self.has(Guard::KnownBeforeWord) { known } else { self.known(state, epoch) };
                state.processes[n].at = self.send(state, n, epoch, known);
            }
            At::Answered { epoch, answer, events } if self.has(Guard::AppendFirst) => {
                let is_empty = events.is_empty();
                self.append(state, n, epoch, &events);
                state.processes[n].at = At::Appended { epoch, answer };
                if is_empty {
                    self.look(state, n, epoch, answer);
                }
            }
            At::Answered { epoch, answer, events } => {
                let serves = state.word.epoch.0 == u64::from(epoch) && state.word.phase == Phase::Serving;
                state.processes[n].at = if serves { At::Looked { epoch, answer, events } } else { At::Start };
            }
            At::Looked { epoch, answer, events } => {
                self.append(state, n, epoch, &events);
                self.acknowledge(state, n, answer);
            }
            At::Appended { epoch, answer } => self.look(state, n, epoch, answer),
            At::Local { epoch } => self.commit(state, n, epoch),
            At::Slow { epoch } => self.lock(state, n, epoch),
            At::Locked(step) => self.switch(state, n, step),
            At::Waiting(_) | At::Unavailable | At::Done | At::Dead => {}
        }
    }

    /// Reads the word, and asks the engine that it names. The intent is in the journal before anything is sent.
    fn start(&self, state: &mut State, n: usize) {
        let verb = self.verb(state, n).expect("a request");
        if let Verb::Void(whose) = verb
            && (state.processes[usize::from(whose)].at != At::Dead
                || state.processes[usize::from(whose)].begun.is_none())
        {
            return self.advance(state, n);
        }
        let ghost = state.ghost;
        let process = &mut state.processes[n];
        if process.begun.is_none() {
            process.begun = Some(Begun { observed: ghost.observed, fence: ghost.fence, was_sent: false });
        }
        if verb == Verb::Release {
            process.holds = None;
        }
        let word = state.word;
        let epoch = small(word.epoch);
        let known = self.known(state, epoch);
        let at = match (word.phase, word.engine) {
            (Phase::Serving, ModeEngine::Files) => At::Local { epoch },
            (Phase::Serving, ModeEngine::Redis) if self.is_unhurried => At::Intended { epoch, known },
            (Phase::Serving, ModeEngine::Redis) => self.send(state, n, epoch, known),
            _ => At::Slow { epoch: None },
        };
        state.processes[n].at = at;
    }

    /// Sends a request to Redis, on a connection that is admitted first if need be.
    fn send(&self, state: &mut State, n: usize, epoch: u8, known: u8) -> At {
        let run = state.redis.run;
        let is_admitted = state.processes[n].admitted == Some(run);
        if !state.reaches(n) || !(is_admitted || state.epoch() == epoch && self.admits(state)) {
            state.processes[n].admitted = None;
            return At::Slow { epoch: Some(epoch) };
        }
        if self.is_trimmed {
            let (csn, now, phase) = (state.files.csn, state.epoch(), state.row.phase);
            let is_needed = |record: &Record| {
                if record.epoch == now {
                    record.event.after.csn > csn
                } else {
                    phase != Phase::Serving && self.has(Guard::TrimAfterInstall)
                }
            };
            state.processes[n].journal.retain(is_needed);
        }
        let process = &mut state.processes[n];
        process.admitted = Some(run);
        let begun = process.begun.as_mut().expect("begun");
        let again = std::mem::replace(&mut begun.was_sent, true);
        At::Waiting(Packet { client: number(n), number: process.over + 1, epoch, known, run, again })
    }

    /// Up to here the events of an epoch are on this host, in a journal or in the replica.
    fn known(&self, state: &State, epoch: u8) -> u8 {
        let (of, marked) = state.watermark;
        let counts = of == epoch || !self.has(Guard::EpochOfWatermark);
        if counts { state.files.csn.max(marked) } else { state.files.csn }
    }

    /// Whether a connection to Redis may be used.
    pub(super) fn admits(&self, state: &State) -> bool {
        match state.row.judge(&state.redis.found()) {
            Finding::Same => true,
            Finding::Lost(Loss::Restarted) => !self.has(Guard::RunAdmission),
            _ => false,
        }
    }

    /// Redis executes a request: its answer and the events that come with it; None: it refuses to execute anything here.
    pub(super) fn execute(&self, state: &mut State, packet: Packet) -> Option<(Answer, Vec<Event>)> {
        let meta = state.redis.meta.filter(|meta| meta.is_ours && !meta.is_closed && meta.epoch == packet.epoch);
        meta?;
        state.redis.events_after(packet.known)?;
        let verb = self.scripts[usize::from(packet.client)][usize::from(packet.number) - 1];
        let call = Call {
            client: packet.client,
            number: packet.number,
            verb,
            epoch: packet.epoch,
            again: packet.again && self.has(Guard::FinalRefusals),
        };
        let mut world = state.redis.world();
        let (answer, event) = world.execute(&call, self.others(state));
        state.redis.log.extend(event);
        let mut events = state.redis.events_after(packet.known)?;
        if event.is_none() && !self.has(Guard::PrefixOfReads) {
            events.clear();
        }
        if event.is_some() && !self.has(Guard::PrefixOfWrites) {
            events = event.into_iter().collect();
        }
        Some((answer, events))
    }

    pub(super) fn executed(&self, state: &mut State, n: usize) {
        let At::Waiting(packet) = state.processes[n].at else { return };
        let epoch = packet.epoch;
        state.processes[n].at = match self.execute(state, packet) {
            Some((answer, events)) => {
                if !self.has(Guard::WatermarkAfterAppend) {
                    Self::raise_watermark(state, epoch, &events);
                }
                At::Answered { epoch, answer, events }
            }
            None => At::Slow { epoch: Some(epoch) },
        };
    }

    /// The connection is gone, and with it the request or its answer.
    pub(super) fn fail(state: &mut State, n: usize) {
        let process = &mut state.processes[n];
        if let At::Waiting(Packet { epoch, .. }) | At::Answered { epoch, .. } = process.at {
            process.admitted = None;
            process.at = At::Slow { epoch: Some(epoch) };
        }
    }

    /// The events go to the journal, then the watermark rises: they are on this host.
    fn append(&self, state: &mut State, n: usize, epoch: u8, events: &[Event]) {
        let journal = &mut state.processes[n].journal;
        for event in events {
            let record = Record { epoch, event: *event };
            if !journal.contains(&record) {
                journal.push(record);
            }
        }
        Self::raise_watermark(state, epoch, events);
    }

    fn raise_watermark(state: &mut State, epoch: u8, events: &[Event]) {
        if let Some(last) = events.last() {
            state.watermark = state.watermark.max((epoch, last.after.csn));
        }
    }

    /// The last look at the word: only what it still names is acknowledged, else the request is asked again.
    fn look(&self, state: &mut State, n: usize, epoch: u8, answer: Answer) {
        let serves = state.word.serves(agentcoord_core::ids::Epoch(epoch.into()), ModeEngine::Redis);
        if serves || !self.has(Guard::LastLook) {
            self.acknowledge(state, n, answer);
        } else {
            state.processes[n].at = At::Start;
        }
    }

    /// One transaction on the files: the row, the ring, the operation.
    fn commit(&self, state: &mut State, n: usize, epoch: u8) {
        let serves = state.row.word().serves(agentcoord_core::ids::Epoch(epoch.into()), ModeEngine::Files);
        if !serves && self.has(Guard::RowInFileTransactions) {
            state.processes[n].at = At::Slow { epoch: None };
            return;
        }
        let process = &state.processes[n];
        let again = process.begun.is_some_and(|begun| begun.was_sent) && self.has(Guard::FinalRefusals);
        let verb = self.verb(state, n).expect("a request");
        let call = Call { client: number(n), number: process.over + 1, verb, epoch, again };
        let others = self.others(state);
        let (answer, _) = state.files.execute(&call, others);
        self.acknowledge(state, n, answer);
    }

    /// The caller is told.
    fn acknowledge(&self, state: &mut State, n: usize, answer: Answer) {
        let verb = self.verb(state, n).expect("a request");
        let begun = state.processes[n].begun.expect("begun");
        let ghost = &mut state.ghost;
        ghost.lost |= begun.observed & !answer.seen != 0;
        ghost.observed |= answer.seen;
        ghost.acked_after_return |= state.row.attempt > 0 && state.row.engine == ModeEngine::Redis;
        if let Reply::Granted(fence) = answer.reply {
            ghost.fence_went_back |= fence <= begun.fence;
            ghost.fence = ghost.fence.max(fence);
            state.processes[n].holds = Some(fence);
        }
        if answer.reply == Reply::Refused {
            ghost.refused |= request(number(n), state.processes[n].over + 1);
        }
        if let (Verb::Void(whose), Reply::Voided) = (verb, answer.reply) {
            ghost.voided |= request(whose, state.processes[usize::from(whose)].over + 1);
        }
        self.advance(state, n);
    }

    /// Goes on to the next request; a release is passed over by who holds nothing.
    fn advance(&self, state: &mut State, n: usize) {
        let process = &mut state.processes[n];
        process.over += 1;
        process.begun = None;
        while self.scripts[n].get(usize::from(process.over)) == Some(&Verb::Release) && process.holds.is_none() {
            process.over += 1;
        }
        self.resume(state, n);
    }

    /// Back to the process's own requests.
    pub(super) fn resume(&self, state: &mut State, n: usize) {
        let is_done = self.verb(state, n).is_none();
        let process = &mut state.processes[n];
        process.at = if is_done { At::Done } else { At::Start };
        if is_done {
            // What it does not need any more should not tell states apart.
            process.admitted = None;
        }
    }
}

/// A process's number in one byte.
pub(super) fn number(n: usize) -> u8 {
    u8::try_from(n).expect("few processes")
}
