//! Random operations on tasks.

use agentcoord_core::ids::{Id, RequestNo, Ticket, Token};
use agentcoord_core::limits;
use agentcoord_core::op::Actor;
use agentcoord_core::task::{
    Backoff, CancelTask, ClaimTask, CompleteTask, ConfirmTask, CreateTasks, ExtendTask, FailTask, NewTask, NextTask,
    ProgressTask, RedriveTask, ReleaseTask, StartTask, WithdrawTask,
};

use super::known::Asking;
use super::operations::{Asked, CAPABILITIES, Generator, TAGS};

impl Generator {
    /// The claim that goes with the end of a task.
    fn next_task(&mut self) -> Option<NextTask> {
        let tags = self.some(&TAGS, 3);
        let (lease, wait) = (1 + self.random.number() % 5_000, self.random.number() % 8_000);
        let lease = self.maybe(3, lease);
        let wait = if self.random.one_in(3) { Some(0) } else { self.maybe(3, wait) };
        self.maybe(2, NextTask { lease, wait, ..NextTask::new(tags) })
    }

    fn task(&mut self) -> NewTask {
        let mut task = NewTask::titled(format!("task {}", self.random.number() % 100));
        let known = self.known.task_ids.pick(&mut self.random);
        let fresh = self.random.id();
        task.id = if self.random.one_in(40) { known.unwrap_or(fresh) } else { fresh };
        self.known.task_ids.push(task.id.clone());
        task.priority = u8::try_from(1 + self.random.below(5)).unwrap_or(3);
        task.tags = self.some(&TAGS, 2);
        task.requires = if self.random.one_in(3) { self.some(&CAPABILITIES, 2) } else { Vec::new() };
        task.max_attempts = 1 + u32::try_from(self.random.below(4)).unwrap_or(0);
        let lease = 1 + self.random.number() % 5_000;
        task.lease = self.maybe(3, lease);
        let key = format!("key {}", self.random.below(6));
        task.key = self.maybe(5, key);
        if self.random.one_in(4) {
            // A repeated key is a duplicate only when the content is the same.
            task = NewTask { id: task.id, key: task.key, ..NewTask::titled("the same") };
        }
        if self.random.one_in(3) {
            let first = self.random.number() % 2_000;
            let jitter = u32::try_from(self.random.below(101)).unwrap_or(0);
            task.backoff = Some(Backoff { first, most: first + self.random.number() % 8_000, jitter });
        }
        let start = (self.wall + self.random.number() % 12_000).saturating_sub(2_000);
        task.not_before = self.maybe(8, start);
        task.description = self.maybe(4, "much to do".to_owned());
        task.payload = self.maybe(4, "[]".to_owned());
        task
    }

    /// Makes some tasks depend on others: on known ones, on earlier ones of the request, on a hub, on nothing that exists.
    fn depend(&mut self, tasks: &mut [NewTask]) {
        let many = tasks.len() > 12;
        let hub = self.known.tasks.pick(&mut self.random).filter(|_| many);
        self.known.hubs.keep(3);
        if let Some(hub) = &hub {
            self.known.hubs.push(hub.clone());
        }
        let ids: Vec<Id> = tasks.iter().map(|task| task.id.clone()).collect();
        for (at, task) in tasks.iter_mut().enumerate() {
            task.depends_on.extend(hub.clone());
            let most = if many || self.random.one_in(4) { self.random.below(4) } else { 0 };
            for _ in 0..most {
                let known = match self.random.below(4) {
                    0 if at > 0 => Some(ids[self.random.below(at)].to_string()),
                    1 => self.known.task_ids.pick(&mut self.random).map(|id| id.to_string()),
                    _ => self.known.tasks.pick(&mut self.random),
                };
                // Ids that are known may be of tasks that were refused.
                let missing = self.random.one_in(if at > limits::WORK_PER_STEP { 4 } else { 200 });
                task.depends_on.push(known.filter(|_| !missing).unwrap_or_else(|| self.random.id().to_string()));
            }
        }
    }

    /// A task to be ended or put back, often one that many depend on.
    fn fated(&mut self) -> String {
        let hub = self.known.hubs.pick(&mut self.random).filter(|_| self.random.one_in(3));
        let known = hub.or_else(|| self.known.tasks.pick(&mut self.random));
        self.typed(known)
    }

