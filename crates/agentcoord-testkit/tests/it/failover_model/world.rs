//! What an engine holds, the operations on it, and what an event carries of it. Both engines run the same rules here; that
//! the real ones do is the business of the differential test.

use agentcoord_core::ids::Csn;

/// A set of requests.
pub(super) type Requests = u16;

const REQUESTS: u8 = 5;

/// A request of a client as a set. Requests are numbered from 1.
pub(super) fn request(client: u8, number: u8) -> Requests {
    assert!((1..=REQUESTS).contains(&number), "request {number} of client {client}");
    1 << (client * REQUESTS + number - 1)
}

/// What a process asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Verb {
    /// The lock, if nobody has it who lives.
    Acquire,
    /// Gives the lock back; passed over by who does not hold it.
    Release,
    /// Something that must happen once.
    Create,
    /// Completes a task.
    Complete,
    /// Claims what depends on the task: refused until it is completed.
    Claim,
    /// A read that people act on.
    Read,
    /// Settles what a dead process has asked for last.
    Void(u8),
}

/// An answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Reply {
    /// No answer: a tombstone.
    #[default]
    None,
    Done,
    /// The lock, with its fence.
    Granted(u8),
    Refused,
    /// The request that should be voided had been answered.
    Settled,
    /// It never happens.
    Voided,
}

/// Where the last answer of a client is kept. The real ring has more slots; here a client has one request at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    number: u8,
    answer: Answer,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Answer {
    pub(super) reply: Reply,
    /// The requests whose effects were there when the operation ran, with its own. For the properties only.
    pub(super) seen: Requests,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) csn: u8,
    /// The counter of fences.
    sequence: u8,
    holder: Option<u8>,
    completed: bool,
    claimed: Option<u8>,
    pub(super) ring: [Slot; 3],
    /// The requests whose effects are in this state. For the properties only.
    pub(super) applied: Requests,
    /// Whether one of them took effect twice. For the properties only.
    pub(super) twice: bool,
}

/// What an operation touches besides the ring slot of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Touched {
    Lock,
    Task,
    Dependent,
    Creation,
    SlotOf(u8),
    Nothing,
}

/// The records that a step touched, in their new form, and the shared state after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Event {
    client: u8,
    number: u8,
    touched: Touched,
    pub(super) after: World,
}

/// A request with what the engine must know to run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Call {
    pub(super) client: u8,
    pub(super) number: u8,
    pub(super) verb: Verb,
    pub(super) epoch: u8,
    /// Whether it may have been asked before.
    pub(super) again: bool,
}

/// What the engine knows of the processes.
#[derive(Clone, Copy)]
pub(super) struct Others {
    /// Whose sessions have ended.
    pub(super) dead: u8,
    /// The last request of each.
    pub(super) numbers: [u8; 3],
    /// Whether a request that is voided leaves a tombstone.
    pub(super) tombstones: bool,
}

impl World {
    pub(super) fn csn(&self) -> Csn {
        Csn(u64::from(self.csn))
    }

    /// Runs a request, or answers as it did before.
    pub(super) fn execute(&mut self, call: &Call, others: Others) -> (Answer, Option<Event>) {
        let slot = self.ring[usize::from(call.client)];
        if slot.number == call.number {
            return (slot.answer, None);
        }
        if slot.number > call.number {
            return (Answer::default(), None);
        }
        let Some((reply, touched)) = self.rule(call, others) else {
            let answer = Answer { reply: Reply::Refused, seen: self.applied };
            // A refusal is final when an earlier copy of the request may be on its way.
            let event = call.again.then(|| self.commit(call, answer.reply, Touched::Nothing));
            return (answer, event);
        };
        if touched == Touched::Nothing {
            return (Answer { reply, seen: self.applied }, None);
        }
        let event = self.commit(call, reply, touched);
        (self.ring[usize::from(call.client)].answer, Some(event))
    }

    /// What a request does, if it is not refused.
    fn rule(&mut self, call: &Call, others: Others) -> Option<(Reply, Touched)> {
        let me = Some(call.client);
        Some(match call.verb {
            Verb::Acquire => {
                let is_held = self.holder.is_some_and(|holder| others.dead & (1 << holder) == 0);
                if is_held {
                    return None;
                }
                self.holder = me;
                self.sequence += 1;
                (Reply::Granted(call.epoch * 16 + self.sequence), Touched::Lock)
            }
            Verb::Release if self.holder == me => {
                self.holder = None;
                (Reply::Done, Touched::Lock)
            }
            Verb::Release => return None,
            Verb::Create => (Reply::Done, Touched::Creation),
            Verb::Complete => {
                self.completed = true;
                (Reply::Done, Touched::Task)
            }
            Verb::Claim if self.completed => {
                self.claimed = me;
                (Reply::Done, Touched::Dependent)
            }
            Verb::Claim => return None,
            Verb::Read => (Reply::Done, Touched::Nothing),
            Verb::Void(whose) => {
                let (slot, number) = (&mut self.ring[usize::from(whose)], others.numbers[usize::from(whose)]);
                if slot.number >= number {
                    (Reply::Settled, Touched::Nothing)
                } else if others.tombstones {
                    *slot = Slot { number, answer: Answer::default() };
                    (Reply::Voided, Touched::SlotOf(whose))
                } else {
                    (Reply::Voided, Touched::Nothing)
                }
            }
        })
    }

    fn commit(&mut self, call: &Call, reply: Reply, touched: Touched) -> Event {
        self.csn += 1;
        self.mark(call.client, call.number, touched);
        let answer = Answer { reply, seen: self.applied };
        self.ring[usize::from(call.client)] = Slot { number: call.number, answer };
        Event { client: call.client, number: call.number, touched, after: *self }
    }

    fn mark(&mut self, client: u8, number: u8, touched: Touched) {
        if touched != Touched::Nothing {
            let request = request(client, number);
            self.twice |= self.applied & request != 0;
            self.applied |= request;
        }
    }

    /// Applies an event as a replica does: the touched records are put, and the shared state.
    pub(super) fn apply(&mut self, event: &Event, with_ring: bool) {
        let after = &event.after;
        match event.touched {
            Touched::Lock => self.holder = after.holder,
            Touched::Task => self.completed = after.completed,
            Touched::Dependent => self.claimed = after.claimed,
            Touched::SlotOf(whose) if with_ring => self.ring[usize::from(whose)] = after.ring[usize::from(whose)],
            Touched::SlotOf(_) | Touched::Creation | Touched::Nothing => {}
        }
        self.mark(event.client, event.number, event.touched);
        if with_ring {
            self.ring[usize::from(event.client)] = after.ring[usize::from(event.client)];
        }
        self.csn = after.csn;
        self.sequence = after.sequence;
    }

    /// A state in which others have worked before: one effect is there.
    pub(super) fn with_history() -> Self {
        Self { csn: 1, applied: Self::HISTORY, ..Self::default() }
    }

    /// The effect of who has worked before.
    pub(super) const HISTORY: Requests = 1 << 15;

    /// The same state with the ring of another.
    pub(super) fn with_ring_of(&self, other: &Self) -> Self {
        Self { ring: other.ring, ..*self }
    }
}
