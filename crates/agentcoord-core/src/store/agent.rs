//! The agent registry on any engine.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::{Backend, CANDIDATES, Store};
use crate::agent::{
    Agent, AgentRegistry, AgentState, Beat, Deregister, Deregistered, EvictAgent, Evicted, Heartbeat, Register,
    Registered, SessionKind, Suspect, Tick, Ticked, UpdateAgent,
};
use crate::error::{Error, Noun, Result};
use crate::ids::{Id, IdPrefix};
use crate::limits;
use crate::lock::LockPath;
use crate::op::Op;
use crate::record::{AgentRecord, LockRecord, LockTicketRecord, PulseRecord, SessionRecord, State, TaskRecord};
use crate::table::{Range, Table, index};
use crate::task::TaskStatus;

/// What the sessions of an agent hold and wait for.
#[derive(Clone, Debug, Default)]
struct Holdings {
    locks: u64,
    tasks: u64,
    waits: Vec<String>,
}

impl Store {
    /// Holdings of all sessions, by session.
    async fn holdings(&self) -> Result<BTreeMap<String, Holdings>> {
        let mut by_session: BTreeMap<String, Holdings> = BTreeMap::new();
        let (mut tokens, mut tickets) = (Vec::new(), Vec::new());
        for entry in self.scan_all(Range::under(&["own"])).await? {
            let [_, session, table, key] = entry.parts()[..] else { continue };
            let holdings = by_session.entry(session.to_owned()).or_default();
            match Table::parse(table) {
                Some(Table::Lock) => tokens.push(key.to_owned()),
                Some(Table::LockTicket) => tickets.push(key.to_owned()),
                Some(Table::Task) => holdings.tasks += 1,
                Some(Table::TaskTicket) => holdings.waits.push("a task".to_owned()),
                _ => {}
            }
        }
        for lock in self.get_all::<LockRecord>(&tokens).await?.into_iter().flatten() {
            by_session.entry(lock.session.to_string()).or_default().locks += lock.paths.len() as u64;
        }
        for ticket in self.get_all::<LockTicketRecord>(&tickets).await?.into_iter().flatten() {
            let paths: Vec<&str> = ticket.paths.iter().map(crate::lock::LockPath::as_str).collect();
            by_session.entry(ticket.session.to_string()).or_default().waits.push(paths.join(", "));
        }
        for entry in self.scan_all(Range::under(&["asks"])).await? {
            if let [_, session, approval] = entry.parts()[..] {
                by_session.entry(session.to_owned()).or_default().waits.push(format!("approval {approval}"));
            }
        }
        Ok(by_session)
    }

    /// Puts agents together from their records; `live` names the live sessions of each.
    async fn assemble(&self, keys: &[String], live: &BTreeMap<String, Vec<String>>) -> Result<Vec<Agent>> {
        let agents = self.get_all::<AgentRecord>(keys).await?;
        let known: Vec<(String, AgentRecord)> =
            keys.iter().cloned().zip(agents).filter_map(|(k, a)| Some((k, a?))).collect();
        let ids: Vec<String> = known.iter().map(|(_, a)| a.session.to_string()).collect();
        let sessions = self.get_all::<SessionRecord>(&ids).await?;
        let pulses = self.get_all::<PulseRecord>(&ids).await?;
        let holdings = self.holdings().await?;
        let state = self.state().await?;
        let mut out = Vec::new();
        for (((key, agent), session), pulse) in known.into_iter().zip(sessions).zip(pulses) {
            let Some(session) = session else { continue };
            let mut held = Holdings::default();
            for id in live.get(&key).into_iter().flatten() {
                if let Some(h) = holdings.get(id) {
                    held.locks += h.locks;
                    held.tasks += h.tasks;
                    held.waits.extend(h.waits.iter().cloned());
                }
            }
            out.push(describe(key, agent, session, pulse, held, &state));
        }
        out.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(out)
    }

