//! The task queue on any engine.

use async_trait::async_trait;

use super::pending::{self, Pending, Place};
use super::{FETCH_PAGE, Store, entry_of};
use crate::error::{Noun, Result};
use crate::ids::{Id, IdPrefix, SHORT_ID};
use crate::limits;
use crate::op::{Handed, Op};
use crate::record::{DependencyRecord, KeyRecord, SetbackRecord, TaskRecord};
use crate::table::{Range, Table, index};
use crate::task::{
    CancelTask, Claim, ClaimRef, ClaimTask, CompleteTask, ConfirmTask, CreateTasks, Created, Dependency, ExtendTask,
    FailTask, Page, ProgressTask, RedriveTask, ReleaseTask, Setback, StartTask, Task, TaskChanged, TaskDetail,
    TaskFilter, TaskQueue, TaskStatus, WithdrawTask, Withdrawn,
};
use crate::time::LeaseClock;

fn task(key: String, record: TaskRecord, clock: &LeaseClock) -> Task {
    Task {
        id: record.id,
        key,
        title: record.title,
        status: record.status,
        priority: record.priority,
        tags: record.tags,
        requires: record.requires,
        attempt: record.attempt,
        max_attempts: record.max_attempts,
        crashes: record.crashes,
        session: record.session,
        agent: record.agent,
        claimed_by: record.name,
        claimed_at: record.claimed_at,
        deadline: record.deadline,
        deadline_at: record.deadline.map(|at| clock.wall_at(at)),
        token: record.token,
        ticket: record.ticket,
        not_before: record.not_before,
        retry_at: record.retry_at.map(|at| clock.wall_at(at)),
        waits_for: record.waits_for.unwrap_or(0),
        lost: record.lost.unwrap_or(0),
        created_by: record.created_by,
        created_at: record.created_at,
        completed_at: record.completed_at,
        error: record.error,
        note: record.note,
        percent: record.percent,
        stranded: false,
    }
}

/// Tasks of one state, in claim order.
enum Source {
    Queues(Pending),
    List(Option<Range>),
}

impl Source {
    async fn open(store: &Store, status: TaskStatus, tags: &[String], after: Option<Place>) -> Result<Self> {
        if status == TaskStatus::Pending {
            return Ok(Self::Queues(Pending::open(store, tags, after.as_ref()).await?));
        }
        let all = Range::under(&["status", status.word()]);
        Ok(Self::List(Some(match after {
            Some((order, key)) => all.after(&index::status(status.word(), &order, &key)),
            None => all,
        })))
    }

    /// The next page; empty at the end.
    async fn page(&mut self, store: &Store) -> Result<Vec<Place>> {
        let rest = match self {
            Self::Queues(queues) => return queues.page(store).await,
            Self::List(rest) => rest,
        };
        let Some(range) = rest.take() else { return Ok(Vec::new()) };
        let entries = store.engine.scan(&range, FETCH_PAGE).await?;
        if let Some(last) = entries.last().filter(|_| entries.len() == FETCH_PAGE) {
            *rest = Some(range.after(last));
        }
        Ok(entries.iter().filter_map(pending::place).collect())
    }
}

impl Store {
    /// Marks the pending tasks that no live session can take.
    async fn mark_stranded(&self, tasks: &mut [Task]) -> Result<()> {
        let is_demanding = |task: &&mut Task| task.status == TaskStatus::Pending && !task.requires.is_empty();
        let mut demanding = tasks.iter_mut().filter(is_demanding).peekable();
        if demanding.peek().is_none() {
            return Ok(());
        }
        let able = self.live_capabilities().await?;
        for task in demanding {
            task.stranded = !able.iter().any(|able| task.requires.iter().all(|word| able.contains(word)));
        }
        Ok(())
    }
}

impl TaskFilter {
    /// Whether any task of this state can fit.
    fn may_fit(&self, status: TaskStatus) -> bool {
        let wanted = self.statuses.is_empty() || self.statuses.contains(&status);
        let waits = matches!(status, TaskStatus::Blocked | TaskStatus::Scheduled | TaskStatus::Pending);
        // Nobody has what waits.
        wanted && !(waits && self.claimed_by.is_some())
    }

    fn fits(&self, record: &TaskRecord) -> bool {
        let tags = self.tags.is_empty() || self.tags.iter().any(|t| record.tags.contains(t));
        let claimer = self.claimed_by.as_ref().is_none_or(|by| record.name.as_ref() == Some(by));
        let text = self.text.as_ref().is_none_or(|t| record.title.to_lowercase().contains(&t.to_lowercase()));
        tags && claimer && text
    }
}

