//! Histories of locks: what must hold of them whatever happened, and whether a queue of locks explains them.
//!
//! Paths of one first part, as `a/x` and `a/`, are one object, which is judged on its own; a request stays within one.

use std::collections::{BTreeMap, BTreeSet};

use agentcoord_core::ids::Token;
use agentcoord_core::lock::{LockMode, LockPath};
use serde::{Deserialize, Serialize};
use todc_utils::specifications::Specification;

use super::linear::{Span, is_linearizable};
use super::told;

/// What a process calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// Asks for one grant over some paths.
    Acquire {
        /// The paths, of one first part.
        paths: Vec<LockPath>,
        /// How.
        mode: LockMode,
        /// For which lane of the process.
        lane: String,
    },
    /// Gives a grant back, or drops its guard, which gives it back later.
    Release {
        /// Its paths.
        paths: Vec<LockPath>,
        /// Its token.
        token: Token,
    },
    /// Drops the future of an acquire: whatever it takes is given back some time later.
    Withdraw {
        /// The number of the acquire.
        acquire: u64,
    },
    /// Asks whether a token protects a path.
    Verify {
        /// The path.
        path: LockPath,
        /// The token.
        token: Token,
    },
    /// Adds one to the number in the file of an object, which an exclusive lock protects.
    Count {
        /// The file's name.
        file: String,
    },
    /// Ends the session of a process, by itself or by a kill.
    End {
        /// The process.
        process: u32,
    },
}

/// What comes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The lock is held.
    Granted(Token),
    /// Somebody was in the way, and the request did not wait.
    Contended,
    /// It waited long enough.
    TimedOut,
    /// A rule forbade it: a circle of waits, an upgrade.
    Refused,
    /// The grant was given back.
    Released,
    /// The grant was over already.
    Stale,
    /// Whether the token protects the path.
    Current(bool),
    /// The new number in the file.
    Counted(u64),
    /// The session has ended.
    Ended,
}

/// A call with what came of it.
pub type Operation = super::Operation<Call, Outcome>;

/// What was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Calls of all processes.
    pub calls: usize,
    /// Those that never heard of an outcome.
    pub unknown: usize,
    /// Locks that were granted.
    pub granted: usize,
    /// Requests that did not wait and found somebody in the way.
    pub contended: usize,
    /// Requests that waited in vain.
    pub timed_out: usize,
    /// Requests that would have closed a circle, or were an upgrade.
    pub refused: usize,
    /// Objects, each with a history of its own.
    pub objects: usize,
    /// Calls on the object that had most.
    pub longest: usize,
}

/// Judges a history.
///
/// # Errors
/// What is wrong with it, with the calls that show it.
pub fn check(history: &[Operation]) -> Result<Report, String> {
    let mut report = Report { calls: history.len(), ..Report::default() };
    for operation in history {
        match operation.returned {
            None => report.unknown += 1,
            Some((_, Outcome::Granted(_))) => report.granted += 1,
            Some((_, Outcome::Contended)) => report.contended += 1,
            Some((_, Outcome::TimedOut)) => report.timed_out += 1,
            Some((_, Outcome::Refused)) => report.refused += 1,
            Some(_) => {}
        }
    }
    tokens_increase(history)?;
    counters_are_exact(history)?;
    for (object, history) in objects(history) {
        let judged = holders_exclude_each_other(&history).and_then(|()| has_an_order(&history));
        judged.map_err(|what| format!("{object}: {what}"))?;
        report.objects += 1;
        report.longest = report.longest.max(history.len());
    }
    Ok(report)
}

/// The calls by object. An end belongs to every object that its process has used, a withdrawal to that of its acquire.
fn objects(history: &[Operation]) -> BTreeMap<String, Vec<&Operation>> {
    let mut of_process: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    let mut of_acquire: BTreeMap<(u32, u64), String> = BTreeMap::new();
    for operation in history {
        if let Call::Acquire { paths, .. } = &operation.call {
            let object = object(paths.first());
            of_process.entry(operation.process).or_default().insert(object.clone());
            of_acquire.insert((operation.process, operation.number), object);
        }
    }
    let mut objects: BTreeMap<String, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        let concerned = match &operation.call {
            Call::Acquire { paths, .. } | Call::Release { paths, .. } => vec![object(paths.first())],
            Call::Verify { path, .. } => vec![object(Some(path))],
            Call::Withdraw { acquire } => of_acquire.get(&(operation.process, *acquire)).cloned().into_iter().collect(),
            Call::Count { .. } => Vec::new(),
            Call::End { process } => of_process.get(process).into_iter().flatten().cloned().collect(),
        };
        for object in concerned {
            objects.entry(object).or_default().push(operation);
        }
    }
    objects
}

