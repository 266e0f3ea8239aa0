//! Rules of agents and sessions.

use crate::agent::{
    Beat, Deregister, Deregistered, EvictAgent, Evicted, Heartbeat, Register, Registered, SessionKind, Tick, Ticked,
    UpdateAgent,
};
use crate::engine::{KEEPER, end_of};
use crate::error::{Noun, Policy, Refusal};
use crate::ids::Id;
use crate::limits;
use crate::machine::rows::Rows;
use crate::machine::step::{Ruled, Step};
use crate::machine::{lock, task};
use crate::op::Actor;
use crate::record::{AgentRecord, InboxRecord, NEVER, PulseRecord, SessionRecord};
use crate::table::{Range, Table, index};

pub(super) fn register<R: Rows>(step: &mut Step<'_, R>, body: Register) -> Ruled<Registered> {
    if step.get::<SessionRecord>(body.session.as_str())?.is_some() {
        return Err(Policy::IdTaken.into());
    }
    let (key, agent) = match &body.parent {
        Some(parent) => parent_agent(step, parent)?,
        None => match known_agent(step, &body)? {
            Known::Live(key, agent) => {
                let session = agent.session.clone();
                step.pulse(&session, true)?;
                if let Some(mut record) = step.get::<SessionRecord>(session.as_str())? {
                    record.working_on = body.working_on.or(record.working_on);
                    if body.process.is_some() {
                        record.process = body.process;
                        step.wake(KEEPER);
                    }
                    step.put(session.as_str(), &record)?;
                }
                return Ok(Registered { agent: key, session, name: agent.name, resumed: true });
            }
            Known::Ended(key, mut agent) => {
                agent.session = body.session.clone();
                agent.role.clone_from(&body.role);
                agent.capabilities.clone_from(&body.capabilities);
                agent.metadata.clone_from(&body.metadata);
                step.put(&key, &agent)?;
                (key, agent)
            }
            Known::Nobody => new_agent(step, &body)?,
        },
    };
    let session = SessionRecord {
        agent: key.clone(),
        name: agent.name.clone(),
        client: (body.kind == SessionKind::Process).then(|| step.call.client.clone()),
        kind: body.kind,
        host: body.host,
        ttl: body.ttl,
        due: step.now + body.ttl,
        started_at: step.wall,
        parent: body.parent,
        process: body.process,
        status: None,
        working_on: body.working_on,
        busy_until: None,
        ended_at: None,
        reason: None,
        settling: None,
        capabilities: sorted(&agent.capabilities),
        role: Some(agent.role.clone()),
    };
    step.put(body.session.as_str(), &session)?;
    step.pulse(&body.session, true)?;
    step.wake(KEEPER);
    Ok(Registered { agent: key, session: body.session, name: agent.name, resumed: false })
}

/// Capabilities as a session keeps them.
fn sorted(capabilities: &[String]) -> Option<Vec<String>> {
    let mut sorted = capabilities.to_vec();
    sorted.sort();
    (!sorted.is_empty()).then_some(sorted)
}

enum Known {
    Live(String, AgentRecord),
    Ended(String, AgentRecord),
    Nobody,
}

/// The agent of this configured name and key: one whose session lives (only when the caller resumes), else one whose
/// session has ended, else nobody.
fn known_agent<R: Rows>(step: &mut Step<'_, R>, body: &Register) -> Ruled<Known> {
    let range = Range::under(&["who", &body.name, &body.key]);
    for entry in step.scan(&range, limits::WORK_PER_STEP)? {
        let key = entry.key().to_owned();
        let Some(agent) = step.get::<AgentRecord>(&key)? else { continue };
        let live = match step.get::<SessionRecord>(agent.session.as_str())? {
            Some(session) => step.is_live(&agent.session, &session)?,
            None => false,
        };
        match (live, body.resume) {
            (true, true) => return Ok(Known::Live(key, agent)),
            (true, false) => {}
            (false, _) => return Ok(Known::Ended(key, agent)),
        }
    }
    Ok(Known::Nobody)
}

fn parent_agent<R: Rows>(step: &mut Step<'_, R>, parent: &Id) -> Ruled<(String, AgentRecord)> {
    let stale = || Refusal::Stale { noun: Noun::Session, id: parent.as_str().to_owned(), owner: None, current: None };
    let session = step.get::<SessionRecord>(parent.as_str())?.ok_or_else(stale)?;
    if !step.is_live(parent, &session)? {
        return Err(stale().into());
    }
    let agent = step.get::<AgentRecord>(&session.agent)?.ok_or_else(stale)?;
    Ok((session.agent, agent))
}