impl Store {
    /// Why a task's attempts came to nothing, oldest first.
    async fn setbacks(&self, key: &str, number: u32) -> Result<Vec<Setback>> {
        let keys: Vec<String> = (1..=number).map(|n| SetbackRecord::key(key, n)).collect();
        let records = self.get_all::<SetbackRecord>(&keys).await?;
        let setback = |record: SetbackRecord| Setback {
            attempt: record.attempt,
            crashed: record.crashed.unwrap_or(false),
            reason: record.reason,
            at: record.at,
            agent: record.agent,
            name: record.name,
        };
        Ok(records.into_iter().flatten().map(setback).collect())
    }

    /// The digests of what was created under idempotency keys, in the order asked; none for a key that is free.
    pub async fn task_keys(&self, keys: &[&str]) -> Result<Vec<Option<String>>> {
        let (_, clock) = self.now().await?;
        let keys: Vec<String> = keys.iter().map(|key| KeyRecord::of_task(key)).collect();
        let known = self.get_all::<KeyRecord>(&keys).await?;
        Ok(known.into_iter().map(|key| Some(key.filter(|key| key.expires_at > clock.wall)?.digest)).collect())
    }

    /// A claimed task with its long texts. What came along with the claim is not read again.
    pub async fn claimed(&self, claim: &ClaimRef) -> Result<TaskDetail> {
        let Some(handed) = &claim.handed else { return self.show(&IdPrefix::parse("id", &claim.key)?).await };
        let Handed { now, task } = (**handed).clone();
        let clock = LeaseClock { now, wall: task.claimed_at.unwrap_or(0), ..LeaseClock::default() };
        self.detail(claim.key.clone(), task, &clock).await
    }

    /// A task with what is stored beside it.
    async fn detail(&self, key: String, record: TaskRecord, clock: &LeaseClock) -> Result<TaskDetail> {
        // Most tasks have none, and a worker waits for this answer.
        let has_texts = [record.has_description, record.has_payload, record.has_result].contains(&Some(true));
        let [description, payload, result] = match has_texts {
            true => self.texts("task", &record.id, ["description", "payload", "result"]).await?,
            false => [const { None }; 3],
        };
        let setbacks = self.setbacks(&key, record.setbacks.unwrap_or(0)).await?;
        let depends_on =
            if record.has_dependencies == Some(true) { self.dependencies(&key).await? } else { Vec::new() };
        let mut task = task(key, record, clock);
        self.mark_stranded(std::slice::from_mut(&mut task)).await?;
        Ok(TaskDetail { task, description, payload, result, depends_on, setbacks })
    }

    /// What a task depends on.
    async fn dependencies(&self, key: &str) -> Result<Vec<Dependency>> {
        let entries = self.scan_all(index::needs(key)).await?;
        let edges: Vec<String> = entries.iter().map(|e| e.key().to_owned()).collect();
        let edges: Vec<DependencyRecord> = self.get_all(&edges).await?.into_iter().flatten().collect();
        let keys: Vec<String> = edges.iter().map(|edge| edge.dependency.clone()).collect();
        let tasks = self.get_all::<TaskRecord>(&keys).await?;
        let dependency = |(edge, task): (DependencyRecord, Option<TaskRecord>)| Dependency {
            key: edge.dependency,
            status: task.map(|t| t.status),
            state: edge.state,
        };
        Ok(edges.into_iter().zip(tasks).map(dependency).collect())
    }
}

#[async_trait]
impl TaskQueue for Store {
    async fn create(&self, op: Op<CreateTasks>) -> Result<Created> {
        self.run(&op).await
    }

    async fn claim(&self, op: Op<ClaimTask>) -> Result<Claim> {
        self.run(&op).await
    }

    async fn confirm(&self, op: Op<ConfirmTask>) -> Result<Claim> {
        self.run(&op).await
    }

    async fn withdraw(&self, op: Op<WithdrawTask>) -> Result<Withdrawn> {
        self.run(&op).await
    }

    async fn start(&self, op: Op<StartTask>) -> Result<TaskChanged> {
        self.run(&op).await
    }

    async fn progress(&self, op: Op<ProgressTask>) -> Result<TaskChanged> {
        self.run(&op).await
    }

    async fn extend(&self, op: Op<ExtendTask>) -> Result<TaskChanged> {
        self.run(&op).await
    }

