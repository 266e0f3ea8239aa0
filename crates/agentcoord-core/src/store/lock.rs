//! File locks on any engine.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::Store;
use crate::error::Result;
use crate::ids::{Id, Ticket, Token};
use crate::lock::{
    Acquire, AcquireLock, ConfirmLock, FileLocks, Grant, Lock, LockPath, PathState, ReleaseLock, Released, RenewLock,
    RevokeLock, Revoked, Verified, WaitLock, Waiter, WithdrawLock,
};
use crate::op::Op;
use crate::record::{LockRecord, LockTicketRecord, PulseRecord, SessionRecord, State};
use crate::table::{Entry, Range, Table, index};
use crate::time::LeaseClock;

fn lock(record: LockRecord, clock: &LeaseClock) -> Lock {
    Lock {
        token: record.token,
        paths: record.paths,
        mode: record.mode,
        session: record.session,
        agent: record.agent,
        name: record.name,
        lane: record.lane,
        intent: record.intent,
        since: record.since,
        deadline: record.deadline,
        deadline_at: record.deadline.map(|at| clock.wall_at(at)),
        offered: record.offer.is_some(),
    }
}

fn waiter(ticket: &str, record: LockTicketRecord) -> Waiter {
    Waiter {
        ticket: Ticket::from(ticket.to_owned()),
        paths: record.paths,
        mode: record.mode,
        session: record.session,
        agent: record.agent,
        name: record.name,
        intent: record.intent,
        since: record.since,
        takes: record.look.is_none(),
    }
}

impl Store {
    /// Holders and waiters of the paths that these entries name, in order of the path.
    async fn paths(&self, entries: &[Entry]) -> Result<Vec<(LockPath, PathState)>> {
        let holds = |entry: &&Entry| entry.parts().get(2).is_some_and(|kind| kind.starts_with('h'));
        let (holders, waiting): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(holds);
        let keys = |entries: Vec<&Entry>| entries.into_iter().map(|e| e.key().to_owned()).collect::<Vec<_>>();
        let (tokens, tickets) = (keys(holders), keys(waiting));
        let (_, clock) = self.now().await?;
        let locks: BTreeMap<_, _> = tokens.iter().zip(self.get_all::<LockRecord>(&tokens).await?).collect();
        let waiters: BTreeMap<_, _> = tickets.iter().zip(self.get_all::<LockTicketRecord>(&tickets).await?).collect();
        let mut paths: Vec<(LockPath, PathState)> = Vec::new();
        for entry in entries {
            let [_, path, kind, ..] = entry.parts()[..] else { continue };
            if paths.last().is_none_or(|(last, _)| last.as_str() != path) {
                paths.push((LockPath::parse(path)?, PathState::default()));
            }
            let Some((_, state)) = paths.last_mut() else { continue };
            let key = entry.key().to_owned();
            match kind {
                "h" | "hs" => state.holders.extend(locks.get(&key).cloned().flatten().map(|r| lock(r, &clock))),
                _ => state.waiters.extend(waiters.get(&key).cloned().flatten().map(|r| waiter(&key, r))),
            }
        }
        for (_, state) in &mut paths {
            // The index has them by what they want.
            state.waiters.sort_by_key(|w| {
                waiters.get(&w.ticket.to_string()).and_then(|record| record.as_ref()).map(|record| record.seq)
            });
        }
        paths.retain(|(_, state)| !state.holders.is_empty() || !state.waiters.is_empty());
        Ok(paths)
    }
}

#[async_trait]
impl FileLocks for Store {
    async fn acquire(&self, op: Op<AcquireLock>) -> Result<Acquire> {
        self.run(&op).await
    }

    async fn wait(&self, op: Op<WaitLock>) -> Result<Acquire> {
        self.run(&op).await
    }

    async fn confirm(&self, op: Op<ConfirmLock>) -> Result<Acquire> {
        self.run(&op).await
    }

    async fn renew(&self, op: Op<RenewLock>) -> Result<Grant> {
        self.run(&op).await
    }

    async fn release(&self, op: Op<ReleaseLock>) -> Result<Released> {
        self.run(&op).await
    }

    async fn withdraw(&self, op: Op<WithdrawLock>) -> Result<Released> {
        self.run(&op).await
    }

    async fn revoke(&self, op: Op<RevokeLock>) -> Result<Revoked> {
        self.run(&op).await
    }

    async fn list(&self) -> Result<Vec<(LockPath, PathState)>> {
        let entries = self.scan_all(Range::under(&["path"])).await?;
        self.paths(&entries).await
    }

    async fn at(&self, path: &LockPath) -> Result<PathState> {
        let entries = self.scan_all(index::at_path(path.as_str())).await?;
        Ok(self.paths(&entries).await?.pop().map(|(_, state)| state).unwrap_or_default())
    }

    async fn around(&self, path: &LockPath) -> Result<Vec<(LockPath, PathState)>> {
        let mut entries = Vec::new();
        for range in crate::machine::overlapping(path) {
            entries.extend(self.scan_all(range).await?);
        }
        self.paths(&entries).await
    }

    async fn of_session(&self, session: &Id) -> Result<Vec<Lock>> {
        let entries = self.scan_all(index::owned_in(session.as_str(), Table::Lock)).await?;
        let keys: Vec<String> = entries.iter().map(|e| e.key().to_owned()).collect();
        let (_, clock) = self.now().await?;
        Ok(self.get_all::<LockRecord>(&keys).await?.into_iter().flatten().map(|r| lock(r, &clock)).collect())
    }

    async fn verify(&self, path: &LockPath, token: Token) -> Result<Verified> {
        let State { clock, spared, counts, .. } = self.state().await?;
        let covering = if counts.subtrees > 0 { path.covering() } else { vec![path.clone()] };
        let mut entries = Vec::new();
        for covering in covering {
            entries.extend(self.scan_all(index::at_path(covering.as_str())).await?);
        }
        let mut live = Vec::new();
        for holder in self.paths(&entries).await?.into_iter().flat_map(|(_, state)| state.holders) {
            let session = self.get::<SessionRecord>(holder.session.as_str()).await?;
            let pulse = self.get::<PulseRecord>(holder.session.as_str()).await?;
            let alive = session
                .zip(pulse)
                .is_some_and(|(s, p)| s.ended_at.is_none() && s.lives_until(p.beat, spared) > clock.now);
            if alive && !holder.offered && holder.deadline.is_none_or(|at| at > clock.now) {
                live.push(holder.token);
            }
        }
        Ok(Verified { current: live.contains(&token), current_token: live.into_iter().max() })
    }
}