fn object(path: Option<&LockPath>) -> String {
    path.and_then(|path| path.as_str().split('/').next()).unwrap_or_default().to_owned()
}

/// Whether two paths cannot be held at once by two who do not both share them.
fn overlap(one: &LockPath, other: &LockPath) -> bool {
    let below = |a: &str, b: &str| b.strip_suffix('/').is_some_and(|dir| a == dir || a.starts_with(b));
    one == other || below(one.as_str(), other.as_str()) || below(other.as_str(), one.as_str())
}

/// No grant has the token of another, and one that was asked for after another was there has a higher one.
fn tokens_increase(history: &[Operation]) -> Result<(), String> {
    let mut first: BTreeMap<Token, &Operation> = BTreeMap::new();
    for operation in history {
        if let Some((_, Outcome::Granted(token))) = operation.returned {
            match first.get(&token) {
                // The same grant again, to the same lane.
                Some(known) if known.process == operation.process => {}
                Some(known) => return Err(format!("one token, two grants:\n{}", told(&[known, operation]))),
                None => drop(first.insert(token, operation)),
            }
        }
    }
    let mut asked: Vec<(Token, &Operation)> = first.into_iter().collect();
    let mut there: Vec<(u64, Token, &Operation)> =
        asked.iter().filter_map(|(token, o)| Some((o.returned?.0, *token, *o))).collect();
    asked.sort_by_key(|(_, o)| o.invoked);
    there.sort_by_key(|(at, ..)| *at);
    let (mut there, mut highest) = (there.into_iter().peekable(), None::<(Token, &Operation)>);
    for (token, operation) in asked {
        while let Some((_, before, grant)) = there.next_if(|(at, ..)| *at < operation.invoked) {
            if highest.is_none_or(|(known, _)| known < before) {
                highest = Some((before, grant));
            }
        }
        if let Some((before, grant)) = highest.filter(|(before, _)| *before >= token) {
            return Err(format!("token {token} after {before}:\n{}", told(&[grant, operation])));
        }
    }
    Ok(())
}

/// Every number was written once, and a number that nobody has heard of is that of a call without an outcome.
fn counters_are_exact(history: &[Operation]) -> Result<(), String> {
    let mut files: BTreeMap<&str, (BTreeSet<u64>, u64)> = BTreeMap::new();
    for operation in history {
        let Call::Count { file } = &operation.call else { continue };
        let (numbers, unknown) = files.entry(file).or_default();
        match operation.returned {
            Some((_, Outcome::Counted(number))) if !numbers.insert(number) => {
                return Err(format!("{file}: {number} was written twice"));
            }
            Some(_) => {}
            None => *unknown += 1,
        }
    }
    for (file, (numbers, unknown)) in files {
        let missing = numbers.last().map_or(0, |last| last - numbers.len() as u64);
        if missing > unknown {
            return Err(format!("{file}: {missing} numbers too many, of {unknown} writers that nobody heard of"));
        }
    }
    Ok(())
}

/// A lock that its holder knows of, from then until it begins to give it back.
struct Held<'a> {
    grant: &'a Operation,
    from: u64,
    to: u64,
    token: Token,
}

/// While a holder knows that it holds, nobody else in conflict does, and the engine says the same.
fn holders_exclude_each_other(history: &[&Operation]) -> Result<(), String> {
    let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
    let mut releases: BTreeMap<(u32, Token), Vec<u64>> = BTreeMap::new();
    for operation in history {
        match &operation.call {
            Call::End { process } => drop(ends.insert(*process, operation.invoked)),
            Call::Release { token, .. } => {
                releases.entry((operation.process, *token)).or_default().push(operation.invoked);
            }
            _ => {}
        }
    }
    let held = |grant: &&'_ Operation| {
        let (from, Outcome::Granted(token)) = grant.returned? else { return None };
        let released = releases.get(&(grant.process, token)).and_then(|all| all.iter().find(|at| **at >= from));
        let ended = ends.get(&grant.process);
        let to = released.into_iter().chain(ended).min().copied().unwrap_or(u64::MAX);
        Some((from, to, token))
    };
    let mut all: Vec<Held<'_>> = Vec::new();
    for grant in history {
        all.extend(held(grant).map(|(from, to, token)| Held { grant, from, to, token }));
    }
    all.sort_by_key(|held| held.from);
    let mut live: Vec<&Held<'_>> = Vec::new();
    for held in &all {
        live.retain(|other| other.to > held.from);
        if let Some(other) = live.iter().find(|other| conflict(&held.grant.call, held.grant.process, other)) {
            return Err(format!("two hold at once:\n{}", told(&[other.grant, held.grant])));
        }
        live.push(held);
    }
    for operation in history {
        let (Call::Verify { token, .. }, Some((at, Outcome::Current(false)))) = (&operation.call, operation.returned)
        else {
            continue;
        };
        let holds = |h: &&Held<'_>| h.grant.process == operation.process && h.token == *token;
        if let Some(held) = all.iter().filter(holds).find(|h| h.from <= operation.invoked && at <= h.to) {
            return Err(format!("a holder has lost its lock:\n{}", told(&[held.grant, operation])));
        }
    }
    Ok(())
}