    async fn complete(&self, op: Op<CompleteTask>) -> Result<TaskChanged> {
        self.run(&op).await
    }

    async fn fail(&self, op: Op<FailTask>) -> Result<TaskChanged> {
        self.run(&op).await
    }

    async fn release(&self, op: Op<ReleaseTask>) -> Result<TaskChanged> {
        self.run(&op).await
    }

    async fn cancel(&self, op: Op<CancelTask>) -> Result<TaskChanged> {
        self.run(&op).await
    }

    async fn redrive(&self, op: Op<RedriveTask>) -> Result<TaskChanged> {
        self.run(&op).await
    }

    async fn keys(&self, ids: &[IdPrefix]) -> Result<Vec<String>> {
        let mut keys = Vec::with_capacity(ids.len());
        // Nearly every key is as short as can be, so most are found at the first look.
        let short: Vec<String> = ids.iter().map(|id| id.as_str().chars().take(SHORT_ID).collect()).collect();
        let records = self.get_all::<TaskRecord>(&short).await?;
        for ((id, key), record) in ids.iter().zip(short).zip(records) {
            let is_it = key.len() == SHORT_ID && record.is_some_and(|r| r.id.as_str().starts_with(id.as_str()));
            keys.push(if is_it { key } else { self.resolve::<TaskRecord>(Noun::Task, id, |t| &t.id).await?.0 });
        }
        Ok(keys)
    }

    async fn find(&self, id: &IdPrefix) -> Result<Task> {
        let (key, record) = self.resolve::<TaskRecord>(Noun::Task, id, |t| &t.id).await?;
        let (_, clock) = self.now().await?;
        let mut found = task(key, record, &clock);
        self.mark_stranded(std::slice::from_mut(&mut found)).await?;
        Ok(found)
    }

    async fn show(&self, id: &IdPrefix) -> Result<TaskDetail> {
        let (key, record) = self.resolve::<TaskRecord>(Noun::Task, id, |t| &t.id).await?;
        let (_, clock) = self.now().await?;
        self.detail(key, record, &clock).await
    }

    async fn list(&self, filter: &TaskFilter) -> Result<Page<Task>> {
        let (_, clock) = self.now().await?;
        let resume = filter.cursor.as_deref().map(entry_of).transpose()?;
        let mut statuses: Vec<TaskStatus> = TaskStatus::ALL.into_iter().filter(|s| filter.may_fit(*s)).collect();
        let mut after = None;
        if let Some(entry) = &resume {
            let at = entry.parts().get(1).copied().unwrap_or_default();
            if let Some(passed) = statuses.iter().position(|s| s.word() == at) {
                statuses.drain(..passed);
                after = pending::place(entry);
            }
        }
        let mut items = Vec::new();
        let mut cursor = None;
        let mut left = limits::TASKS_PER_LOOK;
        'all: for status in statuses {
            let mut source = Source::open(self, status, &filter.tags, after.take()).await?;
            loop {
                let places = source.page(self).await?;
                if places.is_empty() {
                    break;
                }
                let keys: Vec<String> = places.iter().map(|(_, key)| key.clone()).collect();
                let records = self.get_all::<TaskRecord>(&keys).await?;
                left = left.saturating_sub(places.len());
                let end = places.last().map(|(order, key)| index::status(status.word(), order, key));
                for ((order, key), record) in places.into_iter().zip(records) {
                    let Some(record) = record.filter(|r| filter.fits(r)) else { continue };
                    if items.len() + 1 == filter.limit {
                        cursor = Some(super::cursor(&index::status(status.word(), &order, &key)));
                    }
                    items.push(task(key, record, &clock));
                    if cursor.is_some() {
                        break 'all;
                    }
                }
                if left == 0 {
                    cursor = end.as_ref().map(super::cursor);
                    break 'all;
                }
            }
        }
        self.mark_stranded(&mut items).await?;
        Ok(Page { items, cursor })
    }

    async fn of_session(&self, session: &Id) -> Result<Vec<Task>> {
        let entries = self.scan_all(index::owned_in(session.as_str(), Table::Task)).await?;
        let keys: Vec<String> = entries.iter().map(|e| e.key().to_owned()).collect();
        let (_, clock) = self.now().await?;
        let records = self.get_all::<TaskRecord>(&keys).await?;
        Ok(keys.into_iter().zip(records).filter_map(|(key, r)| Some(task(key, r?, &clock))).collect())
    }
}