fn new_agent<R: Rows>(step: &mut Step<'_, R>, body: &Register) -> Ruled<(String, AgentRecord)> {
    let key = step.free_key::<AgentRecord>(&body.agent, |a| &a.id)?;
    let name = free_name(step, &body.name, &key)?;
    let agent = AgentRecord {
        id: body.agent.clone(),
        base: body.name.clone(),
        key: body.key.clone(),
        name,
        role: body.role.clone(),
        capabilities: body.capabilities.clone(),
        session: body.session.clone(),
        created_at: step.wall,
        metadata: body.metadata.clone(),
    };
    step.put(&key, &agent)?;
    // What was posted to its role before it came is not news to it.
    let read = step.state.seq;
    step.put(&format!("agent:{}", agent.name), &InboxRecord { read })?;
    Ok((key, agent))
}

/// `name`, `name-2`, `name-3` ... whichever is free; after many, the short id instead of a number.
fn free_name<R: Rows>(step: &mut Step<'_, R>, base: &str, key: &str) -> Ruled<String> {
    for number in 1..=limits::WORK_PER_STEP {
        let name = if number == 1 { base.to_owned() } else { format!("{base}-{number}") };
        if step.scan(&Range::under(&["name", &name]), 1)?.is_empty() {
            return Ok(name);
        }
    }
    Ok(format!("{base}-{key}"))
}

pub(super) fn heartbeat<R: Rows>(step: &mut Step<'_, R>, body: Heartbeat) -> Ruled<Beat> {
    let (id, ttl) = beating(step)?;
    step.pulse(&id, body.progress)?;
    Ok(Beat { ttl })
}

/// The acting session and its time to live; unlike [`Step::acting`] this is no progress.
fn beating<R: Rows>(step: &mut Step<'_, R>) -> Ruled<(Id, u64)> {
    let Actor::Session(id) = step.call.actor.clone() else {
        return Err(Policy::NoSession.into());
    };
    let stale = || Refusal::Stale { noun: Noun::Session, id: id.as_str().to_owned(), owner: None, current: None };
    let session = step.get::<SessionRecord>(id.as_str())?.ok_or_else(stale)?;
    if !step.is_live(&id, &session)? {
        return Err(stale().into());
    }
    Ok((id, session.ttl))
}

pub(super) fn update<R: Rows>(step: &mut Step<'_, R>, body: UpdateAgent) -> Ruled<Beat> {
    let acting = step.acting()?;
    let mut session = acting.session;
    session.status = body.status.or(session.status);
    session.working_on = body.working_on.or(session.working_on);
    if let Some(busy) = body.busy_for {
        session.busy_until = (busy > 0).then_some(step.now + busy);
    }
    step.put(acting.id.as_str(), &session)?;
    Ok(Beat { ttl: session.ttl })
}

pub(super) fn deregister<R: Rows>(step: &mut Step<'_, R>, body: Deregister) -> Ruled<Deregistered> {
    let acting = step.acting()?;
    let settled = end(step, acting.id.as_str(), acting.session, body.reason.as_deref().unwrap_or("deregistered"))?;
    Ok(Deregistered { settled })
}