    /// The agent that goes by a name within a host session (see [`Register::key`](crate::agent::Register::key)): the
    /// one configured so, else the one shown under that name.
    pub async fn agent_known_as(&self, name: &str, host_key: &str) -> Result<Option<Agent>> {
        let mut keys: Vec<String> = Vec::new();
        for entry in self.engine.scan(&Range::under(&["who", name, host_key]), limits::WORK_PER_STEP).await? {
            keys.push(entry.key().to_owned());
        }
        let shown: Vec<String> =
            self.engine.scan(&Range::under(&["name", name]), 1).await?.iter().map(|e| e.key().to_owned()).collect();
        let records = self.get_all::<AgentRecord>(&shown).await?;
        let same_host = |record: &Option<AgentRecord>| record.as_ref().is_some_and(|r| r.key == host_key);
        keys.extend(shown.into_iter().zip(records).filter(|(_, r)| same_host(r)).map(|(key, _)| key));
        let live = self.live_sessions().await?;
        let mut agents = self.assemble(&keys, &live).await?;
        let best = agents.iter().position(|a| a.state != AgentState::Gone).unwrap_or(0);
        Ok((best < agents.len()).then(|| agents.swap_remove(best)))
    }

    /// A session, live or ended.
    pub async fn session(&self, id: &Id) -> Result<Option<SessionRecord>> {
        self.get(id.as_str()).await
    }

    /// Live sessions that are bound to a process.
    pub async fn bound_sessions(&self) -> Result<Vec<(Id, SessionRecord)>> {
        let ids: Vec<String> =
            self.scan_all(Range::under(&["live"])).await?.iter().map(|e| e.key().to_owned()).collect();
        self.bound(ids).await
    }

    /// The live sessions among those that hold something in the way at any of some paths, and are bound to a process.
    pub async fn bound_holders(&self, paths: &[LockPath]) -> Result<Vec<(Id, SessionRecord)>> {
        let mut ids = Vec::new();
        for path in paths {
            let around = self.locks().around(path).await?;
            for holder in around.into_iter().flat_map(|(_, state)| state.holders) {
                if !ids.contains(&holder.session.to_string()) {
                    ids.push(holder.session.to_string());
                }
            }
        }
        self.bound(ids).await
    }

    /// The live sessions among those that hold a task, or some of the claimed tasks, and are bound to a process.
    pub async fn bound_workers(&self, task: Option<&IdPrefix>) -> Result<Vec<(Id, SessionRecord)>> {
        let tasks = match task {
            Some(typed) => vec![self.resolve::<TaskRecord>(Noun::Task, typed, |t| &t.id).await?.1],
            None => {
                let mut keys = Vec::new();
                for status in [TaskStatus::Claimed, TaskStatus::InProgress] {
                    let claimed = Range::under(&["status", status.word()]);
                    let entries = self.engine.scan(&claimed, limits::WORK_PER_STEP).await?;
                    keys.extend(entries.iter().map(|e| e.key().to_owned()));
                }
                self.get_all::<TaskRecord>(&keys).await?.into_iter().flatten().collect()
            }
        };
        let sessions: BTreeSet<String> = tasks.into_iter().filter_map(|t| Some(t.session?.to_string())).collect();
        self.bound(sessions.into_iter().collect()).await
    }

    async fn bound(&self, ids: Vec<String>) -> Result<Vec<(Id, SessionRecord)>> {
        let records = self.get_all::<SessionRecord>(&ids).await?;
        let bound = ids.into_iter().zip(records).filter_map(|(id, record)| {
            let record = record.filter(|r| r.ended_at.is_none() && r.process.is_some())?;
            Some((id.parse().ok()?, record))
        });
        Ok(bound.collect())
    }

    /// What each live session can do, each combination once.
    pub(super) async fn live_capabilities(&self) -> Result<BTreeSet<Vec<String>>> {
        let ids: Vec<String> = self.live_sessions().await?.into_values().flatten().collect();
        let sessions = self.get_all::<SessionRecord>(&ids).await?;
        let pulses = self.get_all::<PulseRecord>(&ids).await?;
        let State { clock, spared, .. } = self.state().await?;
        let lives = |session: &SessionRecord, pulse: Option<PulseRecord>| {
            session.ended_at.is_none() && session.lives_until(pulse.map_or(0, |p| p.beat), spared) > clock.now
        };
        let live = sessions.into_iter().zip(pulses).filter_map(|(session, pulse)| session.filter(|s| lives(s, pulse)));
        Ok(live.map(|session| session.capabilities.unwrap_or_default()).collect())
    }

