//! Whether a wait would close a circle of lanes that wait for each other.
//!
//! The search goes from the lane that asks along the edges "waits for": to every lane that holds something in conflict
//! with what a lane waits for, and to every older waiter in conflict. Edges to holders are followed first: they are few
//! and close most circles. It follows at most [`limits::LOCK_EDGES`] edges.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::error::Policy;
use crate::ids::Id;
use crate::limits;
use crate::lock::{LockMode, LockPath, ONLOOKING, Waits};
use crate::machine::lock::overlap::{Request, Walk, holders, holds_against, waiters};
use crate::machine::rows::Rows;
use crate::machine::step::{Ruled, Step};
use crate::record::{LockRecord, LockTicketRecord, NEVER, SessionRecord};
use crate::table::{Range, index};

/// Paths of the lane that asks that are looked at before the search, to see whether anybody waits for it at all.
const HELD: usize = limits::WORK_PER_STEP;

/// A lane that the search has reached.
struct Node {
    session: Id,
    lane: String,
    agent: String,
    name: String,
    /// Who waits for it, for which path and why.
    parent: usize,
    path: Option<LockPath>,
    intent: Option<String>,
}

struct Search<'a> {
    asked: &'a LockTicketRecord,
    nodes: Vec<Node>,
    known: BTreeSet<(String, String)>,
    /// Paths whose holders in conflict with a mode are all known.
    holders_done: BTreeSet<(String, bool)>,
    /// Paths whose waiters before a number in conflict with a mode are all known.
    waiters_done: BTreeMap<(String, bool), u64>,
    left: usize,
}

/// The circle that the wait would close, beginning with the one that asks.
///
/// # Errors
/// `too_complex` when there is more to look at than one step may do.
pub(super) fn find<R: Rows>(step: &mut Step<'_, R>, asked: &LockTicketRecord) -> Ruled<Option<Vec<Waits>>> {
    if !is_waited_for(step, &Request::of(asked))? {
        return Ok(None);
    }
    let first = Node {
        session: asked.session.clone(),
        lane: asked.lane.clone(),
        agent: asked.agent.clone(),
        name: asked.name.clone(),
        parent: 0,
        path: None,
        intent: None,
    };
    let mut search = Search {
        asked,
        nodes: vec![first],
        known: BTreeSet::new(),
        holders_done: BTreeSet::new(),
        waiters_done: BTreeMap::new(),
        left: limits::LOCK_EDGES,
    };
    let (mut by_holding, mut by_waiting) = (VecDeque::from([0]), VecDeque::new());
    loop {
        let (at, holding) = match by_holding.pop_front() {
            Some(at) => {
                by_waiting.push_back(at);
                (at, true)
            }
            None => match by_waiting.pop_front() {
                Some(at) => (at, false),
                None => return Ok(None),
            },
        };
        let reached = search.nodes.len();
        if let Some(cycle) = search.follow(step, at, holding)? {
            return Ok(Some(cycle));
        }
        by_holding.extend(reached..search.nodes.len());
    }
}

/// Whether anybody waits for something that the lane of a request holds; true when it holds too much to tell.
fn is_waited_for<R: Rows>(step: &mut Step<'_, R>, request: &Request<'_>) -> Ruled<bool> {
    let held = step.scan(&Range::under(&["lane", request.session.as_str(), request.lane]), HELD)?;
    for entry in &held {
        let path = LockPath::parse(entry.parts()[3])?;
        let mut walk = Walk::new(step, &["path"], &[path], &[ONLOOKING, "w", "ws"], NEVER);
        while let Some(met) = walk.next(step)? {
            let waiter = step.get::<LockTicketRecord>(&met.key)?;
            if waiter.is_some_and(|w| !request.is_of(&w.session, &w.lane)) {
                return Ok(true);
            }
        }
    }
    Ok(held.len() == HELD)
}

