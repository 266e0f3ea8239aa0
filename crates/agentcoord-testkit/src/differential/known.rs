//! What the generator remembers of earlier answers, so that later operations speak of things that exist.

use agentcoord_core::agent::{Beat, Deregistered, Evicted, Registered, Ticked};
use agentcoord_core::approval::{ApprovalRef, Consumed, RequestApproval};
use agentcoord_core::audit::{Appended, Sealed};
use agentcoord_core::board::{InboxRead, Posted};
use agentcoord_core::history::Pruned;
use agentcoord_core::ids::{Id, RequestNo, Ticket, Token};
use agentcoord_core::lock::{Acquire, Grant, Released, Revoked};
use agentcoord_core::op::{Actor, Answer, Call, Verb};
use agentcoord_core::request::Voided;
use agentcoord_core::task::{Claim, Created, TaskChanged, Withdrawn};

use crate::random::Random;

/// Newest things only: old ones are mostly gone.
const KEPT: usize = 60;

/// A list that forgets its oldest.
#[derive(Clone, Debug)]
pub(super) struct Recent<T>(Vec<T>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone> Recent<T> {
    pub(super) fn push(&mut self, item: T) {
        if self.0.len() == KEPT {
            self.0.remove(0);
        }
        self.0.push(item);
    }

    /// One of them, the newer the likelier.
    pub(super) fn pick(&self, random: &mut Random) -> Option<T> {
        if self.0.is_empty() {
            return None;
        }
        let at = random.below(self.0.len()).max(random.below(self.0.len()));
        Some(self.0[at].clone())
    }

    pub(super) fn find(&self, fits: impl Fn(&T) -> bool) -> Option<T> {
        self.0.iter().rev().find(|item| fits(item)).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn keep(&mut self, newest: usize) {
        self.0.drain(..self.0.len().saturating_sub(newest));
    }
}

/// A process that sends requests.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) id: Id,
    pub(super) next: u64,
}

/// A claim that was answered.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    pub(super) key: String,
    pub(super) token: Token,
    pub(super) session: Option<Id>,
}

/// A request of a lock or task that may be withdrawn.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    pub(super) client: Id,
    pub(super) request: RequestNo,
    pub(super) ticket: Option<Ticket>,
    pub(super) session: Option<Id>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) sessions: Recent<Id>,
    pub(super) agents: Recent<String>,
    pub(super) grants: Recent<(Token, Option<Id>)>,
    pub(super) lock_requests: Recent<Asking>,
    pub(super) task_requests: Recent<Asking>,
    pub(super) tasks: Recent<String>,
    /// Tasks that many depend on.
    pub(super) hubs: Recent<String>,
    /// Whole ids of tasks, to type them longer than their key and to name results.
    pub(super) task_ids: Recent<Id>,
    pub(super) claims: Recent<Claimed>,
    pub(super) threads: Recent<String>,
    pub(super) approvals: Recent<(String, Actor)>,
    pub(super) digests: Recent<String>,
    /// The last audit entry that an append has answered, and how many are sealed.
    pub(super) entries: u64,
    pub(super) sealed: u64,
}

/// A reply that teaches something.
pub(super) trait Teach {
    fn teach(self, call: &Call, known: &mut Known);
}

/// Learns from an encoded answer.
pub(super) fn learn<R: Teach + serde::de::DeserializeOwned>(bytes: &[u8], call: &Call, known: &mut Known) {
    if let Ok((Answer::Done { reply, .. }, _)) = Answer::<R>::read(bytes, call.verb) {
        reply.teach(call, known);
    }
}

fn session(call: &Call) -> Option<Id> {
    match &call.actor {
        Actor::Session(id) => Some(id.clone()),
        _ => None,
    }
}

impl Teach for Registered {
    fn teach(self, _call: &Call, known: &mut Known) {
        known.sessions.push(self.session);
        known.agents.push(self.agent);
        known.sessions.keep(8);
    }
}

impl Teach for Acquire {
    fn teach(self, call: &Call, known: &mut Known) {
        let ticket = match self {
            Self::Granted(grant) => {
                known.grants.push((grant.token, session(call)));
                known.grants.keep(12);
                None
            }
            Self::Queued { ticket, .. } => Some(ticket),
            Self::Contended { .. } | Self::Deadlock { .. } | Self::Lapsed { .. } | Self::Free => None,
        };
        known.lock_requests.push(Asking {
            client: call.client.clone(),
            request: call.request,
            ticket,
            session: session(call),
        });
    }
}

impl Teach for Claim {
    fn teach(self, call: &Call, known: &mut Known) {
        let ticket = match self {
            Self::Claimed(claim) => {
                known.claims.push(Claimed { key: claim.key, token: claim.token, session: session(call) });
                known.claims.keep(12);
                None
            }
            Self::Queued { ticket, .. } => Some(ticket),
            Self::Nothing { .. } | Self::Lapsed { .. } => None,
        };
        known.task_requests.push(Asking {
            client: call.client.clone(),
            request: call.request,
            ticket,
            session: session(call),
        });
    }
}

impl Teach for TaskChanged {
    fn teach(self, call: &Call, known: &mut Known) {
        if let Some(claim) = self.next {
            claim.teach(call, known);
        }
    }
}

impl Teach for Created {
    fn teach(self, _call: &Call, known: &mut Known) {
        for item in self.items {
            known.tasks.push(item.key);
        }
    }
}

impl Teach for Posted {
    fn teach(self, _call: &Call, known: &mut Known) {
        known.threads.push(self.thread);
    }
}

impl Teach for ApprovalRef {
    fn teach(self, call: &Call, known: &mut Known) {
        if call.verb == RequestApproval::NAME {
            known.approvals.push((self.key, call.actor.clone()));
            known.approvals.keep(10);
        }
    }
}

impl Teach for Appended {
    fn teach(self, _call: &Call, known: &mut Known) {
        known.entries = known.entries.max(self.seq);
    }
}

impl Teach for Sealed {
    fn teach(self, _call: &Call, known: &mut Known) {
        known.sealed = known.sealed.max(self.sealed);
    }
}

macro_rules! teaches_nothing {
    ($($reply:ty),+) => { $(impl Teach for $reply { fn teach(self, _call: &Call, _known: &mut Known) {} })+ };
}
teaches_nothing!(
    Beat,
    Deregistered,
    Evicted,
    Ticked,
    Grant,
    Released,
    Revoked,
    Withdrawn,
    Consumed,
    InboxRead,
    Pruned,
    Voided
);
