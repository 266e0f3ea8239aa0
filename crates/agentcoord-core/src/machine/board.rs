//! Rules of the board.

use crate::board::{OpenThread, PostMessage, Posted, ResolveThread, ThreadStatus};
use crate::error::Noun;
use crate::ids::Id;
use crate::machine::rows::Rows;
use crate::machine::step::{Ruled, Step};
use crate::record::{MessageRecord, ThreadRecord};

pub(super) fn open<R: Rows>(step: &mut Step<'_, R>, body: OpenThread) -> Ruled<Posted> {
    let posted_by = step.principal()?;
    let key = step.free_key::<ThreadRecord>(&body.id, |t| &t.id)?;
    let mut thread = ThreadRecord {
        id: body.id,
        seq: step.next_seq(),
        title: body.title,
        status: ThreadStatus::Active,
        priority: body.priority,
        tags: body.tags,
        posted_by: posted_by.clone(),
        posted_at: step.wall,
        count: 0,
        link: body.link,
        resolved_at: None,
    };
    if let Some(message) = body.message {
        append(step, &key, &mut thread, message, posted_by)?;
    }
    step.put(&key, &thread)?;
    Ok(Posted { thread: key, messages: thread.count })
}

pub(super) fn post<R: Rows>(step: &mut Step<'_, R>, body: PostMessage) -> Ruled<Posted> {
    let author = step.principal()?;
    let (key, mut thread) = step.resolve::<ThreadRecord>(Noun::Thread, &body.thread, |t| &t.id)?;
    append(step, &key, &mut thread, body.message, author)?;
    step.put(&key, &thread)?;
    Ok(Posted { thread: key, messages: thread.count })
}

fn append<R: Rows>(step: &mut Step<'_, R>, key: &str, thread: &mut ThreadRecord, id: Id, author: String) -> Ruled<()> {
    thread.count += 1;
    let message = MessageRecord { id, author, posted_at: step.wall };
    step.put(&MessageRecord::key(key, thread.count), &message)
}

pub(super) fn resolve<R: Rows>(step: &mut Step<'_, R>, body: ResolveThread) -> Ruled<Posted> {
    step.principal()?;
    let (key, mut thread) = step.resolve::<ThreadRecord>(Noun::Thread, &body.thread, |t| &t.id)?;
    thread.status = body.status;
    thread.resolved_at = (body.status == ThreadStatus::Resolved).then_some(step.wall);
    step.put(&key, &thread)?;
    Ok(Posted { thread: key, messages: thread.count })
}