    /// Live sessions by agent.
    async fn live_sessions(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let mut live: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in self.scan_all(Range::under(&["live"])).await? {
            if let [_, agent, session] = entry.parts()[..] {
                live.entry(agent.to_owned()).or_default().push(session.to_owned());
            }
        }
        Ok(live)
    }
}

fn describe(
    key: String,
    agent: AgentRecord,
    session: SessionRecord,
    pulse: Option<PulseRecord>,
    held: Holdings,
    State { clock, spared, .. }: &State,
) -> Agent {
    let now = clock.now;
    let (beat, progress) = pulse.map_or((now, now), |p| (p.beat, p.progress));
    let busy_for = session.busy_until.filter(|until| *until > now).map(|until| until - now);
    let heartbeat_age = now.saturating_sub(beat);
    let progress_age = now.saturating_sub(progress);
    let silent = match session.kind {
        SessionKind::Process => heartbeat_age > session.ttl / 3 * 2,
        SessionKind::Shell => false,
    };
    // Between its calls a shell agent is nowhere: without anything in its hands there is nothing it could hang on.
    let nowhere = session.kind == SessionKind::Shell && held.locks + held.tasks == 0;
    let state = if session.ended_at.is_some() || session.lives_until(beat, *spared) <= now {
        AgentState::Gone
    } else if silent {
        AgentState::Silent
    } else if !held.waits.is_empty() {
        AgentState::Waiting
    } else if busy_for.is_some() {
        AgentState::Busy
    } else if progress_age >= limits::HUNG_THRESHOLD && !nowhere {
        AgentState::Stuck
    } else if held.locks + held.tasks > 0 {
        AgentState::Active
    } else {
        AgentState::Idle
    };
    Agent {
        id: agent.id,
        key,
        name: agent.name,
        role: agent.role,
        status: session.status,
        state,
        working_on: session.working_on,
        capabilities: agent.capabilities,
        session: agent.session,
        kind: session.kind,
        host: session.host,
        process: session.process,
        heartbeat_age,
        progress_age,
        last_heartbeat: clock.wall_at(beat),
        last_progress: clock.wall_at(progress),
        busy_for,
        started_at: session.started_at,
        ended: session.ended_at.map(|at| (at, session.reason.unwrap_or_default())),
        locks: held.locks,
        tasks: held.tasks,
        waiting_for: (!held.waits.is_empty()).then(|| held.waits.join("; ")),
    }
}

#[async_trait]
impl AgentRegistry for Store {
    async fn register(&self, op: Op<Register>) -> Result<Registered> {
        self.run(&op).await
    }

    async fn heartbeat(&self, op: Op<Heartbeat>) -> Result<Beat> {
        self.run(&op).await
    }

    async fn update(&self, op: Op<UpdateAgent>) -> Result<Beat> {
        self.run(&op).await
    }

    async fn deregister(&self, op: Op<Deregister>) -> Result<Deregistered> {
        self.run(&op).await
    }

    async fn evict(&self, op: Op<EvictAgent>) -> Result<Evicted> {
        self.run(&op).await
    }

    async fn tick(&self, op: Op<Tick>) -> Result<Ticked> {
        self.run(&op).await
    }

    async fn list(&self, all: bool) -> Result<Vec<Agent>> {
        let live = self.live_sessions().await?;
        let keys: Vec<String> = if all {
            let entries = self.scan_all(index::ids(Table::Agent, "")).await?;
            entries.iter().map(|e| e.key().to_owned()).collect()
        } else {
            live.keys().cloned().collect()
        };
        self.assemble(&keys, &live).await
    }

    async fn find(&self, who: &str) -> Result<Agent> {
        let named = self.engine.scan(&Range::under(&["name", who]), CANDIDATES).await?;
        let key = match &named[..] {
            [only] => only.key().to_owned(),
            _ => {
                let typed = IdPrefix::parse("agent", who).map_err(|_| Error::not_found(Noun::Agent, who))?;
                self.resolve::<AgentRecord>(Noun::Agent, &typed, |a| &a.id).await?.0
            }
        };
        let live = self.live_sessions().await?;
        self.assemble(&[key], &live).await?.pop().ok_or_else(|| Error::not_found(Noun::Agent, who))
    }

    async fn hung(&self, threshold: u64) -> Result<Vec<Suspect>> {
        let agents = self.list(false).await?;
        Ok(agents.iter().filter_map(|agent| Suspect::of(agent, threshold)).collect())
    }
}
