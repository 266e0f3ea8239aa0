//! What an event says to people, in one line. Foreign text in it is escaped by whoever prints it.

use agentcoord::core::lock::LockPath;
use agentcoord::core::record::{
    ApprovalRecord, AuditRecord, Event, LockRecord, LockTicketRecord, SessionRecord, TaskRecord, TaskTicketRecord,
    ThreadRecord,
};
use agentcoord::core::table::Table;

use super::teller::{Known, written};

/// The sentence of an event: what was done, and what came of it besides.
pub(super) fn sentence(event: &Event, by: &str, known: &Known) -> String {
    let who = by.strip_prefix("agent:").unwrap_or(by);
    let mut text = headline(event, who, known);
    for (_, session) in written::<SessionRecord>(event) {
        let expected = matches!(event.verb.as_str(), "agent/deregister" | "agent/evict");
        if let Some(reason) = session.reason.filter(|_| session.ended_at.is_some() && !expected) {
            text += &format!("; {} is gone ({reason})", session.name);
        }
    }
    for (_, lock) in written::<LockRecord>(event).into_iter().filter(|(_, lock)| lock.offer.is_some()) {
        text += &format!("; {} is next for {}", lock.name, paths(&lock.paths));
    }
    for (key, task) in written::<TaskRecord>(event).into_iter().filter(|(_, task)| task.offer.is_some()) {
        text += &format!("; {key} goes to {}", task.name.unwrap_or_default());
    }
    text
}

fn headline(event: &Event, who: &str, known: &Known) -> String {
    let (noun, verb) = event.verb.split_once('/').unwrap_or((&event.verb, ""));
    match noun {
        "agent" => agent(event, verb, who),
        "lock" => lock(event, verb, who, known),
        "task" => task(event, verb, who),
        "board" => board(event, verb, who),
        "approval" => approval(event, verb, who),
        "audit" => audit(event, who),
        _ => None,
    }
    .unwrap_or_else(|| format!("{who}: {}", event.verb))
}

fn agent(event: &Event, verb: &str, who: &str) -> Option<String> {
    if verb == "tick" {
        return Some("what was due is settled".to_owned());
    }
    let sessions = written::<SessionRecord>(event);
    let (_, session) = sessions.first()?;
    Some(match verb {
        "register" => {
            let role = session.role.as_ref().map(|role| format!(" ({role})")).unwrap_or_default();
            format!("{} is here{role}", session.name)
        }
        "deregister" => format!("{who} has left"),
        "evict" => format!("{who} ended the session of {}", session.name),
        "update" => {
            let facts = [session.status.clone(), session.working_on.clone()];
            let facts: Vec<String> = facts.into_iter().flatten().filter(|text| !text.is_empty()).collect();
            format!("{who}: {}", facts.join(", "))
        }
        _ => return None,
    })
}

fn paths(list: &[LockPath]) -> String {
    list.iter().map(LockPath::as_str).collect::<Vec<_>>().join(", ")
}

fn lock(event: &Event, verb: &str, who: &str, known: &Known) -> Option<String> {
    let why = |intent: &Option<String>| intent.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let ended: Vec<String> = event
        .images
        .iter()
        .filter(|image| image.table == Table::Lock && image.record.is_empty())
        .map(|image| known.lock(&image.key))
        .collect();
    match verb {
        "acquire" | "confirm" => {
            let granted = written::<LockRecord>(event).into_iter().find(|(_, lock)| lock.offer.is_none());
            if let Some((_, lock)) = granted {
                return Some(format!("{} locked {}{}", lock.name, paths(&lock.paths), why(&lock.intent)));
            }
            let (_, ticket) = written::<LockTicketRecord>(event).into_iter().next()?;
            Some(format!("{} waits for {}{}", ticket.name, paths(&ticket.paths), why(&ticket.intent)))
        }
        "renew" => {
            let (_, lock) = written::<LockRecord>(event).into_iter().next()?;
            Some(format!("{who} renewed {}", paths(&lock.paths)))
        }
        "release" | "revoke" if !ended.is_empty() => {
            let verb = if verb == "release" { "released" } else { "revoked" };
            Some(format!("{who} {verb} {}", ended.join(", ")))
        }
        "release" => Some(format!("{who} released a part of a lock")),
        "withdraw" => Some(format!("{who} does not wait for a lock any more")),
        _ => None,
    }
}

fn task(event: &Event, verb: &str, who: &str) -> Option<String> {
    let tasks = written::<TaskRecord>(event);
    if verb == "create" && tasks.len() > 1 {
        return Some(format!("{who} added {} tasks", tasks.len()));
    }
    let Some((key, task)) = tasks.first() else {
        let waits = !written::<TaskTicketRecord>(event).is_empty();
        return waits.then(|| format!("{who} waits for a task"));
    };
    let named = format!("{key} {}", task.title);
    Some(match verb {
        "create" => format!("{who} added {named}"),
        "claim" | "confirm" => format!("{who} claimed {named}"),
        "start" => format!("{who} began {named}"),
        "progress" => {
            let percent = task.percent.map(|percent| format!("{percent} %"));
            let facts: Vec<String> = [percent, task.note.clone()].into_iter().flatten().collect();
            format!("{named}: {}", facts.join(", "))
        }
        "extend" => format!("{who} needs longer for {named}"),
        "complete" => format!("{who} completed {named}"),
        "fail" => {
            let why = task.error.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("{who} failed at {named}, now {}{why}", task.status.word())
        }
        "release" | "withdraw" => format!("{who} put {named} back"),
        "cancel" => format!("{who} called {named} off"),
        "redrive" => format!("{who} put {named} back for another try"),
        _ => return None,
    })
}

fn board(event: &Event, verb: &str, who: &str) -> Option<String> {
    if verb == "read" {
        return Some(format!("{who} has read the inbox"));
    }
    let threads = written::<ThreadRecord>(event);
    let (key, thread) = threads.first()?;
    Some(match verb {
        "open" => format!("{who} opened {key} {}", thread.title),
        "post" => format!("{who} said something in {key} {}", thread.title),
        "update" => format!("{who} changed {key} {}: {}", thread.title, thread.status.word()),
        _ => return None,
    })
}

fn approval(event: &Event, verb: &str, who: &str) -> Option<String> {
    let approvals = written::<ApprovalRecord>(event);
    let (key, approval) = approvals.first()?;
    let named = format!("{key} {}: {}", approval.action_type, approval.description);
    Some(match verb {
        "request" => format!("{who} asks for {named}"),
        "vote" => format!("{who} voted on {named}, now {}", approval.status.word()),
        "cancel" => format!("{who} called {named} off"),
        "consume" => format!("{who} took {named} up"),
        _ => return None,
    })
}

fn audit(event: &Event, who: &str) -> Option<String> {
    let entries = written::<AuditRecord>(event);
    let (_, record) = entries.first()?;
    let entry = agentcoord::audit::Entry::decode(&record.entry).ok()?;
    Some(format!("{who} decided {}: {}", entry.decision_type, entry.context))
}
