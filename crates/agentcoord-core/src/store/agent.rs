//! The agent registry on any engine.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::{Backend, CANDIDATES, Store};
use crate::agent::{
    Agent, AgentRegistry, AgentState, Beat, Deregister, Deregistered, EvictAgent, Evicted, Heartbeat, Identity,
    Register, Registered, SessionKind, Suspect, Tick, Ticked, UpdateAgent,
};
use crate::error::{Error, Noun, Result};
use crate::ids::{Id, IdPrefix};
use crate::limits;
use crate::lock::LockPath;
use crate::op::Op;
use crate::record::{AgentRecord, LockRecord, LockTicketRecord, PulseRecord, SessionRecord, State, TaskRecord};
use crate::table::{Entry, Range, Table, index};
use crate::task::TaskStatus;

/// What the sessions of an agent hold and wait for.
#[derive(Clone, Debug, Default)]
struct Holdings {
    locks: u64,
    tasks: u64,
    waits: Vec<String>,
}

/// An agent with its newest session.
struct Known {
    key: String,
    agent: AgentRecord,
    session: SessionRecord,
    pulse: Option<PulseRecord>,
}

impl Identity {
    fn of(known: Known, state: &State) -> Self {
        let is_live = known.is_live(state);
        let Known { key, agent, .. } = known;
        let AgentRecord { name, session, role, capabilities, .. } = agent;
        Self { key, name, session, role, capabilities, is_live }
    }
}

impl Known {
    fn is_live(&self, state: &State) -> bool {
        lives(&self.session, self.pulse.as_ref(), state)
    }
}

fn lives(session: &SessionRecord, pulse: Option<&PulseRecord>, state: &State) -> bool {
    let beat = pulse.map_or(0, |p| p.beat);
    session.ended_at.is_none() && session.lives_until(beat, state.spared) > state.clock.now
}

impl Store {
    /// The entries of an index by session: of these sessions, or of all.
    async fn of_sessions(&self, index: &str, sessions: Option<&[String]>) -> Result<Vec<Entry>> {
        let Some(sessions) = sessions else { return self.scan_all(Range::under(&[index])).await };
        let mut entries = Vec::new();
        for session in sessions {
            entries.extend(self.scan_all(Range::under(&[index, session])).await?);
        }
        Ok(entries)
    }