fn conflict(call: &Call, process: u32, other: &Held<'_>) -> bool {
    let Call::Acquire { paths, mode, lane } = call else { return false };
    let Call::Acquire { paths: theirs, mode: their_mode, lane: their_lane } = &other.grant.call else { return false };
    let same = process == other.grant.process && lane == their_lane;
    let shared = *mode == LockMode::Shared && *their_mode == LockMode::Shared;
    !(same || shared) && paths.iter().any(|p| theirs.iter().any(|t| overlap(p, t)))
}

/// One order of all calls explains every outcome.
fn has_an_order(history: &[&Operation]) -> Result<(), String> {
    let fits = |until| is_linearizable::<Queue>(&spans(history, until));
    if fits(u64::MAX) {
        return Ok(());
    }
    // A beginning of a good history is good: the shortest bad one ends with the outcome that cannot be.
    let mut returns: Vec<u64> = history.iter().filter_map(|o| o.returned.map(|(at, _)| at)).collect();
    returns.sort_unstable();
    let last = returns[returns.partition_point(|at| fits(*at)).min(returns.len() - 1)];
    let shown: Vec<&Operation> = history.iter().copied().filter(|o| o.invoked <= last).collect();
    let until = shown.iter().position(|o| o.returned.is_some_and(|(at, _)| at == last)).unwrap_or(0);
    let from = until.saturating_sub(TOLD);
    Err(format!("no order explains the last outcome of process {}:\n{}", shown[until].process, told(&shown[from..])))
}

/// Calls before the one that cannot be, as they are told.
const TOLD: usize = 30;

/// The steps of a history as it was known at a time.
///
/// What nobody has heard the end of is no step that may happen at any time: there would be too many orders to try.
/// Instead a lock that may be given back from now on is marked at that moment, and goes when something else needs it to
/// be gone; a request that may have been granted can explain who was in the way.
fn spans(history: &[&Operation], until: u64) -> Vec<Span<Step>> {
    let mut spans = Vec::new();
    for operation in history.iter().filter(|o| o.invoked <= until) {
        let (from, process, number) = (operation.invoked, operation.process, operation.number);
        let returned = operation.returned.filter(|(at, _)| *at <= until);
        let mut add = |from, to, step| spans.push(Span { from, to: Some(to), step });
        match (&operation.call, returned) {
            (Call::Acquire { paths, mode, lane }, returned) => {
                let shared = *mode == LockMode::Shared;
                let hold = |by| Hold { by, process, lane: lane.clone(), shared, paths: paths.clone(), goes: false };
                match returned {
                    Some((to, Outcome::Granted(token))) => add(from, to, Step::Grant(hold(By::Token(token)))),
                    Some((to, Outcome::Contended)) => add(from, to, Step::Contend),
                    Some((to, Outcome::TimedOut)) => {
                        // It may have been offered the lock, and not have taken it up.
                        add(from, from, Step::Ask(hold(By::Request(number))));
                        add(from, from, Step::MayGo(process, By::Request(number)));
                        add(to, to, Step::Gone(process, By::Request(number)));
                    }
                    Some(_) => {}
                    None => add(from, from, Step::Ask(hold(By::Request(number)))),
                }
            }
            (Call::Release { token, .. }, Some((to, Outcome::Released))) => {
                add(from, to, Step::Release(process, By::Token(*token)));
            }
            (Call::Release { token, .. }, Some((to, _))) => add(from, to, Step::Gone(process, By::Token(*token))),
            (Call::Release { token, .. }, None) => add(from, from, Step::MayGo(process, By::Token(*token))),
            (Call::Withdraw { acquire }, _) => add(from, from, Step::MayGo(process, By::Request(*acquire))),
            (Call::Verify { path, token }, Some((to, Outcome::Current(current)))) => {
                add(from, to, Step::Verify(path.clone(), *token, current));
            }
            (Call::Verify { .. } | Call::Count { .. }, _) => {}
            (Call::End { process }, returned) => {
                add(from, from, Step::MayEnd(*process));
                if let Some((to, _)) = returned {
                    add(to, to, Step::Ended(*process));
                }
            }
        }
    }
    spans
}

