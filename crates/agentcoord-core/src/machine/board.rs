//! Rules of the board.
//!
//! A message goes to everybody who takes part in its thread and to whom it names. The inbox of an address is a range of
//! the index; what somebody has read of it is one number.

use crate::board::{InboxRead, OpenThread, PostMessage, Posted, ReadInbox, ThreadStatus, UpdateThread, address};
use crate::error::{Noun, Policy, Refusal};
use crate::ids::Id;
use crate::limits;
use crate::machine::rows::Rows;
use crate::machine::step::{Ruled, Step};
use crate::record::{InboxRecord, KeyRecord, MessageRecord, ThreadRecord};
use crate::table::Range;

pub(super) fn open<R: Rows>(step: &mut Step<'_, R>, body: OpenThread) -> Ruled<Posted> {
    let author = step.principal()?;
    let idempotency = body.key.map(|key| format!("thread/{key}"));
    if let Some(posted) = posted_before(step, idempotency.as_deref(), &body.digest)? {
        return Ok(posted);
    }
    let named = addressed(step, body.to, &body.mentions)?;
    let key = step.free_key::<ThreadRecord>(&body.id, |t| &t.id)?;
    let mut thread = ThreadRecord {
        id: body.id,
        seq: step.next_seq(),
        title: body.title,
        status: ThreadStatus::Active,
        priority: body.priority,
        tags: body.tags,
        posted_by: author.clone(),
        posted_at: step.wall,
        count: 0,
        link: body.link,
        resolved_at: None,
        audience: takes_part(&author).then(|| vec![author.clone()]),
    };
    let away = match body.message {
        Some(message) => append(step, &key, &mut thread, message, author, named)?,
        None => Vec::new(),
    };
    remember(step, idempotency, body.digest, &key, &thread)?;
    put(step, key, &thread, away)
}

pub(super) fn post<R: Rows>(step: &mut Step<'_, R>, body: PostMessage) -> Ruled<Posted> {
    let author = step.principal()?;
    let idempotency = body.key.map(|key| format!("message/{key}"));
    if let Some(posted) = posted_before(step, idempotency.as_deref(), &body.digest)? {
        return Ok(posted);
    }
    let (key, mut thread) = step.resolve::<ThreadRecord>(Noun::Thread, &body.thread, |t| &t.id)?;
    let named = addressed(step, body.to, &body.mentions)?;
    let away = append(step, &key, &mut thread, body.message, author, named)?;
    move_to(step, &mut thread, body.status);
    remember(step, idempotency, body.digest, &key, &thread)?;
    put(step, key, &thread, away)
}

pub(super) fn update<R: Rows>(step: &mut Step<'_, R>, body: UpdateThread) -> Ruled<Posted> {
    step.principal()?;
    let (key, mut thread) = step.resolve::<ThreadRecord>(Noun::Thread, &body.thread, |t| &t.id)?;
    move_to(step, &mut thread, body.status);
    thread.priority = body.priority.unwrap_or(thread.priority);
    thread.tags = body.tags.unwrap_or(thread.tags);
    put(step, key, &thread, Vec::new())
}

pub(super) fn read<R: Rows>(step: &mut Step<'_, R>, body: ReadInbox) -> Ruled<InboxRead> {
    let reader = step.principal()?;
    if !takes_part(&reader) {
        return Err(Policy::NoSession.into());
    }
    let before = step.get::<InboxRecord>(&reader)?.map_or(0, |inbox| inbox.read);
    // What is not posted yet cannot have been delivered.
    let read = body.up_to.min(step.state.seq).max(before);
    if read > before {
        step.put(&reader, &InboxRecord { read })?;
    }
    Ok(InboxRead { up_to: read })
}

/// Agents and people have inboxes; AgentCoord itself has none.
fn takes_part(principal: &str) -> bool {
    principal != "system"
}

fn put<R: Rows>(step: &mut Step<'_, R>, key: String, thread: &ThreadRecord, away: Vec<String>) -> Ruled<Posted> {
    step.put(&key, thread)?;
    step.wake(format!("thread/{key}"));
    Ok(Posted { thread: key, messages: thread.count, duplicate: false, away })
}