    /// Holdings of these sessions, or of all, by session.
    async fn holdings(&self, sessions: Option<&[String]>) -> Result<BTreeMap<String, Holdings>> {
        let mut by_session: BTreeMap<String, Holdings> = BTreeMap::new();
        let (mut tokens, mut tickets) = (Vec::new(), Vec::new());
        for entry in self.of_sessions("own", sessions).await? {
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
        for entry in self.of_sessions("asks", sessions).await? {
            if let [_, session, approval] = entry.parts()[..] {
                by_session.entry(session.to_owned()).or_default().waits.push(format!("approval {approval}"));
            }
        }
        Ok(by_session)
    }

    /// The agents of some keys, as far as they are there.
    async fn known(&self, keys: &[String]) -> Result<Vec<Known>> {
        let agents = self.get_all::<AgentRecord>(keys).await?;
        let agents: Vec<(String, AgentRecord)> =
            keys.iter().cloned().zip(agents).filter_map(|(k, a)| Some((k, a?))).collect();
        let ids: Vec<String> = agents.iter().map(|(_, a)| a.session.to_string()).collect();
        let sessions = self.get_all::<SessionRecord>(&ids).await?;
        let pulses = self.get_all::<PulseRecord>(&ids).await?;
        let known = agents.into_iter().zip(sessions).zip(pulses);
        Ok(known
            .filter_map(|(((key, agent), session), pulse)| Some(Known { key, agent, session: session?, pulse }))
            .collect())
    }

    /// Puts agents together from their records; `live` names the live sessions of each.
    async fn assemble(
        &self,
        keys: &[String],
        live: &BTreeMap<String, Vec<String>>,
        holdings: &BTreeMap<String, Holdings>,
    ) -> Result<Vec<Agent>> {
        let known = self.known(keys).await?;
        let state = self.state().await?;
        let mut out = Vec::new();
        for known in known {
            let mut held = Holdings::default();
            for id in live.get(&known.key).into_iter().flatten() {
                if let Some(h) = holdings.get(id) {
                    held.locks += h.locks;
                    held.tasks += h.tasks;
                    held.waits.extend(h.waits.iter().cloned());
                }
            }
            out.push(describe(known, held, &state));
        }
        out.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(out)
    }

    /// Who goes by a name within a host session (see [`Register::key`](crate::agent::Register::key)): the live one of the
    /// agents configured so, or shown under that name, else one whose session has ended.
    ///
    /// It costs the same whatever anybody holds.
    pub async fn agent_known_as(&self, name: &str, host_key: &str) -> Result<Option<Identity>> {
        let configured = self.engine.scan(&Range::under(&["who", name, host_key]), limits::WORK_PER_STEP).await?;
        let shown = self.engine.scan(&Range::under(&["name", name]), 1).await?;
        let keys: Vec<String> = configured.iter().chain(&shown).map(|entry| entry.key().to_owned()).collect();
        let state = self.state().await?;
        let here = self.known(&keys).await?.into_iter().filter(|known| known.agent.key == host_key);
        let identities = here.map(|known| Identity::of(known, &state));
        // Of several that live, the first by name.
        Ok(identities.min_by(|a, b| (!a.is_live, &a.name).cmp(&(!b.is_live, &b.name))))
    }

    /// Who goes by a name, or has an id, whatever host session it belongs to. It costs the same whatever anybody holds.
    ///
    /// # Errors
    /// `NotFound`; `Ambiguous` for an id that is too short.
    pub async fn agent(&self, who: &str) -> Result<Identity> {
        let key = self.agent_key(who).await?;
        let state = self.state().await?;
        let known = self.known(&[key]).await?.pop();
        known.map(|known| Identity::of(known, &state)).ok_or_else(|| Error::not_found(Noun::Agent, who))
    }

    async fn agent_key(&self, who: &str) -> Result<String> {
        let named = self.engine.scan(&Range::under(&["name", who]), CANDIDATES).await?;
        if let [only] = &named[..] {
            return Ok(only.key().to_owned());
        }
        let typed = IdPrefix::parse("agent", who).map_err(|_| Error::not_found(Noun::Agent, who))?;
        Ok(self.resolve::<AgentRecord>(Noun::Agent, &typed, |a| &a.id).await?.0)
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
        let state = self.state().await?;
        let live = sessions
            .into_iter()
            .zip(pulses)
            .filter_map(|(session, pulse)| session.filter(|s| lives(s, pulse.as_ref(), &state)));
        Ok(live.map(|session| session.capabilities.unwrap_or_default()).collect())
    }

    /// Live sessions by agent.
    async fn live_sessions(&self) -> Result<BTreeMap<String, Vec<String>>> {
        self.live_below(Range::under(&["live"])).await
    }

    async fn live_below(&self, range: Range) -> Result<BTreeMap<String, Vec<String>>> {
        let mut live: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in self.scan_all(range).await? {
            if let [_, agent, session] = entry.parts()[..] {
                live.entry(agent.to_owned()).or_default().push(session.to_owned());
            }
        }
        Ok(live)
    }
}

fn describe(known: Known, held: Holdings, state: &State) -> Agent {
    let is_live = known.is_live(state);
    let Known { key, agent, session, pulse } = known;
    let clock = &state.clock;
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
    let state = if !is_live {
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
        self.assemble(&keys, &live, &self.holdings(None).await?).await
    }

    async fn find(&self, who: &str) -> Result<Agent> {
        let key = self.agent_key(who).await?;
        let live = self.live_below(Range::under(&["live", &key])).await?;
        let sessions: Vec<String> = live.values().flatten().cloned().collect();
        let holdings = self.holdings(Some(&sessions)).await?;
        self.assemble(&[key], &live, &holdings).await?.pop().ok_or_else(|| Error::not_found(Noun::Agent, who))
    }

    async fn hung(&self, threshold: u64) -> Result<Vec<Suspect>> {
        let agents = self.list(false).await?;
        Ok(agents.iter().filter_map(|agent| Suspect::of(agent, threshold)).collect())
    }
}
