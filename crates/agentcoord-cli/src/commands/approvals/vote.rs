//! The votes of people: what `approve` and `reject` share.

use agentcoord::audit::Entry;
use agentcoord::core::approval::{ApprovalDetail, ApprovalStatus, CastVote, Verdict};
use agentcoord::core::op::Actor;
use agentcoord::{Error, Noun};
use serde::Serialize;
use serde_json::json;

use super::show;
use super::view::ApprovalView;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Page, Render, json};
use crate::{fence, principal};

/// What was voted on, as it is now.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    items: Vec<ApprovalView>,
}

impl Render for View {
    fn table(&self, page: &mut Page) {
        for approval in &self.items {
            page.gap();
            approval.action(page);
            page.gap();
            approval.state(page);
        }
    }

    fn ids(&self) -> Vec<String> {
        self.items.iter().map(|approval| approval.id.clone()).collect()
    }

    fn lines(&self) -> serde_json::Result<Vec<String>> {
        json::lines(&self.items)
    }
}

/// Casts a person's vote on each of the approvals.
///
/// All are looked up before the first vote, so that a slip in one id votes on nothing. Each vote carries the digest of
/// what was read: should another action wait under that id, it is refused.
///
/// # Errors
/// `HUMANS_ONLY` in an agent's shell; `WRONG_STATE` for what is decided; `REFUSED` for own requests.
pub(crate) async fn cast(
    context: &Context,
    verdict: Verdict,
    ids: &[String],
    by: Option<&str>,
    note: Option<String>,
) -> Result<View, CliError> {
    let verb = match verdict {
        Verdict::Approve => "approve",
        Verdict::Reject => "reject",
    };
    fence::people_only(verb)?;
    let actor = principal::person(by)?;
    let mut seen: Vec<ApprovalDetail> = Vec::new();
    for id in ids {
        let detail = show::of(context, id).await?;
        let approval = &detail.approval;
        if approval.status != ApprovalStatus::Pending {
            let (id, actual) = (approval.key.clone(), approval.status.word().to_owned());
            let expected = ApprovalStatus::Pending.word().to_owned();
            return Err(Error::WrongState { noun: Noun::Approval, id, actual, expected }.into());
        }
        if seen.iter().all(|other| other.approval.key != approval.key) {
            seen.push(detail);
        }
    }
    let mut items: Vec<ApprovalView> = Vec::new();
    for detail in seen {
        let body = vote(&detail, verdict, &actor, note.clone())?;
        if let Err(error) = context.connection().await?.run(&actor, body).await {
            let done: Vec<&str> = items.iter().map(|approval| approval.id.as_str()).collect();
            let error = CliError::from(error);
            if done.is_empty() {
                return Err(error);
            }
            let message = format!("{} (voted on before that: {})", error.message, done.join(", "));
            return Err(CliError { message, ..error });
        }
        items.push(show::of(context, &detail.approval.key).await?.into());
    }
    Ok(View { items })
}

fn vote(detail: &ApprovalDetail, verdict: Verdict, actor: &Actor, note: Option<String>) -> Result<CastVote, CliError> {
    let approval = &detail.approval;
    let Actor::Human(name) = actor else { return Err(CliError::invalid("only people vote")) };
    let what = format!("{}: {}", approval.action_type, approval.description);
    let word = match verdict {
        Verdict::Approve => "approved",
        Verdict::Reject => "rejected",
    };
    let mut entry = Entry::new(format!("human:{name}"), "approval", what, note.as_deref().unwrap_or(word));
    entry.details = Some(json!({
        "approval": approval.id,
        "verdict": verdict,
        "digest": approval.digest,
        "requested_by": approval.requested_by,
        "signed": false,
    }));
    Ok(CastVote {
        approval: approval.key.clone(),
        verdict,
        digest: Some(approval.digest.clone()),
        note,
        audit: entry.encode()?,
    })
}