fn move_to<R: Rows>(step: &Step<'_, R>, thread: &mut ThreadRecord, status: Option<ThreadStatus>) {
    let Some(status) = status else { return };
    thread.status = status;
    thread.resolved_at = (status == ThreadStatus::Resolved).then_some(step.wall);
}

/// What a repeated idempotency key has posted.
fn posted_before<R: Rows>(step: &mut Step<'_, R>, idempotency: Option<&str>, digest: &str) -> Ruled<Option<Posted>> {
    let Some(known) = step.known(idempotency, digest)? else { return Ok(None) };
    let (thread, number) = known.key.split_once('/').unwrap_or((&known.key, "0"));
    let messages = number.parse().unwrap_or(0);
    Ok(Some(Posted { thread: thread.to_owned(), messages, duplicate: true, away: Vec::new() }))
}

fn remember<R: Rows>(
    step: &mut Step<'_, R>,
    idempotency: Option<String>,
    digest: String,
    key: &str,
    thread: &ThreadRecord,
) -> Ruled<()> {
    let Some(idempotency) = idempotency else { return Ok(()) };
    let expires_at = step.wall + limits::KEY_TTL;
    step.put(&idempotency, &KeyRecord { key: MessageRecord::key(key, thread.count), digest, expires_at })
}

/// The addresses that a message names: all of `to`, and of the mentions those that anybody goes by.
fn addressed<R: Rows>(step: &mut Step<'_, R>, to: Vec<String>, mentions: &[String]) -> Ruled<Vec<String>> {
    let mut named = Vec::new();
    for typed in to {
        match find(step, &typed)? {
            Some(address) => add(&mut named, address, usize::MAX),
            None => return Err(Refusal::NotFound { noun: Noun::Agent, id: typed }.into()),
        }
    }
    for word in mentions {
        if let Some(address) = find(step, word)? {
            add(&mut named, address, usize::MAX);
        }
    }
    Ok(named)
}

fn add(list: &mut Vec<String>, address: String, most: usize) {
    if list.len() < most && !list.contains(&address) {
        list.push(address);
    }
}

/// The address of what was typed: an agent that is known, a role that somebody has now, or a person.
fn find<R: Rows>(step: &mut Step<'_, R>, typed: &str) -> Ruled<Option<String>> {
    let (kind, name) = address::split(typed);
    if kind == Some("human") {
        return Ok(Some(typed.to_owned()));
    }
    if kind != Some("role") && !step.scan(&Range::under(&["name", name]), 1)?.is_empty() {
        return Ok(Some(format!("agent:{name}")));
    }
    let role = format!("role:{name}");
    let has_it = kind != Some("agent") && is_here(step, &role)?;
    Ok(has_it.then_some(role))
}

/// Whether an address reaches a live session. Of people nobody knows.
fn is_here<R: Rows>(step: &mut Step<'_, R>, address: &str) -> Ruled<bool> {
    Ok(address.starts_with("human:") || !step.scan(&Range::under(&["here", address]), 1)?.is_empty())
}

/// Appends a message to a thread that is put later. Says who of its addressees is away.
fn append<R: Rows>(
    step: &mut Step<'_, R>,
    key: &str,
    thread: &mut ThreadRecord,
    id: Id,
    author: String,
    named: Vec<String>,
) -> Ruled<Vec<String>> {
    let mut audience = thread.audience.take().unwrap_or_default();
    let mut to = audience.clone();
    named.into_iter().for_each(|address| add(&mut to, address, usize::MAX));
    to.retain(|address| *address != author);
    let mut away = Vec::new();
    for address in &to {
        add(&mut audience, address.clone(), limits::AUDIENCE);
        step.wake(format!("inbox/{address}"));
        if !is_here(step, address)? {
            away.push(address.clone());
        }
    }
    if takes_part(&author) {
        add(&mut audience, author.clone(), limits::AUDIENCE);
    }
    thread.audience = (!audience.is_empty()).then_some(audience);
    thread.count += 1;
    let seq = Some(step.next_seq());
    let message = MessageRecord { id, author, posted_at: step.wall, seq, to: (!to.is_empty()).then_some(to) };
    step.put(&MessageRecord::key(key, thread.count), &message)?;
    Ok(away)
}