pub(super) fn evict<R: Rows>(step: &mut Step<'_, R>, body: EvictAgent) -> Ruled<Evicted> {
    let reason = match &step.call.actor {
        Actor::Session(_) => return Err(Policy::HumansOnly.into()),
        Actor::Human(name) => format!("evicted by human:{name}: {}", body.reason),
        Actor::System => body.reason.clone(),
    };
    let gone = |noun, id: &str| Refusal::WrongState {
        noun,
        id: id.to_owned(),
        actual: "gone".into(),
        expected: "live".into(),
    };
    let (agent, sessions) = match (&body.session, &body.agent) {
        (Some(id), _) => {
            let missing = || Refusal::NotFound { noun: Noun::Session, id: id.as_str().to_owned() };
            let session = step.get::<SessionRecord>(id.as_str())?.ok_or_else(missing)?;
            if session.ended_at.is_some() {
                return Err(gone(Noun::Session, id.as_str()).into());
            }
            (session.agent, vec![id.as_str().to_owned()])
        }
        (None, typed) => {
            let typed = typed.as_deref().unwrap_or_default();
            let (key, _) = step.resolve::<AgentRecord>(Noun::Agent, typed, |a| &a.id)?;
            let live = step.scan(&Range::under(&["live", &key]), limits::WORK_PER_STEP)?;
            if live.is_empty() {
                return Err(gone(Noun::Agent, &key).into());
            }
            let sessions = live.iter().map(|e| e.key().to_owned()).collect();
            (key, sessions)
        }
    };
    let mut settled = 0;
    for key in &sessions {
        let Some(session) = step.get::<SessionRecord>(key)? else { continue };
        let session = finish(step, key, session, &reason)?;
        // A step's worth of holdings for the first ones; what is left of the others is due at once.
        if settled < limits::WORK_PER_STEP as u64 {
            settled += settle(step, key, session)?;
        }
    }
    super::audit::record(step, body.audit)?;
    Ok(Evicted { agent, sessions: sessions.len() as u64, settled })
}

pub(super) fn tick<R: Rows>(step: &mut Step<'_, R>, body: Tick) -> Ruled<Ticked> {
    let most = usize::try_from(body.most).unwrap_or(limits::WORK_PER_STEP);
    super::reap(step, most.saturating_sub(limits::REAP_PER_STEP))?;
    let first = step.scan(&Range::under(&["due"]), 1)?;
    let next = first.first().and_then(|e| e.parts()[1].parse::<u64>().ok()).unwrap_or(NEVER);
    let next = if step.state.counts.work > 0 { step.now } else { next };
    let next_in = (next != NEVER).then(|| next.saturating_sub(step.now));
    Ok(Ticked { settled: step.settled(), next_in })
}

/// A session's time to look at its pulse has come: it has moved on, or it has expired, or it is still being settled.
pub(super) fn look_at<R: Rows>(step: &mut Step<'_, R>, key: &str) -> Ruled<()> {
    let Some(mut session) = step.get::<SessionRecord>(key)? else { return Ok(()) };
    if session.ended_at.is_some() {
        settle(step, key, session)?;
        return Ok(());
    }
    let until = step.lives_until(key, &session)?;
    if until > step.now {
        session.due = until;
        return step.put(key, &session);
    }
    let reason = match session.kind {
        SessionKind::Process => "no heartbeat",
        SessionKind::Shell => "no call for its time to live",
    };
    end(step, key, session, reason).map(drop)
}

/// Ends a session. From here on everything that names it is void; its holdings are passed on in bounded steps.
pub(super) fn end<R: Rows>(step: &mut Step<'_, R>, key: &str, session: SessionRecord, reason: &str) -> Ruled<u64> {
    let session = finish(step, key, session, reason)?;
    settle(step, key, session)
}

fn finish<R: Rows>(
    step: &mut Step<'_, R>,
    key: &str,
    mut session: SessionRecord,
    reason: &str,
) -> Ruled<SessionRecord> {
    session.ended_at = Some(step.wall);
    session.reason = Some(reason.to_owned());
    session.settling = Some(true);
    step.put(key, &session)?;
    if let Some(client) = &session.client {
        step.wake(end_of(key, client));
    }
    Ok(session)
}

/// Passes on at most a step's worth of an ended session's holdings.
fn settle<R: Rows>(step: &mut Step<'_, R>, key: &str, mut session: SessionRecord) -> Ruled<u64> {
    let holdings = step.scan(&index::owned_by(key), limits::WORK_PER_STEP)?;
    let all = holdings.len() < limits::WORK_PER_STEP;
    let why = session.reason.clone().unwrap_or_default();
    for entry in &holdings {
        let [_, _, table, holding] = entry.parts()[..] else { continue };
        match Table::parse(table) {
            Some(Table::Lock) => lock::drop_grant(step, holding)?,
            Some(Table::LockTicket) => lock::drop_ticket(step, holding)?,
            Some(Table::Task) => task::crash(step, holding, &why)?,
            Some(Table::TaskTicket) => task::drop_ticket(step, holding)?,
            _ => {}
        }
    }
    if all {
        session.settling = None;
        step.put(key, &session)?;
        step.delete::<PulseRecord>(key)?;
    }
    Ok(holdings.len() as u64)
}