impl Search<'_> {
    /// Follows the edges of a lane to holders, or to older waiters. Returns the circle when one is closed.
    fn follow<R: Rows>(&mut self, step: &mut Step<'_, R>, at: usize, holding: bool) -> Ruled<Option<Vec<Waits>>> {
        for ticket in self.tickets(step, at)? {
            let request = Request::of(&ticket);
            for path in request.paths {
                if self.is_done(&request, path, holding) {
                    continue;
                }
                let kinds = if holding { holders(request.mode) } else { waiters(request.mode) };
                let mut walk = Walk::new(step, &["path"], std::slice::from_ref(path), kinds, request.seq);
                let mut passed_over = false;
                while let Some(met) = walk.next(step)? {
                    self.spend()?;
                    let next = if met.holds {
                        step.get::<LockRecord>(&met.key)?.map(|l| (l.session, l.lane, l.agent, l.name))
                    } else {
                        match step.get::<LockTicketRecord>(&met.key)? {
                            // It waits for this very lane, which therefore does not wait for it.
                            Some(waiter) if holds_against(step, &request, &waiter)? => {
                                passed_over = true;
                                None
                            }
                            waiter => waiter.map(|w| (w.session, w.lane, w.agent, w.name)),
                        }
                    };
                    let Some((session, lane, agent, name)) = next else { continue };
                    if request.is_of(&session, &lane) {
                        continue;
                    }
                    if session == self.asked.session && lane == self.asked.lane {
                        return Ok(Some(self.circle(at, path, &ticket)));
                    }
                    if self.known.insert((session.as_str().to_owned(), lane.clone())) {
                        let (path, intent) = (Some(path.clone()), ticket.intent.clone());
                        self.nodes.push(Node { session, lane, agent, name, parent: at, path, intent });
                    }
                }
                if walk.cut {
                    return Err(Policy::TooComplex.into());
                }
                if !passed_over {
                    self.done(&request, path, holding);
                }
            }
        }
        Ok(None)
    }

    fn is_done(&self, request: &Request<'_>, path: &LockPath, holding: bool) -> bool {
        // Whoever is in the way of a shared request is in the way of an exclusive one too.
        [true, request.mode == LockMode::Exclusive].into_iter().any(|exclusive| {
            let key = (path.as_str().to_owned(), exclusive);
            if holding {
                self.holders_done.contains(&key)
            } else {
                self.waiters_done.get(&key).is_some_and(|seq| request.seq <= *seq)
            }
        })
    }

    fn done(&mut self, request: &Request<'_>, path: &LockPath, holding: bool) {
        let key = (path.as_str().to_owned(), request.mode == LockMode::Exclusive);
        if holding {
            self.holders_done.insert(key);
        } else {
            let seq = self.waiters_done.entry(key).or_default();
            *seq = request.seq.max(*seq);
        }
    }

    /// What a lane waits for; nothing when its session is over, since then it keeps nobody waiting for long.
    fn tickets<R: Rows>(&mut self, step: &mut Step<'_, R>, at: usize) -> Ruled<Vec<LockTicketRecord>> {
        if at == 0 {
            return Ok(vec![self.asked.clone()]);
        }
        let (id, lane) = (self.nodes[at].session.clone(), self.nodes[at].lane.clone());
        let live = match step.get::<SessionRecord>(id.as_str())? {
            Some(session) => step.is_live(&id, &session)?,
            None => false,
        };
        let mut tickets = Vec::new();
        if live {
            for entry in step.scan(&index::waits_of(id.as_str(), &lane), self.left)? {
                self.spend()?;
                tickets.extend(step.get::<LockTicketRecord>(entry.key())?);
            }
        }
        Ok(tickets)
    }

    fn spend(&mut self) -> Ruled<()> {
        if self.left == 0 {
            return Err(Policy::TooComplex.into());
        }
        self.left -= 1;
        Ok(())
    }

    /// The circle that ends with a lane that waits for the one that asks.
    fn circle(&self, at: usize, path: &LockPath, ticket: &LockTicketRecord) -> Vec<Waits> {
        let waits = |node: &Node, path: LockPath, intent| Waits {
            agent: node.agent.clone(),
            name: node.name.clone(),
            path,
            intent,
        };
        let mut cycle = vec![waits(&self.nodes[at], path.clone(), ticket.intent.clone())];
        let mut at = at;
        while let Some(path) = self.nodes[at].path.clone() {
            let Node { parent, intent, .. } = &self.nodes[at];
            cycle.push(waits(&self.nodes[*parent], path, intent.clone()));
            at = *parent;
        }
        cycle.reverse();
        cycle
    }
}