/// What a hold is known by: its token, or its request when nobody has heard of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum By {
    Token(Token),
    Request(u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Hold {
    process: u32,
    by: By,
    lane: String,
    shared: bool,
    paths: Vec<LockPath>,
    /// Whether it may be given back at any time.
    goes: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Grant(Hold),
    /// Somebody is in the way.
    Contend,
    /// A request whose grant nobody has heard of.
    Ask(Hold),
    /// From now on it may be given back, if it is or will be held.
    MayGo(u32, By),
    Release(u32, By),
    /// It is not held.
    Gone(u32, By),
    Verify(LockPath, Token, bool),
    /// From now on all that the process holds may be given back.
    MayEnd(u32),
    /// All that the process held has been given back.
    Ended(u32),
}

/// The locks of one object, as they should be.
struct Queue;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Locks {
    newest: Option<Token>,
    holds: BTreeSet<Hold>,
    /// Requests that may be granted without anybody hearing of it.
    asked: BTreeSet<Hold>,
    ending: BTreeSet<u32>,
    ended: BTreeSet<u32>,
}

impl Hold {
    fn excludes(&self, other: &Self) -> bool {
        let same = self.process == other.process && self.lane == other.lane;
        !(same || self.shared && other.shared) && self.paths.iter().any(|p| other.paths.iter().any(|o| overlap(p, o)))
    }

    fn is(&self, process: u32, by: By) -> bool {
        self.process == process && self.by == by
    }
}

impl Locks {
    /// Whether the lock is free for somebody once all have gone that may go.
    fn grant(&mut self, hold: &Hold) -> bool {
        let known = self.holds.iter().any(|h| Hold { goes: false, ..h.clone() } == *hold);
        self.holds.retain(|other| !(other.goes && other.excludes(hold)));
        let By::Token(token) = hold.by else { return false };
        let is_free = !self.ended.contains(&hold.process) && !self.holds.iter().any(|other| other.excludes(hold));
        if known || !is_free || self.newest.is_some_and(|newest| newest >= token) {
            return known;
        }
        self.newest = Some(token);
        self.holds.insert(Hold { goes: self.ending.contains(&hold.process), ..hold.clone() });
        true
    }

    /// Whether somebody can be in the way. When it can only be a certain request, that has been granted.
    fn contend(&mut self) -> bool {
        if self.holds.is_empty() && self.asked.len() == 1 && self.asked.iter().all(|hold| !hold.goes) {
            self.holds = std::mem::take(&mut self.asked);
        }
        !self.holds.is_empty() || !self.asked.is_empty()
    }

    /// Marks what may be given back from now on.
    fn mark(&mut self, of: impl Fn(&Hold) -> bool) {
        for holds in [&mut self.holds, &mut self.asked] {
            *holds = std::mem::take(holds).into_iter().map(|h| Hold { goes: h.goes || of(&h), ..h }).collect();
        }
    }

    /// Whether something is not held, once it has gone if it may go.
    fn is_gone(&mut self, process: u32, by: By) -> bool {
        self.holds.retain(|hold| !(hold.goes && hold.is(process, by)));
        self.asked.retain(|hold| !hold.is(process, by));
        !self.holds.iter().any(|hold| hold.is(process, by))
    }
}

impl Specification for Queue {
    type State = Locks;
    type Operation = Step;

    fn init() -> Locks {
        Locks::default()
    }

    fn apply(step: &Step, locks: &Locks) -> (bool, Locks) {
        let mut next = locks.clone();
        let allowed = match step {
            Step::Grant(hold) => next.grant(hold),
            Step::Contend => next.contend(),
            Step::Ask(hold) => next.asked.insert(hold.clone()),
            Step::MayGo(process, by) => {
                next.mark(|hold| hold.is(*process, *by));
                true
            }
            Step::Release(process, by) => {
                next.holds.retain(|hold| !hold.is(*process, *by));
                next.holds.len() < locks.holds.len()
            }
            Step::Gone(process, by) => next.is_gone(*process, *by),
            Step::Verify(path, token, current) => {
                let is = |hold: &Hold| hold.by == By::Token(*token) && hold.paths.contains(path);
                if !current {
                    next.holds.retain(|hold| !(hold.goes && is(hold)));
                }
                next.holds.iter().any(is) == *current
            }
            Step::MayEnd(process) => {
                next.ending.insert(*process);
                next.mark(|hold| hold.process == *process);
                true
            }
            Step::Ended(process) => {
                next.ended.insert(*process);
                next.holds.retain(|hold| hold.process != *process);
                next.asked.retain(|hold| hold.process != *process);
                true
            }
        };
        (allowed, next)
    }
}