    fn claim_of(&mut self) -> (String, Token, Actor) {
        let made_up = self.random.number() % 90;
        match self.known.claims.pick(&mut self.random) {
            Some(claim) => {
                let token = if self.random.one_in(12) { Token(made_up) } else { claim.token };
                (self.typed(Some(claim.key)), token, self.owner(claim.session))
            }
            None => (self.typed(None), Token(made_up), self.actor()),
        }
    }

    pub(super) fn tasks(&mut self) -> Asked {
        match self.random.below(40) {
            0..8 => {
                let actor = self.actor();
                let many = if self.random.one_in(25) { 1 + self.random.below(100) } else { 1 + self.random.below(3) };
                let mut tasks: Vec<NewTask> = (0..many).map(|_| self.task()).collect();
                self.depend(&mut tasks);
                self.ask(actor, CreateTasks::new(tasks))
            }
            8..17 => {
                let actor = self.actor();
                let mut body = ClaimTask::new(self.some(&TAGS, 3));
                let typed = self.fated();
                body.id = self.maybe(6, typed);
                let (lease, wait) = (1 + self.random.number() % 5_000, self.random.number() % 8_000);
                body.lease = self.maybe(3, lease);
                body.fallback = self.maybe(3, lease);
                body.wait = if self.random.one_in(3) { Some(0) } else { self.maybe(3, wait) };
                if body.id.is_some() {
                    body = ClaimTask { tags: Vec::new(), wait: None, ..body };
                }
                self.ask(actor, body)
            }
            17..20 => match self.known.task_requests.pick(&mut self.random) {
                Some(Asking { ticket: Some(ticket), session, .. }) => {
                    let actor = self.owner(session);
                    self.ask(actor, ConfirmTask { ticket })
                }
                _ => {
                    let (actor, ticket) = (self.actor(), Ticket::of(&self.random.id(), RequestNo(1)));
                    self.ask(actor, ConfirmTask { ticket })
                }
            },
            20..22 => {
                let asking = self.known.task_requests.pick(&mut self.random);
                let (client, request, confirm) = self.withdrawn(asking);
                let (_, number) = self.number_of(&client);
                let actor = self.actor();
                self.ask_as(client, number, actor, WithdrawTask { request, confirm })
            }
            22..24 => {
                let (key, token, actor) = self.claim_of();
                self.ask(actor, StartTask { key, token })
            }
            24..26 => {
                let (key, token, actor) = self.claim_of();
                let percent = u8::try_from(self.random.below(101)).unwrap_or(0);
                let body = ProgressTask {
                    key,
                    token,
                    note: self.maybe(2, "half way".to_owned()),
                    percent: self.maybe(2, percent),
                };
                self.ask(actor, body)
            }
            26..28 => {
                let (key, token, actor) = self.claim_of();
                let lease = 1 + self.random.number() % 5_000;
                self.ask(actor, ExtendTask { key, token, lease })
            }
            28..30 => {
                let (key, token, actor) = self.claim_of();
                let fresh = self.random.id();
                let id = if self.random.one_in(10) {
                    self.known.task_ids.pick(&mut self.random).unwrap_or(fresh)
                } else {
                    self.known.task_ids.find(|id| id.as_str().starts_with(&key)).unwrap_or(fresh)
                };
                let result = self.maybe(2, "{\"ok\":true}".to_owned());
                let next = self.next_task();
                self.ask(actor, CompleteTask { next, ..CompleteTask::new(key, id, token, result) })
            }
            30..32 => {
                let (key, token, actor) = self.claim_of();
                let retry = !self.random.one_in(3);
                let chance = u32::try_from(self.random.below(1_001)).unwrap_or(0);
                let (reason, audit) = ("no luck".to_owned(), "{\"decision_type\":\"dead_letter\"}".to_owned());
                let next = self.next_task();
                self.ask(actor, FailTask { key, token, reason, retry, chance, audit, next })
            }
            32..34 => {
                let (actor, key) = (self.actor(), self.fated());
                let reason = self.maybe(2, "not needed".to_owned());
                self.ask(actor, CancelTask { key, reason })
            }
            34..38 => {
                let (actor, key) = (self.actor(), self.fated());
                self.ask(actor, RedriveTask { key })
            }
            _ => {
                let (key, token, actor) = self.claim_of();
                self.ask(actor, ReleaseTask { key, token })
            }
        }
    }
}
